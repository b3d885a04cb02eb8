import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { needs } from '../support.ts';
import { capture, countPackets, record } from './link-capture.ts';
import { assertNothingLost, CLIENT, routedPath, SERVER, tcpEcho, udpEcho } from './routed-path.ts';
import { KINDS, type Kind } from './super-packets.ts';
import { shell } from './traffic.ts';
import { VLAN } from './vlan-trunk.ts';

const TCP_SIZES = [1, 100, 1448, 1449, 16_384, 65_536];
const UDP_SIZES = [1, 2, 63, 1000, 1452, 1472, 1473, 9000, 65_507];

describe('TCP and UDP through two devices', () => {
  before(function () {
    needs(this, 'ip', 'tcpdump', 'ethtool', 'nstat');
  });

  for (const [kind, offload] of [
    ...Object.keys(KINDS).map((kind) => [kind, true]),
    ['tun', { udp: false }],
    ['tun', { tcp: false }],
    ['tap', false],
  ] as [Kind, boolean | { udp: false } | { tcp: false }][]) {
    it(`kind ${kind}, offload ${JSON.stringify(offload)}: nothing is lost or changed, tcpdump on both sides and the kernel find no wrong checksum`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'tuntap-traffic-'));
      try {
        await using path = await routedPath(kind, offload);
        await using atClient = await capture(path.client, join(folder, 'client.pcap'));
        await using atServer = await capture(path.server, join(folder, 'server.pcap'));
        const tagged = join(folder, 'tagged.pcap');
        const superFrames = `vlan ${VLAN} and greater 1600`;
        await using onTrunk =
          path.trunk && (await record(path.trunk.namespace, 'trunk0', superFrames, tagged));
        for (const version of [4, 6] as const) {
          await tcpEcho(path, version, 500_000, TCP_SIZES);
          await udpEcho(path, version, 1, UDP_SIZES);
        }
        await assertNothingLost(path);
        assert.deepEqual(await path.errors(), {});
        for (const { packets, valid, invalid, missed } of [await atClient.stop(), await atServer.stop()]) {
          assert.deepEqual(invalid, []);
          assert.ok(packets > 3000, `${packets}`);
          assert.deepEqual([valid, missed], [packets, 0]);
        }
        if (path.trunk) {
          assert.equal(await onTrunk?.stop(), 0);
          for (const source of [...Object.values(CLIENT), ...Object.values(SERVER)]) {
            for (const protocol of ['tcp', 'udp']) {
              const filter = `vlan and ${protocol} and src host ${source}`;
              assert.ok((await countPackets(path.trunk.namespace, tagged, filter)) > 0, filter);
            }
          }
        }
        const [{ stats64 }] = JSON.parse(await shell(path.leftNamespace, 'ip -j -s link show dev dev0'));
        const { packetsRead } = path.left.counters;
        // With offloads the kernel gave fewer than were read.
        if (offload === false) assert.equal(stats64.tx.packets, packetsRead);
        else assert.ok(stats64.tx.packets < packetsRead, `${stats64.tx.packets} of ${packetsRead}`);
      } finally {
        rmSync(folder, { recursive: true });
      }
    });
  }
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkNamespace } from 'tuntap-native';
import { needs, run } from '../support.ts';
import { assertNothingLost, capture, routedPath, tcpEcho, udpEcho } from './routed-path.ts';
import { KINDS, type Kind } from './super-packets.ts';
import { shell } from './traffic.ts';

const TCP_SIZES = [1, 100, 1448, 1449, 16_384, 65_536];
const UDP_SIZES = [1, 2, 63, 1000, 1452, 1472, 1473, 9000, 65_507];

async function hasVlanLinks(): Promise<boolean> {
  await using namespace = await NetworkNamespace.create();
  return (
    (await run(namespace, 'ip', 'link', 'add', 'link', 'lo', 'name', 'v', 'type', 'vlan', 'id', '5'))
      .status === 0
  );
}

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
    it(`kind ${kind}, offload ${JSON.stringify(offload)}: nothing is lost or changed, tcpdump on both sides and the kernel find no wrong checksum`, async function () {
      if (kind === 'tap with 802.1Q' && !(await hasVlanLinks())) {
        if (this.test) this.test.title += ' [skipped: the kernel has no links of type vlan]';
        this.skip();
      }
      const folder = mkdtempSync(join(tmpdir(), 'tuntap-traffic-'));
      try {
        await using path = await routedPath(kind, offload);
        await using atClient = await capture(path.client, join(folder, 'client.pcap'));
        await using atServer = await capture(path.server, join(folder, 'server.pcap'));
        for (const version of [4, 6] as const) {
          await tcpEcho(path, version, 500_000, TCP_SIZES);
          await udpEcho(path, version, 1, UDP_SIZES);
        }
        assertNothingLost(path);
        assert.deepEqual(await path.errors(), {});
        for (const { packets, valid, invalid, missed } of [await atClient.stop(), await atServer.stop()]) {
          assert.deepEqual(invalid, []);
          assert.ok(packets > 3000, `${packets}`);
          assert.deepEqual([valid, missed], [packets, 0]);
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

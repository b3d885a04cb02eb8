/**
 * What must hold of traffic through two devices, at size: `node out/bench/soak.js`, some minutes.
 *
 * iperf3 and senders of this program's own, TCP and UDP, IPv4 and IPv6, both directions, 1 byte to 64 KiB, on the path
 * of test/device/routed-path.ts: the package must lose nothing, and tcpdump behind both devices and the kernel find no
 * wrong checksum. Then 1 GB goes through and back by IPv4 and by IPv6, and its SHA-256 must be what it was. Options:
 * --kind=tun|tap (tun), --seconds=N (1) for each run of iperf3, --rate=N (200) its Mbit/s, which tcpdump can follow,
 * --megabytes=N (1000).
 */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Checksums, capture } from '../test/device/link-capture.ts';
import {
  assertNothingLost,
  type RoutedPath,
  routedPath,
  SERVER,
  startServer,
  tcpEcho,
  udpEcho,
} from '../test/device/routed-path.ts';
import type { Kind } from '../test/device/super-packets.ts';
import { option, run } from './measure.ts';

const KIND = option('kind', 'tun') as Kind;
const SECONDS = option('seconds', '1');
const RATE = option('rate', '200');
const MEGABYTES = Number(option('megabytes', '1000'));
const VERSIONS = [4, 6] as const;
// iperf3 has a header of 16 bytes in each datagram; smaller ones are udpEcho()'s.
const IPERF_SIZES = { tcp: [1, 64, 1448, 65_536], udp: [16, 64, 1448, 8192, 65_507] };
const TCP_SIZES = [1, 2, 63, 64, 65, 536, 1448, 1449, 9000, 16_384, 65_535, 65_536];
const UDP_SIZES = [1, 2, 63, 64, 65, 536, 1452, 1453, 1472, 1473, 9000, 16_384, 65_507];

interface Sum {
  bytes: number;
  packets?: number;
  lost_packets?: number;
}

async function iperf(path: RoutedPath, version: 4 | 6, protocol: 'tcp' | 'udp', size: number): Promise<void> {
  for (const direction of ['there', 'back']) {
    await using _server = await startServer(path.server, 'iperf3', '-s', '-1', '--forceflush');
    const args = [
      '-J',
      `-${version}`,
      '-c',
      SERVER[version],
      '-t',
      SECONDS,
      '-l',
      `${size}`,
      '-b',
      `${RATE}M`,
    ];
    if (protocol === 'udp') args.push('-u');
    if (direction === 'back') args.push('-R');
    const { end } = JSON.parse(await run(path.client, 'iperf3', ...args)) as {
      end: { sum?: Sum; sum_received?: Sum };
    };
    const sum = (protocol === 'udp' ? end.sum : end.sum_received) ?? { bytes: 0 };
    const lost =
      protocol === 'udp' ? `, ${sum.lost_packets} of ${sum.packets} datagrams lost on the way` : '';
    console.log(
      `iperf3 ${protocol} IPv${version} ${direction} -l ${size}: ${(sum.bytes / 1e6).toFixed(1)} MB${lost}`,
    );
    assert.ok(sum.bytes > 0);
  }
}

function check(side: string, { packets, valid, invalid, missed }: Checksums): void {
  console.log(
    `tcpdump at the ${side}: ${valid} of ${packets} checksums valid, ${missed} packets not captured`,
  );
  assert.deepEqual(invalid, []);
  assert.equal(valid, packets);
}

const folder = mkdtempSync(join(tmpdir(), 'tuntap-soak-'));
try {
  await using path = await routedPath(KIND);
  for (const protocol of ['tcp', 'udp'] as const) {
    for (const version of VERSIONS) {
      await using atClient = await capture(path.client, join(folder, 'client.pcap'));
      await using atServer = await capture(path.server, join(folder, 'server.pcap'));
      for (const size of IPERF_SIZES[protocol]) await iperf(path, version, protocol, size);
      if (protocol === 'tcp') await tcpEcho(path, version, 2_000_000, TCP_SIZES);
      else await udpEcho(path, version, 20, UDP_SIZES);
      console.log(`${protocol} IPv${version}: what was sent in pieces of each size came back`);
      check('client', await atClient.stop());
      check('server', await atServer.stop());
      assertNothingLost(path);
    }
  }
  for (const version of VERSIONS) {
    const start = performance.now();
    await tcpEcho(path, version, MEGABYTES * 1e6, [65_536]);
    const seconds = (performance.now() - start) / 1000;
    console.log(
      `SHA-256 of ${MEGABYTES} MB by TCP and IPv${version} there and back is equal, ${seconds.toFixed(0)} s`,
    );
  }
  assertNothingLost(path);
  console.log(`left: ${JSON.stringify(path.left.counters)}\nright: ${JSON.stringify(path.right.counters)}`);
  const errors = await path.errors();
  console.log(`what the kernels counted as wrong: ${JSON.stringify(errors)}`);
  // iperf3 does not always keep up with small datagrams, and its socket's buffer is no link of this path.
  assert.deepEqual(
    Object.keys(errors).filter((name) => !name.endsWith('RcvbufErrors')),
    [],
  );
} finally {
  rmSync(folder, { recursive: true });
}

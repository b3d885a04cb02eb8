/**
 * Devices in a few lines: opens tun0 and tap0 in a network namespace of its own, answers ping (ICMP and
 * ICMPv6), ARP and neighbor solicitation from TypeScript, and prints every packet as it comes.
 *
 * Run by `npm run demo:echo`. Needs root, or a user who may open /dev/net/tun and make a user namespace.
 */

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { NetworkNamespace, openTap, openTun, type PacketDevice } from 'tuntap-native';
import { describe, replyToArp, replyToEcho, replyToNeighborSolicitation } from 'tuntap-native/packet';

const ROUNDS = 3;
const MAC = '02:00:00:00:00:02';
const TAP_HOST = ['198.51.100.2', '2001:db8:1::2'] as const;
const TARGETS = ['192.0.2.2', '2001:db8::2', ...TAP_HOST];
const started = process.hrtime.bigint();
const counts = { packets: 0, answers: 0 };

function report(device: string, direction: string, text: string): void {
  const ms = (Number(process.hrtime.bigint() - started) / 1e6).toFixed(1);
  console.log(`${ms.padStart(9)}  ${device.padEnd(5)} ${direction}  ${text}`);
}

/** What a host behind the device would answer. */
function answer(bytes: Buffer, kind: PacketDevice['kind']): Buffer | undefined {
  if (kind === 'tun') return replyToEcho(bytes);
  for (const address of TAP_HOST) {
    const reply = address.includes(':')
      ? replyToNeighborSolicitation(bytes, { mac: MAC, address })
      : replyToArp(bytes, { mac: MAC, address });
    if (reply) return reply;
  }
  const packet = replyToEcho(bytes.subarray(14));
  // The frame goes back: source and destination change places.
  return (
    packet && Buffer.concat([bytes.subarray(6, 12), bytes.subarray(0, 6), bytes.subarray(12, 14), packet])
  );
}

async function serve(device: PacketDevice): Promise<void> {
  const kind = device.kind === 'tun' ? 'tun' : 'tap';
  for await (const batch of device.batches()) {
    for (const bytes of batch) {
      counts.packets++;
      report(device.name, '<-', describe(bytes, kind));
      const reply = answer(bytes, kind);
      if (!reply) continue;
      counts.answers++;
      device.write(reply);
      report(device.name, '->', describe(reply, kind));
    }
  }
}

/** The round-trip times in milliseconds that ping measured. */
async function ping(namespace: NetworkNamespace, target: string): Promise<number[]> {
  const child = namespace.spawn('ping', ['-n', `-c${ROUNDS}`, '-i0.2', '-W2', target], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout?.on('data', (data) => {
    output += data;
  });
  await once(child, 'close');
  return [...output.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time));
}

/** Where there is no ping: the kernel sends datagrams for a Node child, and they show up in the table. */
async function sendDatagrams(namespace: NetworkNamespace, target: string): Promise<number[]> {
  const family = target.includes(':') ? 'udp6' : 'udp4';
  const program = `const s = require('node:dgram').createSocket('${family}');
    s.send('hello', 9, '${target}', () => s.close());`;
  await once(namespace.spawn(process.execPath, ['-e', program], { stdio: 'inherit' }), 'close');
  return [];
}

async function main(): Promise<void> {
  await using namespace = await NetworkNamespace.create();
  await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24', '2001:db8::1/64'], up: true });
  await using tap = openTap('tap0', {
    namespace,
    addresses: ['198.51.100.1/24', '2001:db8:1::1/64'],
    up: true,
  });
  const serving = Promise.all([serve(tun), serve(tap)]);
  const hasPing = spawnSync('ping', ['-V']).status === 0;
  if (!hasPing) console.log('There is no ping here: a Node child sends UDP datagrams instead.');
  console.log(`${'ms'.padStart(9)}  device    packet`);
  const times = new Map<string, number[]>();
  for (const target of TARGETS) {
    times.set(target, await (hasPing ? ping(namespace, target) : sendDatagrams(namespace, target)));
  }
  await Promise.all([tun.close(), tap.close()]);
  await serving;

  console.log('\ntarget          answered  round trip');
  for (const [target, list] of times) {
    const median = [...list].sort((a, b) => a - b)[list.length >> 1];
    console.log(
      `${target.padEnd(15)} ${`${list.length}/${hasPing ? ROUNDS : 0}`.padEnd(9)} ${median === undefined ? '-' : `${median} ms`}`,
    );
  }
  console.log(
    `${counts.packets} packets read from the kernel, ${counts.answers} answered; tun0 and tap0 are gone again.`,
  );
  const lost = hasPing && [...times.values()].some((list) => list.length < ROUNDS);
  if (lost || counts.packets === 0) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  console.error(`This failed: ${(error as Error).message}`);
  process.exitCode = 1;
}

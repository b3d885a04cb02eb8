/**
 * What many peers cost the end of a tunnel that has them: `node out/bench/peers.js`.
 *
 * Each round measures an end with one peer and one with --peers=N (1000), all of which answered a handshake: its resident
 * memory after a garbage collection, and the CPU time that a packet costs while UDP of 64 bytes floods one of the peers,
 * and then all of them in turn. The other ends are tunnels of one process, in a namespace of their own. Reported are medians
 * of the rounds.
 * Options: --rounds=N (3), --seconds=N (3), --peers=N (1000).
 */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PacketBatch } from 'tuntap-native';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { generatePrivateKey, openWireGuard, publicKey } from 'tuntap-native/wireguard';
import { median, option, run } from './measure.ts';

const ROUNDS = Number(option('rounds', '3'));
const SECONDS = Number(option('seconds', '3'));
const PEERS = Number(option('peers', '1000'));
const FIRST_PORT = 20_000;

const children: ChildProcess[] = [];

/** Runs this program again, as one of its parts, which takes `what`. */
async function part(name: string, what: unknown): Promise<ChildProcess> {
  // What V8 keeps for objects to come is no peer's.
  const execArgv = ['--expose-gc', '--max-semi-space-size=1'];
  const child = fork(fileURLToPath(import.meta.url), [name], { execArgv });
  children.push(child);
  await once(child, 'message');
  child.send(what as object);
  await once(child, 'message');
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close');
  child.kill();
  await closed;
}

const inner = (i: number): string => `10.9.${i >> 8}.${i & 255}`;

interface Tunnel {
  readonly path: string;
  readonly privateKey: string;
  readonly publicKeys: readonly string[];
}

interface Cost {
  readonly bytes: number;
  readonly cpuUs: number;
  readonly rss: number;
  readonly sessions: number;
}

/** The end that is measured. Tells what it has used so far whenever it is asked. */
async function measured({ path, privateKey, publicKeys }: Tunnel): Promise<void> {
  const wg = await openWireGuard('wg0', {
    privateKey,
    namespace: path,
    socketNamespace: path,
    addresses: ['10.9.255.1/16'],
    mtu: 1420,
    control: false,
    peers: publicKeys.map((key, i) => ({
      publicKey: key,
      allowedIps: [`${inner(i)}/32`],
      endpoint: `192.0.2.2:${FIRST_PORT + i}`,
    })),
  });
  process.on('message', () => {
    globalThis.gc?.();
    const { user, system } = process.cpuUsage();
    const cost: Cost = {
      bytes: wg.counters.txBytes,
      cpuUs: user + system,
      rss: Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024,
      sessions: wg.peers().filter(({ latestHandshake }) => latestHandshake).length,
    };
    process.send?.(cost);
  });
}

/** The other ends. */
async function others(what: Tunnel & { readonly privateKeys: readonly string[] }): Promise<void> {
  for (const [i, privateKey] of what.privateKeys.entries()) {
    await openWireGuard(`p${i}`, {
      privateKey,
      namespace: what.path,
      socketNamespace: what.path,
      listenPort: FIRST_PORT + i,
      routes: 'off',
      control: false,
      peers: [{ publicKey: what.publicKeys[0], allowedIps: ['0.0.0.0/0'] }],
    });
  }
}

/** Sends to the peers, in turn: a packet to each and no more, or without end. */
async function flood({ path, peers, once }: { path: string; peers: number; once: boolean }): Promise<void> {
  const socket = openUdp({ namespace: path, sendBuffer: 4 << 20 });
  const batch = new PacketBatch({ capacity: 64 });
  while (batch.push(Buffer.alloc(64)));
  const to = Array.from({ length: peers }, (_, i) => new Endpoint(inner(i), 9));
  if (once) {
    for (const endpoint of to) {
      await socket.send(Buffer.alloc(64), endpoint);
      await setTimeout(2);
    }
    return;
  }
  const go = async () => {
    for (;;) {
      for (let i = 0; i < 4; i++) for (const endpoint of to) socket.writeBatch(batch, endpoint);
      await setImmediate();
    }
  };
  void go();
}

async function ask(child: ChildProcess): Promise<Cost> {
  child.send('cost');
  const [cost] = await once(child, 'message');
  return cost as Cost;
}

interface Result {
  readonly rss: number;
  /** Microseconds of CPU time a packet. */
  readonly one: number;
  readonly all: number;
}

async function measure(count: number): Promise<Result> {
  await using a = await NetworkNamespace.create();
  await using b = await NetworkNamespace.create();
  await createVethPair(
    { name: 'eth0', namespace: a, addresses: ['192.0.2.1/24'], up: true },
    { name: 'eth0', namespace: b, addresses: ['192.0.2.2/24'], up: true },
  );
  const path = (namespace: NetworkNamespace) => `/proc/${process.pid}/fd/${namespace.fd}`;
  const privateKey = generatePrivateKey();
  const privateKeys = Array.from({ length: count }, generatePrivateKey);
  const peers = await part('others', { path: path(b), publicKeys: [publicKey(privateKey)], privateKeys });
  const tunnel = await part('measured', {
    path: path(a),
    privateKey,
    publicKeys: privateKeys.map(publicKey),
  });
  await end(await part('flood', { path: path(a), peers: count, once: true }));
  await setTimeout(1000);
  const { sessions, rss } = await ask(tunnel);
  if (sessions !== count) throw new Error(`${sessions} of ${count} peers answered`);
  // What is measured is sending: nothing answers.
  await run(
    b,
    'nft',
    'add table inet t; add chain inet t c { type filter hook prerouting priority -300; policy drop; }',
  );
  const cost = async (to: number): Promise<number> => {
    const flooder = await part('flood', { path: path(a), peers: to, once: false });
    await setTimeout(500);
    const before = await ask(tunnel);
    await setTimeout(1000 * SECONDS);
    const after = await ask(tunnel);
    await end(flooder);
    // A datagram of 64 bytes is 92 with its headers, 96 padded, 128 sealed.
    return (after.cpuUs - before.cpuUs) / ((after.bytes - before.bytes) / 128);
  };
  const result = { rss, one: await cost(1), all: await cost(count) };
  await end(tunnel);
  await end(peers);
  return result;
}

const PARTS: Record<string, (what: never) => Promise<void>> = { measured, others, flood };
const what = PARTS[process.argv[2]];
if (what) {
  process.send?.('started');
  const [given] = await once(process, 'message');
  await what(given as never);
  process.send?.('ready');
} else {
  try {
    const rounds: { few: Result; many: Result }[] = [];
    for (let i = 1; i <= ROUNDS; i++) {
      const round = { few: await measure(1), many: await measure(PEERS) };
      rounds.push(round);
      for (const [name, { rss, one, all }] of Object.entries(round)) {
        console.error(
          `round ${i}/${ROUNDS} ${name}: ${rss.toFixed(1)} MB, ${one.toFixed(2)} and ${all.toFixed(2)} us a packet`,
        );
      }
    }
    const of = (ratio: (round: { few: Result; many: Result }) => number) =>
      median(rounds.map(ratio)).toFixed(2);
    console.log(`${PEERS} peers take ${of(({ few, many }) => many.rss - few.rss)} MB more than one.`);
    console.log(
      `A packet to one of them costs ${of(({ few, many }) => many.one / few.one)} of what it costs with one peer;`,
    );
    console.log(`to all of them in turn, 64 to each, ${of(({ few, many }) => many.all / few.one)}.`);
  } finally {
    for (const child of children) child.kill();
  }
}

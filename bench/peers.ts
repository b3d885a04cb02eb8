/**
 * What many peers cost the end of a tunnel that has them: `node out/bench/peers.js`.
 *
 * Each round measures an end with one peer and one with --peers=N (1000), all of which answered a handshake: its resident
 * memory after a garbage collection, and the CPU time that a packet costs while UDP of 64 bytes floods one of the peers,
 * and then all of them in turn. The other ends are tunnels of one process, in a namespace of their own. Reported are medians
 * of the rounds.
 * Options: --rounds=N (3), --seconds=N (3), --peers=N (1000).
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { PacketBatch } from 'tuntap-native';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { generatePrivateKey, openWireGuard, publicKey } from 'tuntap-native/wireguard';
import { cpuSeconds, median, option, pathOf, run } from './measure.ts';
import { endPart, endParts, startPart } from './parts.ts';
import { residentMB } from './trial.ts';

const ROUNDS = Number(option('rounds', '3'));
const SECONDS = Number(option('seconds', '3'));
const PEERS = Number(option('peers', '1000'));
const FIRST_PORT = 20_000;

/** Runs this program again, as one of its parts, which takes `what`. */
async function part(name: string, what: unknown): Promise<ChildProcess> {
  // What V8 keeps for objects to come is no peer's.
  const child = await startPart(import.meta.url, [name], ['--expose-gc', '--max-semi-space-size=1']);
  child.send(what as object);
  await once(child, 'message');
  return child;
}

const inner = (i: number): string => `10.9.${i >> 8}.${i & 255}`;

interface Tunnel {
  readonly path: string;
  readonly privateKey: string;
  readonly publicKeys: readonly string[];
}

interface Told {
  readonly txBytes: number;
  readonly sessions: number;
}

/** The end that is measured. Tells of itself whenever it is asked. */
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
    globalThis.gc?.(); // only what is still in use counts as memory
    const { txBytes } = wg.counters;
    const sessions = wg.peers().filter(({ latestHandshake }) => latestHandshake).length;
    process.send?.({ txBytes, sessions } satisfies Told);
  });
  process.send?.('open');
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
  process.send?.('open');
}

/** Floods the first of the peers, in turn. */
async function flood({ path, peers }: { path: string; peers: number }): Promise<void> {
  await using socket = openUdp({ namespace: path, sendBuffer: 4 << 20 });
  const batch = new PacketBatch({ capacity: 64 });
  while (batch.push(Buffer.alloc(64)));
  const to = Array.from({ length: peers }, (_, i) => new Endpoint(inner(i), 9));
  process.send?.('open');
  for (;;) {
    for (let i = 0; i < 4; i++) for (const endpoint of to) socket.writeBatch(batch, endpoint);
    await setImmediate();
  }
}

async function ask(child: ChildProcess): Promise<Told> {
  child.send('what');
  const [told] = await once(child, 'message');
  return told as Told;
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
  const privateKey = generatePrivateKey();
  const privateKeys = Array.from({ length: count }, generatePrivateKey);
  const peers = await part('others', { path: pathOf(b), publicKeys: [publicKey(privateKey)], privateKeys });
  const tunnel = await part('measured', {
    path: pathOf(a),
    privateKey,
    publicKeys: privateKeys.map(publicKey),
  });
  {
    await using socket = openUdp({ namespace: a });
    for (let i = 0; i < count; i++) {
      await socket.send(Buffer.alloc(64), new Endpoint(inner(i), 9));
      await setTimeout(2);
    }
  }
  await setTimeout(1000);
  const { sessions } = await ask(tunnel);
  const rss = residentMB(tunnel);
  if (sessions !== count) throw new Error(`${sessions} of ${count} peers answered`);
  // What is measured is sending: nothing answers.
  await run(
    b,
    'nft',
    'add table inet t; add chain inet t c { type filter hook prerouting priority -300; policy drop; }',
  );
  const cost = async (to: number): Promise<number> => {
    const used = async () => [cpuSeconds(tunnel.pid ?? 0), (await ask(tunnel)).txBytes];
    const flooder = await part('flood', { path: pathOf(a), peers: to });
    await setTimeout(500);
    const [cpuBefore, bytesBefore] = await used();
    await setTimeout(1000 * SECONDS);
    const [cpu, bytes] = await used();
    await endPart(flooder);
    // A datagram of 64 bytes is 92 with its headers, 96 padded, 128 sealed.
    return (1e6 * (cpu - cpuBefore)) / ((bytes - bytesBefore) / 128);
  };
  const result = { rss, one: await cost(1), all: await cost(count) };
  await endPart(tunnel);
  await endPart(peers);
  return result;
}

const PARTS: Record<string, (what: never) => Promise<void>> = { measured, others, flood };
const what = PARTS[process.argv[2]];
if (what) {
  process.send?.('started');
  const [given] = await once(process, 'message');
  await what(given as never);
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
    endParts();
  }
}

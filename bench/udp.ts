/**
 * Compares UdpBatchSocket with a C program (bench/udp-batch.c) and with node:dgram: `node out/bench/udp.js`.
 *
 * Datagrams of 1,420 bytes between two namespaces joined by a veth pair. Each round runs all senders against one and
 * the same receiver, and all receivers behind one and the same sender, in turn. Reported are medians of the CPU time a
 * datagram, and of each round's ratio to the C program. Options: --rounds=N (5), --datagrams=N (4000000).
 */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { NetworkNamespace } from 'tuntap-native';
import { median, option, ROOT } from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const DATAGRAMS = Number(option('datagrams', '4000000'));
const SIZE = '1420';
// Paced so that the slowest receiver keeps up: what is dropped costs the sender less and the receiver nothing.
const INTERVAL_US = { batch: '2000', dgram: '30000' };
// Of the receiver that has other work to do, so that a backlog waits for it.
const RECEIVER_PAUSE_US = '3000';
const WAYS = ['c', 'batch', 'dgram'] as const;
type Way = (typeof WAYS)[number];

const built = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));
execFileSync('cc', ['-O2', '-Wall', '-o', join(built, 'udp-batch'), join(ROOT, 'bench', 'udp-batch.c')]);
const END = join(ROOT, 'out', 'bench', 'udp-end.js');
const command = (way: Way): string[] =>
  way === 'c' ? [join(built, 'udp-batch')] : [process.execPath, END, way];

interface End {
  readonly ready: Promise<unknown>;
  /** CPU microseconds a datagram, and how many datagrams that is for. */
  readonly result: Promise<{ cost: number; count: number }>;
}

function start(namespace: NetworkNamespace, way: Way, ...args: readonly string[]): End {
  const [program, ...before] = command(way);
  const child = namespace.spawn(program, [...before, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  let last = '';
  lines.on('line', (line) => {
    last = line;
  });
  const result = once(child, 'close').then(() => {
    const [seconds, measured, count] = last.split(' ').map(Number);
    return { cost: (seconds / measured) * 1e6, count };
  });
  return { ready: once(lines, 'line'), result };
}

let port = 20000;

async function run(
  a: NetworkNamespace,
  b: NetworkNamespace,
  sender: Way,
  receiver: Way,
  pause = '0',
): Promise<{ sending: number; receiving: number; delivered: number }> {
  const slowest = sender === 'dgram' || receiver === 'dgram';
  const datagrams = String(slowest ? DATAGRAMS / 16 : DATAGRAMS);
  const to = ['192.0.2.2', String(++port)];
  const receiving = start(b, receiver, 'receive', ...to, datagrams, pause);
  await receiving.ready;
  const sending = start(a, sender, 'send', ...to, SIZE, datagrams, INTERVAL_US[slowest ? 'dgram' : 'batch']);
  const [sent, received] = await Promise.all([sending.result, receiving.result]);
  return { sending: sent.cost, receiving: received.cost, delivered: received.count / sent.count };
}

type What = 'sending' | 'receiving' | 'backlog';
const a = await NetworkNamespace.create();
const b = await NetworkNamespace.create();
try {
  const shell = async (namespace: NetworkNamespace, text: string): Promise<void> => {
    const [status] = await once(namespace.spawn('sh', ['-ec', text], { stdio: 'inherit' }), 'close');
    if (status !== 0) throw new Error(text);
  };
  await shell(a, `ip link add veth0 type veth peer name veth1 netns /proc/${process.pid}/fd/${b.fd}`);
  await shell(a, 'ip addr add 192.0.2.1/24 dev veth0; ip link set veth0 up');
  await shell(b, 'ip addr add 192.0.2.2/24 dev veth1; ip link set veth1 up');
  const rounds: Record<What, Record<Way, number>>[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const sending = {} as Record<Way, number>;
    const receiving = {} as Record<Way, number>;
    const backlog = {} as Record<Way, number>;
    for (const way of WAYS) {
      const out = await run(a, b, way, 'c');
      const back = await run(a, b, 'c', way);
      sending[way] = out.sending;
      receiving[way] = back.receiving;
      // node:dgram reads one datagram a call, backlog or not.
      const late = way === 'dgram' ? back : await run(a, b, 'c', way, RECEIVER_PAUSE_US);
      backlog[way] = late.receiving;
      console.error(
        `round ${round}/${ROUNDS} ${way.padEnd(5)} sending ${out.sending.toFixed(3)} us, receiving ${back.receiving.toFixed(3)} us, a backlog ${late.receiving.toFixed(3)} us ` +
          `(${(out.delivered * 100).toFixed(1)} %, ${(back.delivered * 100).toFixed(1)} %, ${(late.delivered * 100).toFixed(1)} % delivered)`,
      );
    }
    rounds.push({ sending, receiving, backlog });
  }
  console.log(
    '| by | sending, CPU µs a datagram (ratio to C) | receiving | receiving a backlog |\n|---|---|---|---|',
  );
  for (const way of WAYS) {
    const cell = (what: What): string => {
      const cost = median(rounds.map((round) => round[what][way]));
      const ratio = median(rounds.map((round) => round[what][way] / round[what].c));
      return `${cost.toFixed(3)} (${ratio.toFixed(2)})`;
    };
    console.log(`| ${way} | ${cell('sending')} | ${cell('receiving')} | ${cell('backlog')} |`);
  }
} finally {
  rmSync(built, { recursive: true });
  await Promise.all([a.close(), b.close()]);
}

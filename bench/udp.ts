/**
 * Compares UdpBatchSocket with a C program (bench/udp-batch.c) and with node:dgram: `node out/bench/udp.js`.
 *
 * Datagrams of 1,420 bytes between two namespaces joined by a veth pair; each sender sends to a C receiver, each
 * receiver has a C sender. They take turns of a quarter of a second, since the machine's speed changes within seconds.
 * Reported are medians of the CPU time a datagram, and of each round's ratio to the C program; the first ten rounds, in
 * which JavaScript is compiled, are left out. Options: --rounds=N (60), --bursts=N (100 a turn, of 1,472 datagrams; a
 * twentieth of it for node:dgram), --batch=N (184 datagrams a write; 46, 92, 184, 368, 736 or 1472), --write (puts the table into
 * docs/tunnel.md), --beside=FOLDER
 * (measures UdpBatchSocket of another checkout, which has been built, in the same turns).
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { NetworkNamespace } from 'tuntap-native';
import { MACHINE, publish, RATIOS, version } from './blocks.ts';
import { median, option, Programs, pathOf, ROOT, run } from './measure.ts';

const ROUNDS = Number(option('rounds', '60'));
const WARM_UP = 10;
if (!(ROUNDS > WARM_UP)) throw new Error(`--rounds must be above ${WARM_UP}`);
// Of 1,472 datagrams; as many as a sender sends before it pauses.
const BURSTS = Number(option('bursts', '100'));
const BURST = 1472;
const SIZE = '1420';
const BATCH = option('batch', '184');
// Paced so that the slowest receiver keeps up: what is dropped costs the sender less and the receiver nothing.
const INTERVAL_US = { batch: '2000', dgram: '30000' };
// Of the receiver that has other work to do, so that a backlog waits for it.
const RECEIVER_PAUSE_US = '3000';
const ADDRESS = '192.0.2.2';
const BESIDE = option('beside', '');
const WAYS = ['c', 'batch', ...(BESIDE === '' ? [] : (['beside'] as const)), 'dgram'] as const;
type Way = (typeof WAYS)[number];

const programs = new Programs('udp-batch');
const command = (way: Way): string[] => {
  if (way === 'c') return [programs.path('udp-batch')];
  const root = way === 'beside' ? resolve(BESIDE) : ROOT;
  return [process.execPath, join(root, 'out', 'bench', 'udp-end.js'), way === 'beside' ? 'batch' : way];
};

/** A sender or receiver, which prints a line a turn. */
class End {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  constructor(namespace: NetworkNamespace, way: Way, ...args: readonly string[]) {
    const [program, ...before] = command(way);
    this.#child = namespace.spawn(program, [...before, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
  }

  async line(): Promise<string> {
    const [line] = await once(this.#lines, 'line');
    return line;
  }

  begin(): void {
    this.#child.stdin?.write('\n');
  }

  async turn(): Promise<{ cost: number; count: number }> {
    const [seconds, count] = (await this.line()).split(' ').map(Number);
    return { cost: (seconds / count) * 1e6, count };
  }

  async end(): Promise<void> {
    const closed = once(this.#child, 'close');
    this.#child.kill();
    await closed;
  }
}

const ends: End[] = [];
let port = 20000;

/** A sender and the receiver behind it, and what one of them takes a turn. */
class Pair {
  readonly #sender: End;
  readonly #receiver: End;
  readonly #measured: 'sender' | 'receiver';
  readonly costs: number[] = [];
  sent = 0;
  received = 0;

  private constructor(sender: End, receiver: End, measured: 'sender' | 'receiver') {
    this.#sender = sender;
    this.#receiver = receiver;
    this.#measured = measured;
  }

  static async start(
    measured: 'sender' | 'receiver',
    sender: Way,
    receiver: Way,
    pause = '0',
  ): Promise<Pair> {
    const slow = sender === 'dgram' || receiver === 'dgram';
    const count = String(BURST * Math.ceil(slow ? BURSTS / 20 : BURSTS));
    const to = [ADDRESS, String(++port)];
    const receiving = new End(b, receiver, 'receive', ...to, count, pause);
    ends.push(receiving);
    await receiving.line();
    const sending = new End(
      a,
      sender,
      'send',
      ...to,
      SIZE,
      count,
      INTERVAL_US[slow ? 'dgram' : 'batch'],
      BATCH,
    );
    ends.push(sending);
    return new Pair(sending, receiving, measured);
  }

  async turn(): Promise<void> {
    const turns = Promise.all([this.#sender.turn(), this.#receiver.turn()]);
    this.#sender.begin();
    const [sending, receiving] = await turns;
    this.sent += sending.count;
    this.received += receiving.count;
    this.costs.push(this.#measured === 'sender' ? sending.cost : receiving.cost);
  }
}

const a = await NetworkNamespace.create();
const b = await NetworkNamespace.create();
try {
  const peer = ['type', 'veth', 'peer', 'name', 'veth1', 'netns', pathOf(b)];
  await run(a, 'ip', 'link', 'add', 'veth0', ...peer);
  for (const [namespace, link, address] of [
    [a, 'veth0', '192.0.2.1'],
    [b, 'veth1', ADDRESS],
  ] as const) {
    await run(namespace, 'ip', 'addr', 'add', `${address}/24`, 'dev', link);
    await run(namespace, 'ip', 'link', 'set', link, 'up');
  }
  const columns: Record<string, Pair[]> = { sending: [], receiving: [], 'receiving a backlog': [] };
  for (const way of WAYS) {
    columns.sending.push(await Pair.start('sender', way, 'c'));
    const receiving = await Pair.start('receiver', 'c', way);
    columns.receiving.push(receiving);
    // node:dgram reads one datagram a call, backlog or not.
    const backlog = way === 'dgram' ? receiving : await Pair.start('receiver', 'c', way, RECEIVER_PAUSE_US);
    columns['receiving a backlog'].push(backlog);
  }
  const pairs = new Set(Object.values(columns).flat());
  for (let round = 1; round <= ROUNDS; round++) {
    for (const pair of pairs) await pair.turn();
    if (round % 10 === 0) console.error(`round ${round}/${ROUNDS}`);
  }
  const names = Object.keys(columns);
  const lines = WAYS.map((way, row) => {
    const cells = Object.values(columns).map((column) => {
      const [c, own] = [column[0], column[row]].map((pair) => pair.costs.slice(WARM_UP));
      const ratio = median(own.map((cost, i) => cost / c[i]));
      const delivered = (100 * column[row].received) / column[row].sent;
      return `${median(own).toFixed(3)} (${ratio.toFixed(2)}; ${delivered.toFixed(1)} %)`;
    });
    return `| ${way} | ${cells.join(' | ')} |`;
  });
  const head = `| CPU µs a datagram (ratio to C; delivered) | ${names.join(' | ')} |\n|---${'|---'.repeat(names.length)}|`;
  const source = `${MACHINE}; gcc ${version('cc', '-dumpfullversion')} -O2; medians of ${ROUNDS - WARM_UP} turns. ${RATIOS}`;
  publish('udp', [head, ...lines, '', source].join('\n'), 'docs/tunnel.md');
} finally {
  await Promise.all(ends.map((end) => end.end()));
  programs.remove();
  await Promise.all([a.close(), b.close()]);
}

/**
 * What opening a socket inside a namespace takes of the JavaScript thread, beside Node.js's own socket of the same kind:
 * `node out/bench/sockets.js`, as root or as an ordinary user.
 *
 * A socket is opened, closed, and the next one opened; the event loop's active time counts, without closing. Reported are
 * medians. Options: --rounds=N (5), --each=N sockets of a kind in each round (1000), --write (puts the result into the
 * documentation).
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import { NetworkNamespace } from 'tuntap-native/net';
import { MACHINE, publish, RATIOS } from './blocks.ts';
import { median, option } from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const EACH = Number(option('each', '1000'));
const WARM = 500;
const HOST = '127.0.0.1';

/** Opens one socket. @returns what closes it */
type Open = () => Promise<() => unknown>;

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

function listening(server: Server): Promise<Server> {
  return new Promise((resolve) => server.listen({ host: HOST, port: 0 }, () => resolve(server)));
}

/** Microseconds of the JavaScript thread that opening one takes. */
async function measure(open: Open): Promise<number> {
  const active: number[] = [];
  for (let i = -WARM; i < EACH; i++) {
    const before = performance.eventLoopUtilization();
    const close = await open();
    if (i >= 0) active.push(performance.eventLoopUtilization(before).active * 1000);
    await close();
    // Sockets close in the loop.
    if (i % 20 === 0) await setImmediate();
  }
  return median(active);
}

await using namespace = await NetworkNamespace.create();
await (await namespace.link('lo')).set({ up: true });
const inside = await namespace.listen({ host: HOST });
const outside = await listening(createServer());
for (const server of [inside, outside]) server.on('connection', (socket) => socket.destroy());
const [port, ownPort] = [inside, outside].map(portOf);

const KINDS: readonly (readonly [string, Open, Open])[] = [
  [
    'createUdpSocket()',
    async () => {
      const socket = await namespace.createUdpSocket({ host: HOST });
      return () => socket.close();
    },
    async () => {
      const socket = createSocket('udp4');
      socket.bind(0, HOST);
      await once(socket, 'listening');
      return () => socket.close();
    },
  ],
  [
    'listen()',
    async () => {
      const server = await namespace.listen({ host: HOST });
      return () => server.close();
    },
    async () => {
      const server = await listening(createServer());
      return () => server.close();
    },
  ],
  [
    'connect()',
    async () => {
      const socket = await namespace.connect({ host: HOST, port });
      return () => socket.on('error', () => {}).destroy();
    },
    async () => {
      const socket = connect({ host: HOST, port: ownPort });
      await once(socket, 'connect');
      return () => socket.on('error', () => {}).destroy();
    },
  ],
];

const rows: string[] = [];
for (const [name, open, own] of KINDS) {
  const figures: (readonly [number, number])[] = [];
  for (let round = 0; round < ROUNDS; round++) figures.push([await measure(open), await measure(own)]);
  const [ours, theirs] = [0, 1].map((side) => median(figures.map((pair) => pair[side])).toFixed(0));
  const ratio = median(figures.map(([x, y]) => x / y)).toFixed(2);
  rows.push(`| \`${name}\` | ${ours} | ${theirs} | ${ratio} |`);
  console.error(rows.at(-1));
}
inside.close();
outside.close();

publish(
  'sockets',
  `| | inside a namespace, µs | Node.js's own socket outside, µs | ratio |
|---|---|---|---|
${rows.join('\n')}

${MACHINE}; medians of ${ROUNDS} rounds. ${RATIOS}`,
  'docs/network.md',
);

/**
 * Run by send-costs.test.ts with fail-sends.c preloaded, which refuses runs to the port of the first peer with EIO:
 * sends runs to two peers in turn, and tells how many left as one, and whether all arrived.
 */

import { setTimeout as wait } from 'node:timers/promises';
import { openUdp } from 'tuntap-native/tunnel';
import { numbered, receive } from './sockets.ts';

const RUN = [300, 300, 300];
await using socket = openUdp({ address: '127.0.0.1' });
// Refused routes are remembered by a hash, which another port might share.
const port = Number(process.env.FAIL_PORT);
await using first = openUdp({ address: '127.0.0.1', port, gro: false });
await using second = openUdp({ address: '127.0.0.1', port: port + 1, gro: false });

/** Sends a run to each, and returns how many of the two left as one. */
async function send(): Promise<number> {
  const before = socket.counters.segmentedSends;
  for (const peer of [first, second]) {
    if (socket.writeBatch(numbered(RUN), peer.local) !== RUN.length) throw new Error('not all were sent');
    const received = await receive(peer, RUN.length);
    if (received.map(({ bytes }) => bytes[0]).join() !== '1,2,3') throw new Error('not all arrived');
  }
  return socket.counters.segmentedSends - before;
}

const segmented = [await send(), await send()];
for (let tries = 0; tries < 100 && segmented.at(-1) !== 2; tries++) {
  await wait(100);
  segmented.push(await send());
}
console.log(JSON.stringify({ segmented, offloads: socket.offloads, refused: socket.counters.refused }));

/** Run by udp-errors.test.ts with fail-sends.c preloaded: sends a batch with runs, and tells what became of it. */

import { openUdp } from 'tuntap-native/tunnel';
import { numbered, receive } from './sockets.ts';

const [, , ...lengths] = process.argv;
await using socket = openUdp({ address: '127.0.0.1' });
await using at = openUdp({ address: '127.0.0.1' });
const batch = numbered(lengths.map(Number));
const sent = socket.writeBatch(batch, at.local);
const got = sent > 0 ? await receive(at, sent) : [];
console.log(
  JSON.stringify({
    sent,
    got: got.map(({ bytes }) => bytes[0]),
    statuses: lengths.map((_, i) => batch.status(i)),
    gso: socket.offloads.gso,
    segmentedSends: socket.counters.segmentedSends,
  }),
);

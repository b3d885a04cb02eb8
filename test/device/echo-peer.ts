/**
 * TCP at one end of a path. `echo-peer.js ADDRESS` gives back what it receives; `echo-peer.js ADDRESS BYTES SIZE …`
 * sends so many bytes in writes of each size, one connection a size, and prints whether the SHA-256 of what came back
 * is that of what it sent.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { PORT } from './routed-path.ts';

const [address = '', total, ...sizes] = process.argv.slice(2);

if (total === undefined) {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    pipeline(socket, socket).catch((error) => console.error(`echo: ${error.message}`));
  });
  server.listen(PORT, address, () => console.log('ready'));
} else {
  for (const size of sizes.map(Number)) await echoed(size);
}

/** The same bytes each time, but not soon again in one connection. */
function contents(size: number): Buffer {
  return Buffer.from(Array.from({ length: 65_521 + size }, (_, i) => (i * 31 + (i >> 8) * 7) & 0xff));
}

async function echoed(size: number): Promise<void> {
  // Small writes cost a packet each: at most 2,000 of them.
  const bytes = size < 1000 ? Math.min(Number(total), size * 2000) : Number(total);
  const socket = connect({ port: PORT, host: address, noDelay: true, allowHalfOpen: true });
  await once(socket, 'connect');
  const sent = createHash('sha256');
  const received = createHash('sha256');
  let length = 0;
  socket.on('data', (data) => {
    received.update(data);
    length += data.length;
  });
  const source = contents(size);
  for (let at = 0; at < bytes; at += size) {
    const from = at % 65_521;
    const piece = source.subarray(from, from + Math.min(size, bytes - at));
    sent.update(piece);
    if (!socket.write(piece)) await once(socket, 'drain');
  }
  socket.end();
  await once(socket, 'end');
  const equal = length === bytes && sent.digest('hex') === received.digest('hex');
  console.log(JSON.stringify({ size, sent: bytes, received: length, equal }));
}

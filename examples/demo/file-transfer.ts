/**
 * The demo's programs on the hosts: `file-transfer.js serve TEXT`, an HTTP server with a file of 64 MB and a text;
 * `file-transfer.js get URL`, which prints what it got as JSON; `file-transfer.js connect ADDRESS COUNT`, which
 * prints how long TCP takes to connect, in ms.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';

const PORT = 8080;
const FILE_SIZE = 64 * 1024 * 1024;

/** What `get` prints. */
export interface Transfer {
  readonly bytes: number;
  readonly seconds: number;
  readonly sha256: string;
  /** What the server says that it is. */
  readonly expected: string;
}

async function serve(text: string): Promise<void> {
  // Bytes that repeat after a prime's length, so that no piece of the file is like its neighbour.
  const file = Buffer.alloc(FILE_SIZE, Buffer.from(Array.from({ length: 65_521 }, (_, i) => (i * i) >> 3)));
  const bodies: Record<string, Buffer> = { '/file': file, '/text': Buffer.from(text) };
  const server = createServer((request, response) => {
    const body = bodies[request.url ?? ''] ?? Buffer.alloc(0);
    response.setHeader('x-sha256', createHash('sha256').update(body).digest('hex'));
    response.end(body);
  });
  server.listen(PORT, '0.0.0.0');
  await once(server, 'listening');
  console.log(`serving on port ${(server.address() as AddressInfo).port}`);
}

async function download(url: string): Promise<void> {
  const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
  const began = performance.now();
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    hash.update(chunk);
  }
  const transfer: Transfer = {
    bytes,
    seconds: (performance.now() - began) / 1000,
    sha256: hash.digest('hex'),
    expected: String(response.headers['x-sha256']),
  };
  console.log(JSON.stringify(transfer));
}

async function timeConnections(address: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    const socket = connect(PORT, address);
    await once(socket, 'connect');
    console.log(`time=${(performance.now() - began).toFixed(3)} ms`);
    socket.destroy();
  }
}

const [command, argument = '', count = '5'] = process.argv.slice(2);
if (command === 'serve') await serve(argument);
else if (command === 'get') await download(argument);
else if (command === 'connect') await timeConnections(argument, Number(count));

/** An HTTP proxy, RFC 9110 section 9.3.6 (CONNECT) and RFC 9112 section 3.2.2 (absolute addresses). */

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';
import type { Connect } from './socks.ts';

/** Headers that are for the proxy, and for this one connection. */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-authorization', 'proxy-connection', 'te', 'upgrade'];

/** A server that is given its connections by `emit('connection', socket)`. */
export function httpProxy(connect: Connect): Server {
  const server = createServer((asked, answer) => void forward(asked, answer, connect));
  server.on('connect', (asked: IncomingMessage, client: Duplex, head: Buffer) => {
    void tunnel(asked, client, head, connect);
  });
  return server;
}

async function tunnel(asked: IncomingMessage, client: Duplex, head: Buffer, connect: Connect): Promise<void> {
  client.on('error', () => {});
  try {
    const { hostname, port } = new URL(`tcp://${asked.url}`);
    const connection = await connect(hostname.replace(/^\[|\]$/g, ''), Number(port));
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    if (head.length > 0) connection.write(head);
    pipeline(client, connection, client, () => {});
  } catch (error) {
    client.end(`HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\n\r\n${(error as Error).message}\n`);
  }
}

async function forward(asked: IncomingMessage, answer: ServerResponse, connect: Connect): Promise<void> {
  try {
    const { protocol, hostname, port, pathname, search } = new URL(asked.url ?? '');
    if (protocol !== 'http:') throw new Error(`${asked.url} is no address for a proxy`);
    const connection = await connect(hostname.replace(/^\[|\]$/g, ''), Number(port || 80));
    const headers = Object.fromEntries(
      Object.entries(asked.headers).filter(([name]) => !HOP_BY_HOP.includes(name)),
    );
    const onward = request({
      createConnection: () => connection,
      method: asked.method,
      path: pathname + search,
      headers: { ...headers, connection: 'close' },
    });
    onward.on('response', (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      pipeline(response, answer, () => {});
    });
    onward.on('error', (error) => refuse(answer, error));
    pipeline(asked, onward, () => {});
  } catch (error) {
    refuse(answer, error as Error);
  }
}

function refuse(answer: ServerResponse, error: Error): void {
  if (answer.headersSent) answer.destroy();
  else answer.writeHead(502, { 'content-type': 'text/plain' }).end(`${error.message}\n`);
}

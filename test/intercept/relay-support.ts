/** What the relay tests share: servers, connections, and what there is to see of the thread. */

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { NetworkNamespace as Namespaces, type NetworkNamespace } from 'tuntap-native';
import { Relay, type RelaySocket, takeSocket } from '#dist/intercept/relay.js';
import { ofThreads } from '../support.ts';

/** A server of this process's namespace. */
export async function withServer(
  onConnection: (socket: Socket) => void,
  body: (port: number, server: Server) => Promise<void>,
): Promise<void> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await body((server.address() as AddressInfo).port, server);
  } finally {
    server.close();
  }
}

/** Makes connections over loopback. */
export class Loopback implements AsyncDisposable {
  readonly #server = createServer({ allowHalfOpen: true });
  readonly #accepted: Socket[] = [];
  #namespace: NetworkNamespace | undefined;

  /** Both ends of a connection: ours, and one whose fd is known. */
  async connect(): Promise<[ours: Socket, known: Socket]> {
    if (this.#namespace === undefined) {
      this.#namespace = await Namespaces.current();
      this.#server.listen(0, '127.0.0.1');
      await once(this.#server, 'listening');
    }
    const { port } = this.#server.address() as AddressInfo;
    const [known, [ours]] = await Promise.all([
      this.#namespace.connect({ host: '127.0.0.1', port }),
      once(this.#server, 'connection') as Promise<[Socket]>,
    ]);
    ours.on('error', () => {});
    this.#accepted.push(ours);
    return [ours, known];
  }

  /** The outer ends of two connections, and the relay between them. */
  async relayed(): Promise<[a: Socket, b: Socket, relay: Relay]> {
    const [a, first] = await this.connect();
    const [b, second] = await this.connect();
    return [a, b, Relay.between(await takeSocket(first), await takeSocket(second))];
  }

  /** A socket for a relay, and its other end. */
  async taken(): Promise<[ours: Socket, taken: RelaySocket]> {
    const [ours, known] = await this.connect();
    return [ours, await takeSocket(known)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#accepted) socket.destroy();
    this.#server.close();
    await this.#namespace?.close();
  }
}

/** Sends so many random bytes and the end. @returns their SHA-256 */
export async function sendRandom(socket: Writable, size: number): Promise<string> {
  const hash = createHash('sha256');
  const block = randomBytes(99_991);
  function* blocks(): Generator<Buffer> {
    for (let left = size; left > 0; left -= block.length) {
      block.writeUInt32LE(left % 0xffffffff);
      const part = Buffer.from(block.subarray(0, left));
      hash.update(part);
      yield part;
    }
  }
  await pipeline(Readable.from(blocks()), socket);
  return hash.digest('hex');
}

/** Reads to the end. @returns the SHA-256 */
export async function receiveAll(socket: Socket): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** The text up to the end. Other than `text()` of Node.js, it leaves a socket open that may still send. */
export async function receiveText(socket: Socket): Promise<string> {
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  await once(socket, 'end');
  return text;
}

/** The threads of this process that relay: their processor time in ticks. */
export function relayThreads(): number[] {
  return ofThreads((folder) => readFileSync(`${folder}/stat`, 'utf8'))
    .filter((stat) => stat.includes('(relay)'))
    .map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' '))
    .map((fields) => Number(fields[11]) + Number(fields[12]));
}

/** How many ends of pipes this process has. */
export function pipeEnds(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('pipe:');
    } catch {
      return false;
    }
  }).length;
}

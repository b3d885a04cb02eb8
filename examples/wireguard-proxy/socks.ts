/** SOCKS version 5 without authentication, RFC 1928, as far as a client asks for TCP connections. */

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { formatIp } from 'tuntap-native/packet';

/** Opens a connection for a client. */
export type Connect = (host: string, port: number) => Promise<Socket>;

const VERSION = 5;
const NO_AUTHENTICATION = 0;
const NO_METHOD = 0xff;
const CONNECT = 1;
const ADDRESS = { ipv4: 1, name: 3, ipv6: 4 } as const;
const REPLY = { succeeded: 0, failed: 1, command: 7, address: 8 } as const;
/** What a client is told of an error. */
const REPLIES: Readonly<Record<string, number>> = {
  ENETUNREACH: 3,
  EHOSTUNREACH: 4,
  ENOTFOUND: 4,
  ETIMEOUT: 4,
  ETIMEDOUT: 4,
  ECONNREFUSED: 5,
};

/** Waits until a stream that is paused has bytes, or is closed. */
export async function readable(socket: Socket): Promise<void> {
  const done = new AbortController();
  const { signal } = done;
  try {
    await Promise.race([once(socket, 'readable', { signal }), once(socket, 'close', { signal })]);
  } finally {
    done.abort(); // takes the other listener off
  }
}

/** Exactly so many bytes of a stream that is paused. Throws if it ends before. */
async function take(socket: Socket, length: number): Promise<Buffer> {
  const taken: Buffer[] = [];
  for (let missing = length; missing > 0; ) {
    // Bytes that are left in the buffer make the stream readable again at once.
    const bytes = socket.read(Math.min(missing, socket.readableLength || 1)) as Buffer | null;
    if (bytes !== null) {
      taken.push(bytes);
      missing -= bytes.length;
    } else if (socket.readableEnded || socket.destroyed) {
      throw new Error('the client went away');
    } else {
      await readable(socket);
    }
  }
  return Buffer.concat(taken);
}

async function takeHost(socket: Socket, type: number): Promise<string | undefined> {
  if (type === ADDRESS.ipv4) return formatIp(await take(socket, 4));
  if (type === ADDRESS.ipv6) return formatIp(await take(socket, 16));
  if (type !== ADDRESS.name) return undefined;
  const [length] = await take(socket, 1);
  return (await take(socket, length)).toString('latin1');
}

/** A reply, whose address nobody uses. */
function reply(code: number): Buffer {
  return Buffer.of(VERSION, code, 0, ADDRESS.ipv4, 0, 0, 0, 0, 0, 0);
}

/** Serves one client, up to the connection that it asks for. @returns that connection, or undefined if it was refused */
export async function serveSocks(client: Socket, connect: Connect): Promise<Socket | undefined> {
  const [version, methodCount] = await take(client, 2);
  const methods = await take(client, methodCount);
  if (version !== VERSION || !methods.includes(NO_AUTHENTICATION)) {
    client.end(Buffer.of(VERSION, NO_METHOD));
    return undefined;
  }
  client.write(Buffer.of(VERSION, NO_AUTHENTICATION));
  const [, command, , type] = await take(client, 4);
  const host = await takeHost(client, type);
  const port = host === undefined ? 0 : (await take(client, 2)).readUInt16BE();
  if (host === undefined || command !== CONNECT) {
    client.end(reply(host === undefined ? REPLY.address : REPLY.command));
    return undefined;
  }
  try {
    const connection = await connect(host, port);
    client.write(reply(REPLY.succeeded));
    return connection;
  } catch (error) {
    client.end(reply(REPLIES[(error as NodeJS.ErrnoException).code ?? ''] ?? REPLY.failed));
    return undefined;
  }
}

/** How the bytes of an intercepted connection are passed on. */

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import { checkName, invalidArgType, requireInteger, requireObject } from '../arguments.js';
import { native } from '../native/addon.js';
import { adoptStream } from '../net/namespace/sockets.js';
import { type SystemError, systemError } from '../system-error.js';
import type { ConnectionEnd } from './nat.js';
import type { OwnConnections } from './own-connections.js';
import { type ProxyServer, parseProxy } from './proxy.js';
import { canTake, Relay, type RelayEnd, takeSocket } from './relay.js';
import { dialUpstream } from './upstream.js';

/** Options of {@link InterceptedConnection.relayTo}. */
export interface RelayToOptions {
  /** **Default:** the name, or else the address, that the client wants */
  readonly host?: string;
  /** **Default:** the port that the client wants */
  readonly port?: number;
  /**
   * The proxy to go through, which then looks names up: `socks5://HOST:PORT` or `http://HOST:PORT`, each also with
   * `USER:PASSWORD@`. **Default:** none
   */
  readonly via?: string | URL;
  /** A firewall mark; needs CAP_NET_ADMIN. */
  readonly mark?: number;
  /** The link that the connection goes through. */
  readonly device?: string;
}

/** What relaying needs of an intercepted connection. */
interface Acceptable {
  readonly destination: ConnectionEnd;
  acceptFd<T>(use: (fd: number) => T): Promise<T>;
  once(event: 'abort', listener: (error: Error) => void): unknown;
  off(event: 'abort', listener: (error: Error) => void): unknown;
}

/** The error of the socket that was reset, or undefined after both ends. */
export type RelayOutcome = NodeJS.ErrnoException | undefined;

/** Proxies by their URLs as given, the last one: most programs have one. */
let known: { readonly via: string; readonly proxy: ProxyServer } | undefined;

function proxyOf(via: string | URL): ProxyServer {
  const text = String(via);
  if (known?.via !== text) known = { via: text, proxy: parseProxy('options.via', via) };
  return known.proxy;
}

/** Relays between an accepted connection and a stream: natively if the stream's fd is known. */
export async function relayBetween(connection: Acceptable, upstream: Duplex): Promise<RelayOutcome> {
  if (typeof upstream?.pipe !== 'function' || typeof upstream.write !== 'function') {
    throw invalidArgType('socket', 'a Duplex', upstream);
  }
  try {
    if (!canTake(upstream)) return await relayByStreams(connection, upstream);
    const fd = await connection.acceptFd((accepted) => accepted);
    let taken: Awaited<ReturnType<typeof takeSocket>>;
    try {
      taken = await takeSocket(upstream);
    } catch (error) {
      native().resetFd(fd);
      throw error;
    }
    return outcome(await Relay.between({ fd, received: null }, taken).ended);
  } catch (error) {
    reset(upstream);
    throw error;
  }
}

async function relayByStreams(connection: Acceptable, upstream: Duplex): Promise<RelayOutcome> {
  const socket = await connection.acceptFd((fd) => adoptStream(fd, { allowHalfOpen: true }));
  let failure: RelayOutcome;
  const watch = async (stream: Duplex, other: Duplex): Promise<void> => {
    try {
      await finished(stream);
    } catch (error) {
      failure ??= error as Error;
      reset(other);
    }
  };
  socket.pipe(upstream).pipe(socket);
  await Promise.all([watch(socket, upstream), watch(upstream, socket)]);
  return failure;
}

function reset(stream: Duplex): void {
  if ('resetAndDestroy' in stream && !stream.destroyed) (stream as Socket).resetAndDestroy();
  else stream.destroy();
}

/** Connects, accepts the connection, and relays. Throws if it could not connect, or the client gave up before. */
export async function relayTo(
  connection: Acceptable,
  own: OwnConnections,
  options: RelayToOptions,
): Promise<RelayOutcome> {
  requireObject('options', options);
  const { destination } = connection;
  const { host = destination.name ?? destination.address, port = destination.port, via } = options;
  const { mark, device } = { ...own.bypass, ...options };
  if (typeof host !== 'string') throw invalidArgType('options.host', 'a string', host);
  requireInteger('options.port', port, 0, 65535);
  if (mark !== undefined) requireInteger('options.mark', mark, 0, 0xffffffff);
  if (device !== undefined) checkName(device, false);
  const proxy = via === undefined ? undefined : proxyOf(via);
  let dialing: Relay | undefined;
  let gaveUp: Error | undefined;
  let forget: (() => void) | undefined;
  const abort = (error: Error): void => {
    gaveUp = error;
    dialing?.abort();
  };
  connection.once('abort', abort);
  try {
    const relay = await dialUpstream({ host, port }, { via: proxy, mark, device }, (begun, local, remote) => {
      dialing = begun;
      forget = own.note(local, remote);
      if (gaveUp) begun.abort();
    });
    await connection.acceptFd((fd) => relay.join(fd));
    return outcome(await relay.ended);
  } catch (error) {
    dialing?.abort();
    throw gaveUp ?? error;
  } finally {
    forget?.();
    connection.off('abort', abort);
  }
}

function outcome({ error }: RelayEnd): SystemError | undefined {
  return error === 0 ? undefined : systemError(error, 'relay');
}

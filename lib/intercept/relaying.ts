/** How the bytes of an intercepted connection are passed on. */

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import {
  abortError,
  checkSignal,
  codedError,
  invalidArgType,
  invalidArgValue,
  requireInteger,
  requireObject,
} from '../arguments.js';
import type { Endpoint } from '../endpoint.js';
import { native } from '../native/addon.js';
import { ECONNRESET } from '../native/errno.js';
import { adoptStream, checkRouting } from '../net/namespace/sockets.js';
import { type SystemError, systemError } from '../system-error.js';
import { decidedBefore } from './connection-errors.js';
import type { ConnectionEnd, Ending } from './nat.js';
import { type OwnConnections, refuseOwnHost } from './own-connections.js';
import { authority, type Destination, parseProxy } from './proxy.js';
import { canTake, Relay, type RelayEnd, takeSocket } from './relay.js';
import { dialUpstream } from './upstream.js';

/** Options of {@link InterceptedConnection.relay}. */
export interface RelayOptions {
  /** Resets the connection and the other one. Before the connection is accepted, it only ends the attempt: decide again. */
  readonly signal?: AbortSignal;
}

/** Options of {@link InterceptedConnection.relayTo}. */
export interface RelayToOptions extends RelayOptions {
  /** **Default:** the name, or else the address, that the client wants */
  readonly host?: string;
  /** **Default:** the port that the client wants */
  readonly port?: number;
  /**
   * The proxy to go through, which then looks names up: `socks5://HOST:PORT` or `http://HOST:PORT`, each also with
   * `USER:PASSWORD@`. **Default:** none
   */
  readonly via?: string | URL;
  /** The firewall mark of what is sent to the host or proxy; needs CAP_NET_ADMIN. **Default:** option `mark` of `intercept()` */
  readonly mark?: number;
  /** The only link, by name, that the connection to the host or proxy uses. **Default:** option `device` of `intercept()` */
  readonly device?: string;
  /** Milliseconds until the attempt to connect ends with ETIMEDOUT, the proxy's part included. **Default:** as long as the connection may wait */
  readonly timeout?: number;
}

/** What relaying needs of an intercepted connection. */
interface Acceptable {
  readonly destination: ConnectionEnd;
  readonly state: string;
  readonly ending: Ending | undefined;
  acceptFd<T>(use: (fd: number) => T): Promise<T>;
  destroy(): void;
  once(event: 'abort' | 'close', listener: (error: Error) => void): this;
  off(event: 'abort' | 'close', listener: (error: Error) => void): this;
}

/** The error of the socket that was reset, or undefined after both ends. */
export type RelayOutcome = NodeJS.ErrnoException | undefined;

/** Relays between an accepted connection and a stream: natively if the stream's fd is known. */
export async function relayBetween(
  connection: Acceptable,
  upstream: Duplex,
  options: RelayOptions,
): Promise<RelayOutcome> {
  // A Writable has `pipe`, too. It throws.
  if (typeof upstream?.read !== 'function' || typeof upstream.write !== 'function') {
    throw invalidArgType('stream', 'a Duplex', upstream);
  }
  // Its error is the outcome, or known to the object; unheard, it would end the process.
  upstream.on('error', () => {});
  try {
    requireObject('options', options);
    checkSignal(options.signal);
    if (upstream.errored) throw upstream.errored;
    if (upstream.destroyed || upstream.writableEnded) throw endedBefore();
    // It may be that its other end has nothing more to say, and the client has.
    upstream.allowHalfOpen = true;
    const relay = canTake(upstream) ? relayByThread : relayByStreams;
    return await untilAborted(connection, options.signal, () => relay(connection, upstream as Socket));
  } catch (error) {
    reset(upstream);
    throw error;
  }
}

function endedBefore(): Error {
  return codedError('EPIPE', 'relay EPIPE: the stream has ended before', { syscall: 'relay' });
}

/** Destroys the connection when the signal aborts. */
async function untilAborted(
  connection: Acceptable,
  signal: AbortSignal | undefined,
  relay: () => Promise<RelayOutcome>,
): Promise<RelayOutcome> {
  if (signal === undefined) return relay();
  const destroy = (): void => connection.destroy();
  signal.addEventListener('abort', destroy, { once: true });
  try {
    const result = await relay();
    if (!signal.aborted) return result;
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', destroy);
  }
  throw abortError(signal);
}

async function relayByThread(connection: Acceptable, upstream: Socket): Promise<RelayOutcome> {
  const fd = await connection.acceptFd((accepted) => accepted);
  let taken: Awaited<ReturnType<typeof takeSocket>>;
  try {
    taken = await takeSocket(upstream);
  } catch (error) {
    native().resetFd(fd);
    if (upstream.errored) return upstream.errored;
    throw error;
  }
  return outcome(await Relay.between({ fd, received: null }, taken).ended);
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
  // libuv does not see the reset of a socket that it does not read: after the client's end, or while the stream is full.
  const over = (): void => {
    if (connection.ending !== 'closed') socket.destroy(systemError(ECONNRESET, 'relay'));
  };
  if (connection.ending) over();
  else connection.once('close', over);
  socket.pipe(upstream).pipe(socket);
  await Promise.all([watch(socket, upstream), watch(upstream, socket)]);
  return failure;
}

function reset(stream: Duplex): void {
  // While shutdown(2) is due, libuv refuses to reset, and Node.js would never close the socket. It is due once all was
  // written: before that, only a reset tells the other end that bytes are missing.
  const ending = stream.writableEnded && !stream.writableFinished && stream.writableLength === 0;
  if ('resetAndDestroy' in stream && !stream.destroyed && !ending) (stream as Socket).resetAndDestroy();
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
  const wanted = destination.name ?? destination.address;
  const { host = wanted, port = destination.port, via, signal, timeout } = options;
  if (typeof host !== 'string') throw invalidArgType('options.host', 'a string', host);
  if (host === '') throw invalidArgValue('options.host', host, 'must not be empty');
  requireInteger('options.port', port, 0, 65535);
  checkRouting(options);
  if (timeout !== undefined) requireInteger('options.timeout', timeout, 1, 0x7fffffff);
  checkSignal(signal);
  const proxy = via === undefined ? undefined : parseProxy('options.via', via);
  let dialing: Relay | undefined;
  let stopped: Error | undefined;
  let forget: (() => void) | undefined;
  const found = (remote: Endpoint): void => {
    if (stopped) throw stopped;
    if (proxy === undefined && host === wanted) refuseOwnHost(remote, host);
  };
  const begun = (relay: Relay, local: Endpoint, remote: Endpoint): void => {
    dialing = relay;
    forget?.();
    forget = own.note(local, remote);
  };
  const stopping = stopOf(connection, { host, port }, options, (error) => {
    stopped = error;
    dialing?.abort();
  });
  try {
    const { mark, device } = own.routed(options);
    const dialed = dialUpstream({ host, port }, { via: proxy, mark, device }, { found, begun });
    const relay = await Promise.race([dialed, stopping.stopped]);
    stopping.forget();
    return await untilAborted(connection, signal, async () => {
      await connection.acceptFd((fd) => relay.join(fd));
      return outcome(await relay.ended);
    });
  } catch (error) {
    dialing?.abort();
    throw error;
  } finally {
    stopping.forget();
    forget?.();
  }
}

/** What ends an attempt to connect: the connection is over, the time, or the signal. `stopped` rejects then. */
function stopOf(
  connection: Acceptable,
  { host, port }: Destination,
  { signal, timeout }: RelayToOptions,
  stop: (error: Error) => void,
): { readonly stopped: Promise<never>; forget(): void } {
  let forget = (): void => {};
  const stopped = new Promise<never>((_, reject) => {
    const end = (error: Error): void => {
      forget();
      stop(error);
      reject(error);
    };
    const over = (): void => end(decidedBefore(connection.state));
    const abort = (): void => end(abortError(signal as AbortSignal));
    const late = (): void => {
      const message = `connect ETIMEDOUT ${authority({ host, port })}`;
      end(codedError('ETIMEDOUT', message, { syscall: 'connect' }));
    };
    const timer = timeout === undefined ? undefined : setTimeout(late, timeout);
    forget = (): void => {
      clearTimeout(timer);
      connection.off('abort', end).off('close', over);
      signal?.removeEventListener('abort', abort);
    };
    connection.once('abort', end).once('close', over);
    signal?.addEventListener('abort', abort);
  });
  return { stopped, forget: () => forget() };
}

function outcome({ error }: RelayEnd): SystemError | undefined {
  return error === 0 ? undefined : systemError(error, 'relay');
}

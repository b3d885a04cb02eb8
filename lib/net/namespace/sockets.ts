/** Sockets that are opened in a namespace and handed to Node.js, whose own socket classes adopt their fds. */

import type { SocketOptions as DatagramOptions, Socket as DatagramSocket } from 'node:dgram';
import type { Server, Socket } from 'node:net';
import { abortError, checkName, requireInteger, unsupported } from '../../arguments.js';
import { ADDRESS_FAMILIES, Endpoint } from '../../endpoint.js';
import { native } from '../../native/addon.js';
import { closingOnError, type Descriptor, watchArrays } from '../../native/descriptor.js';
import { EINPROGRESS } from '../../native/errno.js';
import { WRITABLE } from '../../native/layout.js';
import { check, errnoName, type SystemError, systemError } from '../../system-error.js';

/** What is set on a socket before it is bound. */
export interface SocketOptions {
  /** A firewall mark for what it sends; needs CAP_NET_ADMIN. */
  readonly mark?: number;
  /** The link that it sends and receives through. */
  readonly device?: string;
  readonly reuseAddress?: boolean;
  readonly ipv6Only?: boolean;
}

/** What keeps a socket's packets out of some routes. */
export type RoutingOptions = Pick<SocketOptions, 'mark' | 'device'>;

/** Checks the options `mark` and `device` of users. */
export function checkRouting({ mark, device }: RoutingOptions): void {
  if (mark !== undefined) requireInteger('options.mark', mark, 0, 0xffffffff);
  if (device !== undefined) checkName('options.device', device);
}

/** Sets an option by its names in C; returns 0 or a negative errno. */
export function trySetOption(fd: number, level: string, name: string, value: number | string): number {
  const { socketConstants, setSocketNumber, setSocketText } = native();
  const [levelNumber, nameNumber] = [socketConstants[level], socketConstants[name]];
  return typeof value === 'number'
    ? setSocketNumber(fd, levelNumber, nameNumber, value)
    : setSocketText(fd, levelNumber, nameNumber, value);
}

export function setOption(fd: number, level: string, name: string, value: number | string): void {
  check(trySetOption(fd, level, name, value), `setsockopt ${name}`);
}

/** The value of an option that is a number, or a negative errno. */
export function getOption(fd: number, level: string, name: string): number {
  const constants = native().socketConstants;
  return native().getSocketOption(fd, constants[level], constants[name]);
}

/** Sets mark and link. */
export function setRouting(fd: number, { mark, device }: RoutingOptions, subject?: string): void {
  if (mark !== undefined)
    check(trySetOption(fd, 'SOL_SOCKET', 'SO_MARK', mark | 0), 'setsockopt SO_MARK', subject);
  if (device !== undefined) setOption(fd, 'SOL_SOCKET', 'SO_BINDTODEVICE', device);
}

type Kind = 'SOCK_STREAM' | 'SOCK_DGRAM';

async function openBound(
  namespace: number,
  kind: Kind,
  family: 4 | 6,
  local: Endpoint | undefined,
  options: SocketOptions,
  syscall = 'bind',
): Promise<Descriptor> {
  const af = ADDRESS_FAMILIES[family];
  const type = native().socketConstants[kind];
  const descriptor = check(await native().openSocket(namespace, af, type), 'socket');
  return closingOnError(descriptor, () => {
    const fd = descriptor.fd();
    setRouting(fd, options);
    if (options.reuseAddress) setOption(fd, 'SOL_SOCKET', 'SO_REUSEADDR', 1);
    if (family === 6) setOption(fd, 'SOL_IPV6', 'IPV6_V6ONLY', Number(options.ipv6Only ?? false));
    if (local !== undefined) {
      const bound = native().bindSocket(fd, af, local.entry);
      if (bound < 0) throw socketError(bound, syscall, local);
    }
    return descriptor;
  });
}

/** An error as Node.js has it for a socket: `connect ECONNREFUSED 192.0.2.1:80`. */
export function socketError(errno: number, syscall: string, { address, port }: Endpoint): SystemError {
  const code = errnoName(errno);
  return Object.assign(systemError(errno, syscall), {
    message: `${syscall} ${code} ${address}:${port}`,
    address,
    port,
  });
}

/** Lets the runtime take over the socket. The descriptor is closed. What `use` reports later has closed the fd. */
function adopt<T>(descriptor: Descriptor, use: (fd: number) => T): T {
  const fd = check(native().duplicate(descriptor.fd()), 'fcntl F_DUPFD_CLOEXEC');
  descriptor.close();
  try {
    return use(fd);
  } catch (error) {
    native().closeFd(fd);
    throw error;
  }
}

const streamFds = new WeakMap<Socket, number>();

/** Lets Node.js take over the fd of a connected stream socket, and remembers it. */
export function adoptStream(fd: number, options: { readonly allowHalfOpen?: boolean } = {}): Socket {
  // Sockets take milliseconds to load.
  const { Socket } = process.getBuiltinModule('node:net');
  const socket = new Socket({ ...options, fd, readable: true, writable: true });
  streamFds.set(socket, fd);
  return socket;
}

/** The fd of a socket that {@link adoptStream} made, until the socket is destroyed. */
export function descriptorOf(socket: Socket): number | undefined {
  return socket.destroyed ? undefined : streamFds.get(socket);
}

/** Where a connection comes from and when it is given up. */
export interface DialOptions extends SocketOptions {
  readonly local?: Endpoint;
  readonly signal?: AbortSignal;
  /** Hears of each attempt before its first packet can be answered. What it returns is called when that socket is closed. */
  readonly onAttempt?: (local: Endpoint, remote: Endpoint) => () => void;
}

/** Connects to one address. */
export async function dial(namespace: number, remote: Endpoint, options: DialOptions): Promise<Socket> {
  if (process.versions.bun)
    throw unsupported('Bun has no connect()', 'it adopts no connected sockets. Use Node.js or Deno');
  const { family } = remote;
  const descriptor = await openBound(namespace, 'SOCK_STREAM', family, options.local, {
    ...options,
    reuseAddress: options.local !== undefined,
  });
  let closed: (() => void) | undefined;
  try {
    const started = native().connectSocket(descriptor.fd(), ADDRESS_FAMILIES[family], remote.entry);
    closed = options.onAttempt?.(localOf(descriptor.fd()), remote);
    const error = started === EINPROGRESS ? await connected(descriptor, options.signal) : started;
    if (error < 0) throw socketError(error, 'connect', remote);
    const socket = adopt(descriptor, (fd) => adoptStream(fd));
    if (closed) socket.once('close', closed);
    closed = undefined;
    return socket;
  } finally {
    closed?.();
    descriptor.close();
  }
}

/** The address that a socket is bound to. */
export function localOf(fd: number, subject?: string): Endpoint {
  const local = new Endpoint('0.0.0.0', 0);
  check(native().socketAddress(fd, local.entry), 'getsockname', subject);
  return local;
}

/** Waits until connect(2) has ended: 0, or its negative errno. */
function connected(descriptor: Descriptor, signal: AbortSignal | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const aborted = () => reject(abortError(signal as AbortSignal));
    if (signal?.aborted) {
      aborted();
      return;
    }
    signal?.addEventListener('abort', aborted, { once: true });
    const ready = () => {
      signal?.removeEventListener('abort', aborted);
      resolve(-getOption(descriptor.fd(), 'SOL_SOCKET', 'SO_ERROR'));
    };
    check(descriptor.watch(ready, ...watchArrays()), 'poll');
    check(descriptor.arm(WRITABLE), 'poll');
  });
}

/** A server that listens. */
export async function listen(
  namespace: number,
  local: Endpoint,
  options: SocketOptions & { readonly backlog?: number },
): Promise<Server> {
  const bound = { ...options, reuseAddress: true };
  const descriptor = await openBound(namespace, 'SOCK_STREAM', local.family, local, bound, 'listen');
  const server = new (process.getBuiltinModule('node:net').Server)();
  return adopt(
    descriptor,
    (fd) =>
      new Promise<Server>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ fd, ...(options.backlog !== undefined && { backlog: options.backlog }) }, () => {
          server.off('error', reject);
          resolve(server);
        });
      }),
  );
}

/** A datagram socket that is bound. */
export async function bindDatagrams(
  namespace: number,
  local: Endpoint,
  options: SocketOptions & { readonly lookup?: DatagramOptions['lookup'] },
): Promise<DatagramSocket> {
  if (process.versions.deno) {
    throw unsupported('Deno has no createUdpSocket()', 'it adopts no UDP sockets. Use openUdp()');
  }
  const descriptor = await openBound(namespace, 'SOCK_DGRAM', local.family, local, options);
  const type = local.family === 4 ? 'udp4' : 'udp6';
  const { createSocket } = process.getBuiltinModule('node:dgram');
  const socket = createSocket({ type, ...(options.lookup && { lookup: options.lookup }) });
  return adopt(
    descriptor,
    (fd) =>
      new Promise<DatagramSocket>((resolve, reject) => {
        socket.once('error', reject);
        socket.once('listening', () => {
          socket.off('error', reject);
          resolve(socket);
        });
        socket.bind({ fd });
      }),
  );
}

import type { SocketOptions as DatagramOptions, Socket as DatagramSocket } from 'node:dgram';
import type { Server, Socket } from 'node:net';
import {
  abortError,
  checkSignal,
  codedError,
  invalidArgType,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../arguments.js';
import { Endpoint } from '../endpoint.js';
import { type ResolvedAddress, type ResolveOptions, resolveIn } from './namespace/resolver.js';
import { bindDatagrams, checkRouting, type DialOptions, dial, listen } from './namespace/sockets.js';
import { NetworkConfiguration } from './network-configuration.js';

/** Options of {@link NetworkNamespace.connect}. */
export interface NamespaceConnectOptions extends ResolveOptions {
  /** A host name, looked up inside the namespace, or an address; an IPv6 address may have a zone by index. **Default:** `'localhost'` */
  readonly host?: string;
  /** 0 to 65,535. */
  readonly port: number;
  /** The address that the connection comes from. */
  readonly localAddress?: string;
  /** The port that the connection comes from, with `localAddress`. **Default:** one that the kernel chooses */
  readonly localPort?: number;
  /**
   * The firewall mark of the packets that the connection sends (SO_MARK), for routing rules and filters of the namespace.
   * Needs CAP_NET_ADMIN there, which you have in a namespace that you made without root. **Default:** none
   */
  readonly mark?: number;
  /**
   * The only link, by name, that the connection uses (SO_BINDTODEVICE): routes by other links don't count. Needs no
   * capability; before Linux 5.7, CAP_NET_RAW. **Default:** any
   */
  readonly device?: string;
  /** Milliseconds until the attempt ends with ETIMEDOUT. **Default:** as long as the kernel tries */
  readonly timeout?: number;
  /** @internal */
  readonly onAttempt?: DialOptions['onAttempt'];
  /** Throws for an address that must not be connected to. @internal */
  readonly checkRemote?: (remote: Endpoint) => void;
}

/** Options of {@link NetworkNamespace.createConnection}: those of {@link NetworkNamespace.connect}, as http and undici have them. */
export interface NamespaceConnectionOptions {
  /** **Default:** `'localhost'` */
  readonly host?: string | null | undefined;
  /** Takes the place of `host`, which undici gives together with the port. */
  readonly hostname?: string | null | undefined;
  /** **Default:** that of `protocol`, if it is `'http:'` or `'https:'` */
  readonly port?: number | string | null | undefined;
  /** Only for the port: {@link NetworkNamespace.createConnection} makes no TLS connections. */
  readonly protocol?: string | null | undefined;
  /** The address that the connection comes from. */
  readonly localAddress?: string | null | undefined;
  /** The port that the connection comes from, with `localAddress`. */
  readonly localPort?: number | undefined;
  /** 4 or 6: addresses of that family alone. */
  readonly family?: number | undefined;
  /** Milliseconds until the attempt ends with ETIMEDOUT; `0`: as long as the kernel tries. */
  readonly timeout?: number | undefined;
  /** Ends the attempt with an AbortError. */
  readonly signal?: AbortSignal | undefined;
  /** As {@link NamespaceConnectOptions.mark}. */
  readonly mark?: number | undefined;
  /** As {@link NamespaceConnectOptions.device}. */
  readonly device?: string | undefined;
  /** Addresses of name servers, instead of those of resolv.conf. */
  readonly servers?: readonly string[] | undefined;
}

/** The ports of protocols. */
const PORTS: Readonly<Record<string, number>> = { 'http:': 80, 'https:': 443 };

/** Options of {@link NetworkNamespace.listen} and {@link NetworkNamespace.createUdpSocket}. */
export interface NamespaceBindOptions {
  /** **Default:** all, IPv4 and IPv6 */
  readonly host?: string;
  /** **Default:** one that the kernel chooses */
  readonly port?: number;
  /** Whether a socket of `'::'` leaves IPv4 to others. **Default:** `false` */
  readonly ipv6Only?: boolean;
  /** The firewall mark of the packets that the socket and the connections it accepts send, as {@link NamespaceConnectOptions.mark}. */
  readonly mark?: number;
  /** The only link, by name, that the socket and the connections it accepts use, as {@link NamespaceConnectOptions.device}. */
  readonly device?: string;
}

/** Options of {@link NetworkNamespace.listen}. */
export interface NamespaceListenOptions extends NamespaceBindOptions {
  /** Connections that may wait to be accepted. **Default:** `511` */
  readonly backlog?: number;
}

/** Milliseconds after which the next address of a host is tried beside the one before, as RFC 8305 recommends. */
const ATTEMPT_DELAY = 250;

/** The sockets of a namespace: Node.js's own, opened inside. */
export abstract class NamespaceSockets extends NetworkConfiguration {
  /** @internal */
  abstract readonly name: string | undefined;
  /** @internal */
  abstract fdToEnter(): number;

  /**
   * The addresses of a host, looked up inside the namespace: in /etc/hosts, then by the name servers of
   * /etc/resolv.conf. If the namespace has a name, files of /etc/netns/NAME take their place.
   * @throws Error with a code of node:dns: ENOTFOUND, ETIMEOUT, ESERVFAIL, ECONNREFUSED
   */
  async resolve(host: string, options: ResolveOptions = {}): Promise<readonly ResolvedAddress[]> {
    requireObject('options', options);
    checkSignal(options.signal);
    return resolveIn({ fd: this.fdToEnter(), name: this.name }, host, options);
  }

  /**
   * Opens a TCP connection from inside the namespace. If the host has several addresses, the next one is tried 250 ms
   * after the one before.
   * @returns a connected socket, as `net.connect` makes it
   * @throws what {@link resolve} throws; ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT and the like as `net.connect`
   * reports them, an AggregateError of them if several addresses failed; AbortError; Error `ERR_TUNTAP_UNSUPPORTED` in Bun
   * @example
   * ```ts
   * const socket = await namespace.connect({ host: '192.0.2.2', port: 80 });
   * socket.end('GET / HTTP/1.0\r\n\r\n').pipe(process.stdout);
   * ```
   */
  async connect(options: NamespaceConnectOptions): Promise<Socket> {
    requireObject('options', options);
    const { host = 'localhost', port, localAddress, localPort = 0, timeout, signal } = options;
    checkRouting(options);
    requireInteger('options.port', port, 0, 65535);
    requireInteger('options.localPort', localPort, 0, 65535);
    if (timeout !== undefined) requireInteger('options.timeout', timeout, 1, 0x7fffffff);
    checkSignal(signal);
    const local = localAddress === undefined ? undefined : new Endpoint(localAddress, localPort);
    const end = new AbortController();
    const limits = [
      end.signal,
      ...(signal ? [signal] : []),
      ...(timeout ? [AbortSignal.timeout(timeout)] : []),
    ];
    const limit = AbortSignal.any(limits);
    try {
      const found = await this.resolve(host, { ...options, signal: limit });
      const usable = found.filter(({ family }) => local === undefined || family === local.family);
      const remotes = (usable.length > 0 ? usable : found).map(({ address }) => new Endpoint(address, port));
      if (options.checkRemote) remotes.forEach(options.checkRemote);
      return await connectFirst(this.fdToEnter(), remotes, { ...options, local, signal: limit });
    } catch (error) {
      if (signal?.aborted) throw abortError(signal);
      if (!limit.aborted) throw error;
      const code = 'ETIMEDOUT';
      throw codedError(code, `connect ${code} ${host}:${port}`, { syscall: 'connect', port });
    } finally {
      end.abort();
    }
  }

  /**
   * {@link connect} in the shape that `http.Agent` and undici use: returns at once, and calls back with the socket. For https,
   * put TLS on that socket.
   * @param callback gets no socket if there is an error
   * @example
   * ```ts
   * const createConnection = (options, callback) => namespace.createConnection(options, callback);
   * http.get('http://192.0.2.2/', { createConnection }, (response) => response.pipe(process.stdout));
   * ```
   */
  createConnection(
    options: NamespaceConnectionOptions,
    callback: (error: Error | null, socket: Socket) => void,
  ): void {
    requireObject('options', options);
    if (typeof callback !== 'function') throw invalidArgType('callback', 'a function', callback);
    const { hostname, host, protocol, localAddress, localPort, family, timeout, signal } = options;
    const { mark, device, servers } = options;
    const given = {
      host: hostname ?? host,
      localAddress,
      localPort,
      family,
      timeout,
      signal,
      mark,
      device,
      servers,
    };
    // http leaves some undefined, and has 0 for no time limit.
    const defined = Object.entries(given).filter(
      ([name, value]) => value !== undefined && value !== null && !(name === 'timeout' && value === 0),
    );
    const port = options.port || PORTS[protocol ?? ''] || options.port;
    const number = (typeof port === 'string' && port !== '' ? Number(port) : port) as number;
    this.connect({ ...Object.fromEntries(defined), port: number }).then(
      (socket) => callback(null, socket),
      (error) => (callback as (error: Error) => void)(error),
    );
  }

  /**
   * Opens a TCP server inside the namespace.
   * @param onConnection is added as a `'connection'` listener
   * @returns the server, which listens
   * @throws EADDRINUSE, EADDRNOTAVAIL, EACCES as `server.listen` reports them
   * @example
   * ```ts
   * const server = await namespace.listen({ port: 80 }, (socket) => socket.end('hello\n'));
   * ```
   */
  async listen(
    options: NamespaceListenOptions = {},
    onConnection?: (socket: Socket) => void,
  ): Promise<Server> {
    const local = checkBind(options);
    const { backlog } = options;
    if (onConnection !== undefined && typeof onConnection !== 'function') {
      throw invalidArgType('onConnection', 'a function', onConnection);
    }
    if (backlog !== undefined) requireInteger('options.backlog', backlog, 1, 0x7fffffff);
    const server = await listen(this.fdToEnter(), local, options);
    if (onConnection) server.on('connection', onConnection);
    return server;
  }

  /**
   * Opens a UDP socket inside the namespace. Names that it sends to are looked up inside, too. For batches use
   * `openUdp({ namespace })`.
   * @returns a socket that is bound
   * @throws EADDRINUSE, EADDRNOTAVAIL, EACCES as `socket.bind` reports them; Error `ERR_TUNTAP_UNSUPPORTED` in Deno
   */
  async createUdpSocket(options: NamespaceBindOptions = {}): Promise<DatagramSocket> {
    const local = checkBind(options);
    const lookup: DatagramOptions['lookup'] = (host, _, callback) => {
      this.resolve(host, { family: local.family }).then(
        ([{ address, family }]) => callback(null, address, family),
        (error) => callback(error, '', 0),
      );
    };
    return bindDatagrams(this.fdToEnter(), local, { ...options, lookup });
  }
}

/** Tries one address after the other, and takes the first that answers. The signal ends the other attempts. */
function connectFirst(
  namespace: number,
  remotes: readonly Endpoint[],
  options: DialOptions,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const errors: Error[] = [];
    let begun = 0;
    let settled = false;
    let timer: NodeJS.Timeout | undefined;
    const settle = (settleBy: () => void) => {
      settled = true;
      clearTimeout(timer);
      settleBy();
    };
    const begin = () => {
      clearTimeout(timer);
      const remote = remotes[begun++];
      if (begun < remotes.length) timer = setTimeout(begin, ATTEMPT_DELAY);
      dial(namespace, remote, options).then(
        (socket) => (settled ? socket.destroy() : settle(() => resolve(socket))),
        (error) => {
          errors.push(error);
          if (settled) return;
          if (begun < remotes.length && !options.signal?.aborted) begin();
          else if (errors.length === begun) settle(() => reject(combined(errors)));
        },
      );
    };
    begin();
  });
}

/** The only error, or all as Node.js combines them. */
function combined(errors: readonly Error[]): Error {
  if (errors.length === 1) return errors[0];
  const { code } = errors[0] as NodeJS.ErrnoException;
  return Object.assign(new AggregateError(errors, errors.map(({ message }) => message).join('; ')), { code });
}

function checkBind(options: NamespaceBindOptions): Endpoint {
  requireObject('options', options);
  checkRouting(options);
  if (options.ipv6Only !== undefined) requireBoolean('options.ipv6Only', options.ipv6Only);
  return new Endpoint(options.host ?? '::', options.port ?? 0);
}

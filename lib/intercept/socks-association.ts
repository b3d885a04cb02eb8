/** UDP through a SOCKS5 proxy: RFC 1928, sections 4 and 7. */

import type { Socket as DatagramSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import { formatIp, isIP } from '../address.js';
import { codedError } from '../arguments.js';
import type { InterceptedFlow } from './flow.js';
import type { ConnectionEnd } from './nat.js';
import {
  ADDRESS_TYPES,
  authority,
  type Destination,
  METHOD,
  PASSWORD,
  type ProxyServer,
  REQUEST,
  refusedByProxy,
  socksAddress,
  socksMessages,
  USER,
} from './proxy.js';

const UDP_ASSOCIATE = 3;
const NO_METHOD = 0xff;
const ANY: Destination = { host: '0.0.0.0', port: 0 };
const ADDRESS_LENGTHS: Readonly<Record<number, number>> = {
  [ADDRESS_TYPES.ipv4]: 4,
  [ADDRESS_TYPES.ipv6]: 16,
};
/** Bytes before the address, in a reply as in a datagram. */
const ADDRESS_AT = 3;
/** Datagrams that wait for the proxy; more are lost. */
const MAX_WAITING = 64;
/** So long a flow is refused whose proxy could not be reached. */
const RETRY_MS = 1000;
/** Destinations that a flow remembers; then it begins anew. */
const MAX_KNOWN = 1024;

/** Sends a flow's datagrams through a proxy, until either ends. Where the proxy can't, its destinations are unreachable. */
export function relayFlow(
  flow: InterceptedFlow,
  proxy: ProxyServer,
  failed: (error: NodeJS.ErrnoException) => void,
): void {
  if (proxy.protocol !== 'socks5') {
    flow.on('message', (_, destination) => flow.refuse(destination));
    return;
  }
  new Association(flow, proxy, failed).open();
}

/** Takes bytes of a socket by their number. */
class ByteReader {
  #bytes: Buffer = Buffer.alloc(0);
  #ended = false;
  #wake = (): void => {};

  constructor(socket: Socket) {
    socket.on('data', this.#add);
    socket.once('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  readonly #add = (chunk: Buffer): void => {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    this.#wake();
  };

  async take(length: number): Promise<Buffer> {
    while (this.#bytes.length < length) {
      if (this.#ended) throw codedError('ECONNRESET', 'connect ECONNRESET: the proxy ended the connection');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  stop(socket: Socket): void {
    socket.off('data', this.#add).resume();
  }
}

class Association {
  readonly #flow: InterceptedFlow;
  readonly #proxy: ProxyServer;
  readonly #failed: (error: NodeJS.ErrnoException) => void;
  #control: Socket | undefined;
  #udp: DatagramSocket | undefined;
  #waiting: [bytes: Buffer, destination: ConnectionEnd][] | undefined = [];
  #refuses = false;
  /** Destinations with a name: by name and port, and the last one by port alone. */
  readonly #named = new Map<string, ConnectionEnd>();
  /** Destinations without a name. */
  readonly #known = new Set<string>();

  constructor(flow: InterceptedFlow, proxy: ProxyServer, failed: (error: NodeJS.ErrnoException) => void) {
    this.#flow = flow;
    this.#proxy = proxy;
    this.#failed = failed;
  }

  async open(): Promise<void> {
    const flow = this.#flow;
    flow.on('message', this.#toProxy);
    flow.on('close', this.#close);
    try {
      await this.#associate();
    } catch (error) {
      this.#fail(error as NodeJS.ErrnoException);
    }
  }

  #fail(error: NodeJS.ErrnoException): void {
    this.#close();
    if (this.#flow.closed || this.#refuses) return;
    this.#refuses = true;
    for (const [, destination] of this.#waiting ?? []) this.#flow.refuse(destination);
    this.#waiting = undefined;
    this.#failed(error);
    // Another flow of the source asks again, unless the proxy itself refuses.
    if (!('proxy' in error)) setTimeout(() => this.#flow.close(), RETRY_MS).unref();
  }

  async #associate(): Promise<void> {
    const { connect } = process.getBuiltinModule('node:net');
    const control = connect(this.#proxy);
    this.#control = control;
    await new Promise((resolve, reject) => control.once('connect', resolve).once('error', reject));
    control.on('error', () => {}); // 'close' follows
    const relay = await this.#shakeHands(control);
    if (this.#flow.closed) return;
    control.once('close', () => this.#refuses || this.#flow.close());
    const { createSocket } = process.getBuiltinModule('node:dgram');
    const udp = createSocket(isIP(relay.host) === 6 ? 'udp6' : 'udp4');
    this.#udp = udp;
    udp.on('error', () => {}); // a datagram is lost
    udp.on('message', this.#fromProxy);
    await new Promise<void>((resolve, reject) => {
      udp.once('error', reject);
      udp.connect(relay.port, relay.host, resolve);
    });
    const end = { address: relay.host, port: relay.port };
    const returned = () => this.#fail(returnedFrom(end));
    // More of them may be under way when the socket is closed.
    this.#flow.once('close', this.#flow.own.note(udp.address(), end, returned));
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const [bytes, destination] of waiting) this.#toProxy(bytes, destination);
  }

  /** Asks for an association. @returns where its datagrams go */
  async #shakeHands(control: Socket): Promise<Destination> {
    const proxy = this.#proxy;
    const reader = new ByteReader(control);
    const { greeting, password, request } = socksMessages(proxy, UDP_ASSOCIATE, ANY);
    control.write(greeting);
    const [, method] = await reader.take(2);
    if (method === NO_METHOD || (method === PASSWORD && password.length === 0))
      throw refusedByProxy(proxy, ANY, METHOD);
    if (method === PASSWORD) {
      control.write(password);
      const [, status] = await reader.take(2);
      if (status !== 0) throw refusedByProxy(proxy, ANY, USER);
    }
    control.write(request);
    const [, reply, , type] = await reader.take(4);
    if (reply !== 0) throw refusedByProxy(proxy, ANY, REQUEST + reply);
    const length = ADDRESS_LENGTHS[type];
    if (length === undefined)
      throw codedError('EPROTO', 'connect EPROTO: the proxy names no address for UDP');
    const address = await reader.take(length);
    const port = (await reader.take(2)).readUInt16BE();
    reader.stop(control);
    const nobody = address.every((byte) => byte === 0);
    return { host: nobody ? proxy.host : formatIp(address), port };
  }

  readonly #toProxy = (bytes: Buffer, destination: ConnectionEnd): void => {
    if (this.#refuses) {
      this.#flow.refuse(destination);
      return;
    }
    if (this.#waiting) {
      if (this.#waiting.length < MAX_WAITING) this.#waiting.push([bytes, destination]);
      return;
    }
    const { name, address, port } = destination;
    if (name !== undefined)
      remember(this.#named).set(nameKey(name, port), destination).set(`${port}`, destination);
    else remember(this.#known).add(`${address} ${port}`);
    const header = Buffer.concat([Buffer.alloc(ADDRESS_AT), socksAddress({ host: name ?? address, port })]);
    this.#udp?.send([header, bytes], () => {}); // lost, if it can't be sent
  };

  readonly #fromProxy = (datagram: Buffer): void => {
    const found = parseDatagram(datagram);
    if (found === undefined || this.#flow.closed) return;
    const { host, port, payload } = found;
    // The client knows an address of a name that is not the proxy's.
    const known = isIP(host) !== 0 && this.#known.has(`${host} ${port}`);
    const named = this.#named.get(nameKey(host, port)) ?? this.#named.get(`${port}`);
    const from = known || named === undefined ? { address: host, port } : named;
    if (isIP(from.address) !== this.#flow.source.family) return;
    this.#flow.send(payload, from);
  };

  readonly #close = (): void => {
    this.#control?.destroy();
    this.#udp?.close();
    this.#control = undefined;
    this.#udp = undefined;
  };
}

function nameKey(name: string, port: number): string {
  return `${name.toLowerCase()} ${port}`;
}

function remember<T extends { readonly size: number; clear(): void }>(known: T): T {
  if (known.size >= MAX_KNOWN) known.clear();
  return known;
}

/** The error of datagrams whose way to the proxy leads back to the interceptor. */
function returnedFrom(to: { readonly address: string; readonly port: number }): NodeJS.ErrnoException {
  const code = 'EHOSTUNREACH';
  const where = authority({ host: to.address, port: to.port });
  const message = `send ${code} ${where}: datagrams to the proxy come out of the intercepted device again`;
  return codedError(code, message, { syscall: 'send', ...to });
}

/** A datagram of a proxy; undefined if it is malformed, or a fragment, which nobody sends. */
function parseDatagram(datagram: Buffer): (Destination & { readonly payload: Buffer }) | undefined {
  if (datagram.length < ADDRESS_AT + 2 || datagram[2] !== 0) return undefined;
  const type = datagram[ADDRESS_AT];
  const isName = type === ADDRESS_TYPES.name;
  const start = ADDRESS_AT + (isName ? 2 : 1);
  const length = isName ? datagram[ADDRESS_AT + 1] : ADDRESS_LENGTHS[type];
  if (length === undefined || datagram.length < start + length + 2) return undefined;
  const bytes = datagram.subarray(start, start + length);
  return {
    host: isName ? bytes.toString('latin1') : formatIp(bytes),
    port: datagram.readUInt16BE(start + length),
    payload: datagram.subarray(start + length + 2),
  };
}

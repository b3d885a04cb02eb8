/** Proxies of SOCKS5 and HTTP, in this process's namespace. */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, isIP, type Server, type Socket } from 'node:net';
import type { NetworkNamespace } from 'tuntap-native/net';
import { formatIp, parseIp } from 'tuntap-native/packet';

export interface ProxyOptions {
  readonly user?: string;
  readonly password?: string;
  /** Where clients find the proxy. */
  readonly namespace?: NetworkNamespace;
  /** Where a destination really is; an error's code refuses it. */
  readonly route: (host: string, port: number) => { host: string; port: number } | string;
  /** Whether datagrams come back from the name that they were sent to. */
  readonly named?: boolean;
}

/** The address that every name has for the proxy's datagrams. */
const RESOLVED = '203.0.113.99';

/** A proxy, its URL, and what it was asked for. */
export class TestProxy implements AsyncDisposable {
  readonly asked: string[] = [];
  readonly sockets = new Set<Socket>();
  readonly #server: Server;
  readonly #scheme: string;

  private constructor(scheme: string, server: Server) {
    this.#scheme = scheme;
    this.#server = server;
  }

  static async start(scheme: 'socks5' | 'http', options: ProxyOptions): Promise<TestProxy> {
    const server = options.namespace
      ? await options.namespace.listen({ host: '127.0.0.1' })
      : createServer().listen(0, '127.0.0.1');
    if (!server.listening) await once(server, 'listening');
    const proxy = new TestProxy(scheme, server);
    const serve = scheme === 'http' ? serveHttp : serveSocks;
    server.on('connection', (client) => {
      client.allowHalfOpen = true;
      client.setNoDelay();
      proxy.#keep(client);
      serve(client, proxy, options).catch(() => client.destroy());
    });
    return proxy;
  }

  url(credentials = ''): string {
    return `${this.#scheme}://${credentials}127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #keep(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.sockets.delete(socket));
  }

  /** Connects and pipes. @returns an error's code if that fails */
  async pass(
    client: Socket,
    to: { host: string; port: number } | string,
    accept: () => void,
  ): Promise<string> {
    if (typeof to === 'string') return to;
    const upstream = connect({ ...to, allowHalfOpen: true });
    this.#keep(upstream);
    try {
      await once(upstream, 'connect');
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? '';
    }
    accept();
    client.on('error', () => upstream.resetAndDestroy());
    upstream.on('error', () => client.resetAndDestroy());
    client.pipe(upstream).pipe(client);
    return '';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

async function take(socket: Socket, length: number): Promise<Buffer> {
  const taken: Buffer[] = [];
  for (let missing = length; missing > 0; ) {
    const bytes = socket.read(Math.min(missing, socket.readableLength || 1)) as Buffer | null;
    if (bytes === null) {
      if (socket.readableEnded || socket.destroyed) throw new Error('the client went away');
      await Promise.race([once(socket, 'readable'), once(socket, 'close')]);
      continue;
    }
    taken.push(bytes);
    missing -= bytes.length;
  }
  return Buffer.concat(taken);
}

async function takeAddress(socket: Socket, type: number): Promise<string> {
  if (type === 3) return (await take(socket, (await take(socket, 1))[0])).toString();
  return formatIp(await take(socket, type === 1 ? 4 : 16));
}

const REPLIES: Readonly<Record<string, number>> = {
  EACCES: 2,
  ENETUNREACH: 3,
  EHOSTUNREACH: 4,
  ECONNREFUSED: 5,
  ENOTSUP: 7,
};

/** Its replies come byte by byte, as a slow network may cut them. */
function say(client: Socket, bytes: Buffer): void {
  for (const byte of bytes) client.write(Buffer.of(byte));
}

async function serveSocks(client: Socket, proxy: TestProxy, options: ProxyOptions): Promise<void> {
  const [, methodCount] = await take(client, 2);
  const methods = await take(client, methodCount);
  const method = options.user === undefined ? 0 : 2;
  say(client, Buffer.of(5, methods.includes(method) ? method : 0xff));
  if (!methods.includes(method)) {
    client.end();
    return;
  }
  if (method === 2) {
    const user = (await take(client, (await take(client, 2))[1])).toString();
    const password = (await take(client, (await take(client, 1))[0])).toString();
    const right = user === options.user && password === options.password;
    say(client, Buffer.of(1, right ? 0 : 1));
    if (!right) {
      client.end();
      return;
    }
  }
  const [, command, , type] = await take(client, 4);
  const host = await takeAddress(client, type);
  const port = (await take(client, 2)).readUInt16BE();
  const reply = (code: number, at = 0) => {
    const bytes = Buffer.of(5, code, 0, 1, 0, 0, 0, 0, 0, 0);
    bytes.writeUInt16BE(at, 8);
    say(client, bytes);
  };
  if (command === 3) {
    await associate(client, proxy, options, (at) => reply(0, at));
    return;
  }
  proxy.asked.push(`${host}:${port}`);
  const failure = await proxy.pass(client, options.route(host, port), () => reply(0));
  if (failure) reply(REPLIES[failure] ?? 1);
  if (failure) client.end();
}

/** An address or a name as SOCKS5 has it. */
function addressOf(host: string): Buffer {
  if (isIP(host) === 0) return Buffer.from([3, host.length, ...Buffer.from(host)]);
  const address = parseIp(host);
  return Buffer.from([address.length === 4 ? 1 : 4, ...address]);
}

/** An association: it lives as long as the connection. */
async function associate(
  client: Socket,
  proxy: TestProxy,
  { route, named: answersByName }: ProxyOptions,
  reply: (port: number) => void,
): Promise<void> {
  const [inner, outer] = [createSocket('udp4'), createSocket('udp4')];
  inner.bind(0, '127.0.0.1');
  await once(inner, 'listening');
  let from = 0;
  const origins = new Map<number, { address: string; port: number }>();
  inner.on('message', (bytes, { port }) => {
    from = port;
    const named = bytes[3] === 3;
    const start = named ? 5 : 4;
    const end = start + (named ? bytes[4] : bytes[3] === 1 ? 4 : 16);
    const host = named ? bytes.subarray(start, end).toString() : formatIp(bytes.subarray(start, end));
    const destination = bytes.readUInt16BE(end);
    proxy.asked.push(`udp ${host}:${destination}`);
    const to = route(host, destination);
    if (typeof to === 'string') return;
    origins.set(to.port, { address: isIP(host) || answersByName ? host : RESOLVED, port: destination });
    outer.send(bytes.subarray(end + 2), to.port, to.host);
  });
  outer.on('message', (bytes, { port }) => {
    const origin = origins.get(port) ?? { address: RESOLVED, port };
    const tail = Buffer.alloc(2);
    tail.writeUInt16BE(origin.port);
    const head = [Buffer.of(0, 0, 0), addressOf(origin.address), tail];
    inner.send([...head, bytes], from, '127.0.0.1');
  });
  client.resume().on('close', () => {
    inner.close();
    outer.close();
  });
  client.on('end', () => client.end());
  reply((inner.address() as AddressInfo).port);
}

async function serveHttp(client: Socket, proxy: TestProxy, options: ProxyOptions): Promise<void> {
  let head = '';
  while (!head.endsWith('\r\n\r\n')) head += (await take(client, 1)).toString('latin1');
  const [, host, port] = /^CONNECT \[?(.*?)\]?:(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
  if (options.user !== undefined) {
    const right = Buffer.from(`${options.user}:${options.password}`).toString('base64');
    if (!head.includes(`\r\nProxy-Authorization: Basic ${right}\r\n`)) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
      return;
    }
  }
  proxy.asked.push(`${host}:${port}`);
  client.write('HTTP/1.1 103 Early Hints\r\n\r\n');
  const ok = Buffer.from('HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n');
  const failure = await proxy.pass(client, options.route(host, Number(port)), () => say(client, ok));
  if (failure) client.end('HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno');
}

/** Proxies by which connections leave: their URLs, what they are told, and what their refusals mean. */

import { isIP } from '../address.js';
import { codedError, invalidArgValue } from '../arguments.js';
import { parsePlainIp } from '../endpoint.js';

/** A host, by name or address, and a port. */
export interface Destination {
  readonly host: string;
  readonly port: number;
}

/** A proxy of SOCKS5 or HTTP. */
export interface ProxyServer extends Destination {
  readonly protocol: 'socks5' | 'http';
  readonly user: string;
  readonly password: string;
}

/** What a proxy is told: one of HTTP gets a request alone. */
export interface ProxyMessages {
  readonly greeting: Uint8Array;
  readonly password: Uint8Array;
  readonly request: Uint8Array;
}

const NOTHING = new Uint8Array(0);

/** Why the native dialer was refused: in thousands, src-cpp/intercept/dialer.h. */
export const METHOD = 1000;
export const USER = 2000;
export const REQUEST = 3000;

/** Types of addresses, RFC 1928 section 5. */
export const ADDRESS_TYPES = { ipv4: 1, name: 3, ipv6: 4 } as const;
const PORTS = { socks5: 1080, http: 80 } as const;
const VERSION = 5;
const NO_AUTHENTICATION = 0;
export const PASSWORD = 2;
const CONNECT = 1;
/** The longest name or password that SOCKS5 has room for. */
const MAX_TEXT = 255;

/** What a reply of SOCKS5 means, RFC 1928 section 6. */
const REPLIES: Readonly<Record<number, readonly [code: string, text: string]>> = {
  1: ['ECONNREFUSED', 'general failure'],
  2: ['EACCES', 'its rules forbid it'],
  3: ['ENETUNREACH', 'network unreachable'],
  4: ['EHOSTUNREACH', 'host unreachable'],
  5: ['ECONNREFUSED', 'connection refused'],
  6: ['EHOSTUNREACH', 'TTL expired'],
  7: ['ENOTSUP', 'it does not support the command'],
  8: ['EAFNOSUPPORT', 'it does not support the kind of address'],
};

/** Statuses of HTTP that are no mere refusal, RFC 9110 section 15. */
const STATUSES: Readonly<Record<number, string>> = {
  401: 'EACCES',
  403: 'EACCES',
  404: 'EHOSTUNREACH',
  407: 'EACCES',
  504: 'EHOSTUNREACH',
};

/**
 * Parses `socks5://[USER:PASSWORD@]HOST[:PORT]`, `http://…`.
 * @throws TypeError `ERR_INVALID_ARG_VALUE`
 */
export function parseProxy(name: string, url: string | URL): ProxyServer {
  const shown = String(url).replace(/^([a-z0-9+.-]*:\/\/)?.*@/is, '$1…@');
  const wrong = () => invalidArgValue(name, shown, "must be a URL such as 'socks5://127.0.0.1:1080'");
  const text = String(url);
  if (!URL.canParse(text)) throw wrong();
  const { protocol, hostname, port, username, password, pathname, search, hash } = new URL(text);
  const kind = protocol.replace(/h?:$/, '');
  if ((kind !== 'socks5' && kind !== 'http') || protocol === 'httph:' || hostname === '') throw wrong();
  if (search || hash || (pathname !== '' && pathname !== '/')) throw wrong();
  const [user, secret] = [username, password].map((part) => decoded(part, wrong));
  if (kind === 'socks5' && [user, secret].some((part) => Buffer.byteLength(part) > MAX_TEXT)) throw wrong();
  return {
    protocol: kind,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || PORTS[kind]),
    user,
    password: secret,
  };
}

function decoded(part: string, wrong: () => Error): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw wrong();
  }
}

/** `192.0.2.1:80`, `[2001:db8::1]:80`, `example.org:80`. */
export function authority({ host, port }: Destination): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}

/** A client may have asked for it, so it is no mistake of the program. */
function noName({ host, port }: Destination): Error {
  const code = 'ENOTFOUND';
  return codedError(code, `connect ${code} ${JSON.stringify(host)}: it is no name of a host`, { host, port });
}

/** An address of SOCKS5 and its port. */
export function socksAddress({ host, port }: Destination): Buffer {
  const tail = Buffer.alloc(2);
  tail.writeUInt16BE(port);
  if (isIP(host) === 0) {
    const name = Buffer.from(host);
    if (name.length === 0 || name.length > MAX_TEXT) throw noName({ host, port });
    return Buffer.concat([Buffer.of(ADDRESS_TYPES.name, name.length), name, tail]);
  }
  const bytes = parsePlainIp(host);
  const type = ADDRESS_TYPES[bytes.length === 4 ? 'ipv4' : 'ipv6'];
  return Buffer.concat([Buffer.of(type), bytes, tail]);
}

/** A greeting, a password (empty if there is none) and a request of SOCKS5. */
export function socksMessages(proxy: ProxyServer, command: number, destination: Destination): ProxyMessages {
  const request = Buffer.concat([Buffer.of(VERSION, command, 0), socksAddress(destination)]);
  if (proxy.user === '') {
    return { greeting: Buffer.of(VERSION, 1, NO_AUTHENTICATION), password: NOTHING, request };
  }
  const [user, secret] = [Buffer.from(proxy.user), Buffer.from(proxy.password)];
  return {
    greeting: Buffer.of(VERSION, 2, NO_AUTHENTICATION, PASSWORD),
    password: Buffer.concat([Buffer.of(1, user.length), user, Buffer.of(secret.length), secret]),
    request,
  };
}

/** What a proxy is told to connect to a destination. */
export function connectMessages(proxy: ProxyServer | undefined, destination: Destination): ProxyMessages {
  if (proxy === undefined) return { greeting: NOTHING, password: NOTHING, request: NOTHING };
  if (proxy.protocol === 'socks5') return socksMessages(proxy, CONNECT, destination);
  const target = authority(destination);
  if (!/^([\w.-]+|\[[\da-f:.]+\]):\d+$/i.test(target)) throw noName(destination);
  const { user, password } = proxy;
  const credentials = Buffer.from(`${user}:${password}`).toString('base64');
  const lines = [`CONNECT ${target} HTTP/1.1`, `Host: ${target}`];
  if (user !== '') lines.push(`Proxy-Authorization: Basic ${credentials}`);
  const request = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  return { greeting: NOTHING, password: NOTHING, request };
}

/**
 * The error of a proxy that refused, as the native dialer or {@link REPLIES} has its reply. It has `proxy` if no other
 * destination would have helped.
 */
export function refusedByProxy(
  proxy: ProxyServer,
  destination: Destination,
  reply: number,
): NodeJS.ErrnoException {
  const [code, text] = meaning(proxy, reply);
  const message = `connect ${code} ${authority(destination)} through ${authority(proxy)}: ${text}`;
  const wantsUser = reply < REQUEST || (proxy.protocol === 'http' && reply === REQUEST + 407);
  const more = { syscall: 'connect', ...destination, ...(wantsUser && { proxy: authority(proxy) }) };
  return codedError(code, message, more);
}

function meaning(proxy: ProxyServer, reply: number): readonly [code: string, text: string] {
  if (reply === METHOD) return ['EACCES', 'the proxy asks for another kind of authentication'];
  if (reply === USER) return ['EACCES', 'the proxy refuses the user or the password'];
  const number = reply - REQUEST;
  if (proxy.protocol === 'http')
    return [STATUSES[number] ?? 'ECONNREFUSED', `the proxy answers with status ${number}`];
  const [code, text] = REPLIES[number] ?? ['ECONNREFUSED', `reply ${number}`];
  return [code, `the proxy says: ${text}`];
}

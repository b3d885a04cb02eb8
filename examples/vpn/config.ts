/** What the VPN is told: a JSON file each for client and server, and a file of keys that nobody else may read. */

import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { dirname, resolve } from 'node:path';
import { type AeadCipher, Endpoint } from 'tuntap-native/tunnel';
import { KEY_LENGTH } from './noise.ts';

/** What client and server have in common. */
interface CommonConfig {
  /** Name of the TUN device. */
  readonly interface: string;
  /** Its addresses, with prefix lengths. */
  readonly addresses: readonly string[];
  /** Its MTU: that of the path, less 60 bytes over IPv4 and 80 over IPv6. **Default:** 1420 */
  readonly mtu: number;
  /** What packets are encrypted with; the same at both ends. **Default:** chacha20-poly1305 */
  readonly cipher: AeadCipher;
  /** Path of the key file, from the configuration's folder on: lines of a name and a key. */
  readonly keys: string;
  /** A line of statistics every so many seconds; 0: none. **Default:** 10 */
  readonly statisticsSeconds: number;
  /** Something is sent at least so often; after three times as long without an answer the peer is gone. **Default:** 5 */
  readonly keepaliveSeconds: number;
  /** The age at which a session is replaced. **Default:** 120 */
  readonly rekeySeconds: number;
  /** The packets after which a session is replaced; after twice as many it is no longer used. **Default:** 2^27 */
  readonly rekeyPackets: number;
}

export interface ClientConfig extends CommonConfig {
  /** Which key of the key file. */
  readonly name: string;
  readonly server: Endpoint;
  /** The networks that are reached through the server. */
  readonly allowed: readonly string[];
}

export interface ServerConfig extends CommonConfig {
  readonly listen: Endpoint;
  /** The networks that each client may use as source, and that are reached through it. */
  readonly clients: Readonly<Record<string, { readonly allowed: readonly string[] }>>;
}

/** A mistake in a file of the user's: its message says where. */
export class ConfigError extends Error {}

export const readClientConfig = (path: string): ClientConfig => {
  const fields = new Fields(path);
  return {
    ...readCommon(fields),
    name: fields.string('name'),
    server: fields.endpoint('server'),
    allowed: fields.networks('allowed'),
  };
};

export const readServerConfig = (path: string): ServerConfig => {
  const fields = new Fields(path);
  const clients = Object.entries(fields.object('clients')).map(([name, value]) => {
    return [name, { allowed: new Fields(path, value, `clients.${name}.`).networks('allowed') }] as const;
  });
  return {
    ...readCommon(fields),
    listen: fields.endpoint('listen', '[::]:51820'),
    clients: Object.fromEntries(clients),
  };
};

function readCommon(fields: Fields): CommonConfig {
  const cipher = fields.string('cipher', 'chacha20-poly1305');
  if (cipher !== 'chacha20-poly1305' && cipher !== 'aes-256-gcm') {
    throw fields.wrong('cipher', 'chacha20-poly1305 or aes-256-gcm');
  }
  // At 2^28 packets of up to 2^11 bytes, AES-GCM is no longer safe beyond doubt (RFC 9001, appendix B.1).
  const rekeyPackets = fields.number('rekeyPackets', 2 ** 27, 1, 2 ** 27);
  if (!Number.isInteger(rekeyPackets)) throw fields.wrong('rekeyPackets', 'an integer');
  return {
    interface: fields.string('interface', 'vpn0'),
    addresses: fields.networks('addresses'),
    mtu: fields.number('mtu', 1420, 68, 65_475),
    cipher,
    keys: resolve(dirname(fields.path), fields.string('keys')),
    statisticsSeconds: fields.number('statisticsSeconds', 10, 0, 86_400),
    keepaliveSeconds: fields.number('keepaliveSeconds', 5, 0.1, 3600),
    rekeySeconds: fields.number('rekeySeconds', 120, 0.5, 3600),
    rekeyPackets,
  };
}

/**
 * The keys of a file, by name: a line is a name and 32 bytes in base64. A file that others can read or change is
 * refused.
 */
export function readKeys(path: string): ReadonlyMap<string, Buffer> {
  const fd = openSync(path, 'r');
  let text: string;
  try {
    const { mode } = fstatSync(fd);
    if (mode & 0o077) {
      const octal = (mode & 0o777).toString(8);
      throw new ConfigError(`${path}: others may read or change this file (mode ${octal}): chmod 600 it`);
    }
    text = readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
  const keys = new Map<string, Buffer>();
  for (const [i, line] of text.split('\n').entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const [name = '', base64 = '', ...more] = line.trim().split(/\s+/);
    const key = Buffer.from(base64, 'base64');
    if (key.length !== KEY_LENGTH || key.toString('base64') !== base64 || more.length > 0) {
      throw new ConfigError(`${path}:${i + 1}: not a name and a key of ${KEY_LENGTH} bytes in base64`);
    }
    if (keys.has(name)) throw new ConfigError(`${path}:${i + 1}: a second key for ${name}`);
    keys.set(name, key);
  }
  return keys;
}

/** Fields of a JSON file, checked as they are read. */
class Fields {
  readonly path: string;
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #prefix: string;

  constructor(path: string, value: unknown = parse(path), prefix = '') {
    this.path = path;
    this.#prefix = prefix;
    if (typeof value !== 'object' || value === null) throw this.wrong('', 'an object');
    this.#values = value as Record<string, unknown>;
  }

  string(name: string, fallback?: string): string {
    const value = this.#values[name] ?? fallback;
    if (typeof value !== 'string' || value === '') throw this.wrong(name, 'a text');
    return value;
  }

  number(name: string, fallback: number, least: number, most: number): number {
    const value = this.#values[name] ?? fallback;
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      throw this.wrong(name, `a number from ${least} to ${most}`);
    }
    return value;
  }

  object(name: string): object {
    const value = this.#values[name];
    if (typeof value !== 'object' || value === null) throw this.wrong(name, 'an object');
    return value;
  }

  networks(name: string): readonly string[] {
    const value = this.#values[name];
    if (!Array.isArray(value) || !value.every(isNetwork))
      throw this.wrong(name, 'a list of networks such as 10.9.0.0/24');
    return value;
  }

  endpoint(name: string, fallback?: string): Endpoint {
    const [, v6, v4, port] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(this.string(name, fallback)) ?? [];
    const address = v6 ?? v4 ?? '';
    if (isIP(address.split('%')[0]) === 0 || Number(port) > 65_535) {
      throw this.wrong(name, 'an address and port such as 192.0.2.1:51820 or [2001:db8::1]:51820');
    }
    return new Endpoint(address, Number(port));
  }

  wrong(name: string, expected: string): ConfigError {
    return new ConfigError(`${this.path}: ${this.#prefix}${name || 'it'} must be ${expected}`);
  }
}

function parse(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${path}: ${(error as Error).message}`);
  }
}

function isNetwork(value: unknown): boolean {
  if (typeof value !== 'string') return false;
  const [address, length = '', ...more] = value.split('/');
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return /^\d{1,3}$/.test(length) && Number(length) <= bits && more.length === 0;
}

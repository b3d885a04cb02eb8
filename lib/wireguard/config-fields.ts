/** The keys of a wg-quick file, each with how it is read and written. */

import * as values from './config-values.js';
import type { ParsedConfig, ParsedPeer } from './options.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] };
export type DraftConfig = Mutable<Omit<ParsedConfig, 'peers'>>;

/** A peer while it is read. */
export interface DraftPeer extends Omit<Mutable<ParsedPeer>, 'publicKey' | 'allowedIps'> {
  publicKey?: string;
  allowedIps: values.AllowedIp[];
}

/** A key of one section. */
export interface Field<T> {
  /** As the manual pages spell it. */
  readonly name: string;
  /** What its value must be, for error messages. */
  readonly expects: string;
  /** Stores the value. @returns false if it is not valid */
  read(into: T, text: string): boolean;
  /** The values to write, each on a line of its own. */
  write(from: T): readonly string[];
}

type KeysOf<T, V> = { [K in keyof T]-?: NonNullable<T[K]> extends V ? K : never }[keyof T] & string;

const WHITE_SPACE = /[\t-\r ]+/g;

/** A value that a later line replaces. wg(8) ignores all white space in it. */
function single<T, V>(
  name: string,
  property: KeysOf<T, V>,
  expects: string,
  parse: (text: string) => V | undefined,
  format: (value: V) => string = String,
): Field<T> {
  return {
    name,
    expects,
    read(into, text) {
      const value = parse(text.replace(WHITE_SPACE, ''));
      if (value === undefined) return false;
      Object.assign(into as object, { [property]: value });
      return true;
    },
    write(from) {
      const value = from[property] as V | undefined;
      return value === undefined ? [] : [format(value)];
    },
  };
}

/** The same, but an empty value stands for the default. */
function optional<T>(field: Field<T>): Field<T> {
  return { ...field, read: (into, text) => text === '' || field.read(into, text) };
}

/** Commands: further lines add to them. */
function commands(name: string, property: KeysOf<DraftConfig, string[]>): Field<DraftConfig> {
  return {
    name,
    expects: 'a command',
    read(into, text) {
      if (text.includes('\0')) return false;
      if (text !== '') (into[property] as string[]).push(text);
      return true;
    },
    write: (from) => from[property] as string[],
  };
}

function elements(text: string, separator: RegExp): string[] {
  return text === '' ? [] : text.split(separator);
}

const addresses: Field<DraftConfig> = {
  name: 'Address',
  expects: 'addresses such as 10.0.0.1/24',
  read(into, text) {
    const found = elements(text, /[\t-\r ,]+/).map(values.addressValue);
    into.addresses.push(...found.filter((address) => address !== undefined));
    return !found.includes(undefined);
  },
  write: (from) => (from.addresses.length > 0 ? [from.addresses.join(', ')] : []),
};

const dns: Field<DraftConfig> = {
  name: 'DNS',
  expects: 'addresses and domains such as 192.0.2.53, example.org',
  read(into, text) {
    return elements(text, /[\t-\r ,]+/).every((element) => {
      if (values.isDnsServer(element)) return into.dns.push(element);
      return values.isSearchDomain(element) && into.searchDomains.push(element);
    });
  },
  write({ dns: servers, searchDomains }) {
    return servers.length + searchDomains.length > 0 ? [[...servers, ...searchDomains].join(', ')] : [];
  },
};

const allowedIps: Field<DraftPeer> = {
  name: 'AllowedIPs',
  expects: 'networks such as 10.0.0.0/24, 2001:db8::/32',
  read(into, text) {
    const found = elements(text.replace(WHITE_SPACE, ''), /,/).map(values.allowedIpValue);
    into.allowedIps.push(...found.filter((network) => network !== undefined));
    return !found.includes(undefined);
  },
  write: (from) =>
    from.allowedIps.length > 0 ? [from.allowedIps.map(({ prefix }) => prefix).join(', ')] : [],
};

const KEY = 'a key: 44 characters of base64';
const offOr = (text: (value: number) => string) => (value: number) => (value === 0 ? 'off' : text(value));

export const interfaceFields: readonly Field<DraftConfig>[] = [
  single<DraftConfig, string>('PrivateKey', 'privateKey', KEY, values.keyValue),
  single<DraftConfig, number>('ListenPort', 'listenPort', 'a port from 0 to 65535', values.portValue),
  single<DraftConfig, number>(
    'FwMark',
    'fwmark',
    'off or a number up to 0xffffffff',
    values.markValue,
    offOr((mark) => `0x${mark.toString(16)}`),
  ),
  addresses,
  dns,
  optional(single<DraftConfig, number>('MTU', 'mtu', 'a number from 68 to 65535', values.mtuValue)),
  optional(
    single<DraftConfig, 'auto' | 'off' | number>(
      'Table',
      'routes',
      'auto, off or the number of a routing table',
      values.tableValue,
    ),
  ),
  commands('PreUp', 'preUp'),
  commands('PostUp', 'postUp'),
  commands('PreDown', 'preDown'),
  commands('PostDown', 'postDown'),
  single<DraftConfig, boolean>('SaveConfig', 'saveConfig', 'true or false', values.booleanValue),
];

export const peerFields: readonly Field<DraftPeer>[] = [
  single<DraftPeer, string>('PublicKey', 'publicKey', KEY, values.keyValue),
  single<DraftPeer, string>('PresharedKey', 'presharedKey', KEY, values.keyValue),
  single<DraftPeer, string>(
    'Endpoint',
    'endpoint',
    'HOST:PORT, with an IPv6 address in brackets',
    values.endpointValue,
  ),
  allowedIps,
  single<DraftPeer, number>(
    'PersistentKeepalive',
    'persistentKeepalive',
    'off or a number of seconds up to 65535',
    values.keepaliveValue,
    offOr(String),
  ),
];

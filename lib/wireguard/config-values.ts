/** The values of a wg-quick file: each function returns undefined for a text that is no such value. */

import { isIP, isIPv4 } from 'node:net';
import { formatIpv6, parseIpv6 } from '../address.js';
import { parseKey } from './keys.js';
import type { RouteOption } from './options.js';
import { formatPrefix, maskPrefix, parseHost, parseNumber } from './prefix.js';

const MAX_U32 = 0xffffffff;
const TABLES = new Map([
  ['default', 253],
  ['main', 254],
  ['local', 255],
]);

/** Only ASCII letters change: a Kelvin sign is no K. */
export function lowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

export function keyValue(text: string): string | undefined {
  try {
    parseKey('key', text).fill(0);
    return text;
  } catch {
    return undefined;
  }
}

export function portValue(text: string): number | undefined {
  return parseNumber(text, 65535);
}

export function mtuValue(text: string): number | undefined {
  const mtu = parseNumber(text, 65535);
  return mtu !== undefined && mtu >= 68 ? mtu : undefined;
}

export function keepaliveValue(text: string): number | undefined {
  return lowerCase(text) === 'off' ? 0 : parseNumber(text, 65535);
}

/** A number of 32 bits, decimal or behind 0x. */
function unsignedValue(text: string): number | undefined {
  if (!/^0x[0-9A-Fa-f]+$/.test(text)) return parseNumber(text, MAX_U32);
  const value = Number(text);
  return value <= MAX_U32 ? value : undefined;
}

export function markValue(text: string): number | undefined {
  return lowerCase(text) === 'off' ? 0 : unsignedValue(text);
}

export function tableValue(text: string): RouteOption | undefined {
  const word = lowerCase(text);
  if (word === 'auto' || word === 'off') return word;
  return TABLES.get(word) ?? (unsignedValue(word) || undefined);
}

export function booleanValue(text: string): boolean | undefined {
  const word = lowerCase(text);
  return word === 'true' ? true : word === 'false' ? false : undefined;
}

export function addressValue(text: string): string | undefined {
  const host = parseHost(text);
  return host && formatPrefix(host);
}

/** A network, whether `+` or `-` was before it, and whether bits beyond the prefix were set. */
export interface AllowedIp {
  readonly prefix: string;
  readonly sign: '+' | '-' | '';
  readonly hasHostBits: boolean;
}

export function allowedIpValue(text: string): AllowedIp | undefined {
  const sign = text[0] === '+' || text[0] === '-' ? text[0] : '';
  const host = parseHost(text.slice(sign.length));
  if (host === undefined) return undefined;
  const prefix = formatPrefix(maskPrefix(host));
  return { prefix, sign, hasHostBits: prefix !== formatPrefix(host) };
}

/** `host:port` with the host an IPv4 address, a name, or an IPv6 address in brackets. */
export function endpointValue(text: string): string | undefined {
  const match = /^\[([^\]]*)\]:([0-9]+)$/.exec(text) ?? /^(.*):([0-9]+)$/.exec(text);
  const port = match && parseNumber(match[2], 65535);
  if (!match || !port) return undefined;
  const host = match[1];
  if (isIP(host) === 6) return `[${ipv6Text(host)}]:${port}`;
  return isIPv4(host) || isHostName(host) ? `${host}:${port}` : undefined;
}

/** The canonical text of an IPv6 address that may have a zone. */
export function ipv6Text(host: string): string {
  const [address, zone] = host.split('%');
  return formatIpv6(parseIpv6(address)) + (zone === undefined ? '' : `%${zone}`);
}

/** A name whose last label is a number would be read as an IPv4 address of fewer parts: 127.1 is 127.0.0.1. */
function isHostName(text: string): boolean {
  return /^[A-Za-z0-9_.-]{1,253}$/.test(text) && !/^\.|\.\.|(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$/i.test(text);
}

export function isDnsServer(text: string): boolean {
  return isIP(text) !== 0;
}

/** What wg-quick takes for an address is no domain. */
export function isSearchDomain(text: string): boolean {
  return /^~?[A-Za-z0-9_.-]{1,253}$/.test(text) && !/^[0-9.]+$/.test(text);
}

/** Addresses as text and as bytes in network order. */

import { invalidArgType, invalidArgValue, outOfRange } from './arguments.js';

let net: typeof import('node:net') | undefined;

/** That of node:net, which takes milliseconds to load: programs that parse no address need not wait for it. @internal */
export function isIP(text: string): 0 | 4 | 6 {
  net ??= process.getBuiltinModule('node:net');
  return net.isIP(text) as 0 | 4 | 6;
}

/** An address with the length of its network prefix, as `ip address` writes it: `10.0.0.1/24`. */
export interface Cidr {
  /** 4 for IPv4, 6 for IPv6. */
  readonly family: 4 | 6;
  /** The address in network order, host bits included: 4 or 16 bytes. */
  readonly address: Buffer;
  /** Length of the prefix in bits, 0 to 32 or 0 to 128. */
  readonly prefixLength: number;
}

/**
 * Bytes of an IPv4 address in dotted decimal.
 *
 * @param text - four decimal numbers from 0 to 255, without leading zeros: `'192.0.2.1'`
 * @returns a fresh buffer of 4 bytes
 * @throws `ERR_INVALID_ARG_TYPE` if `text` is no string, `ERR_INVALID_ARG_VALUE` if it is no IPv4 address
 */
export function parseIpv4(text: string): Buffer {
  const bytes = ipBytes(requireString('text', text));
  if (bytes?.length === 4) return bytes;
  throw invalidArgValue('text', text, "must be an IPv4 address such as '192.0.2.1'");
}

/**
 * Text of the 4 address bytes at `offset`, in dotted decimal.
 *
 * @param bytes - holds the address in network order
 * @param offset - where the address starts, 0 unless told
 * @throws `ERR_OUT_OF_RANGE` if 4 bytes are not there
 */
export function formatIpv4(bytes: Uint8Array, offset = 0): string {
  requireBytes(bytes, offset, 4);
  return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
}

/**
 * Bytes of an IPv6 address.
 *
 * @param text - any form of RFC 4291 section 2.2, with `::` and an embedded IPv4 address; no zone (`%eth0`)
 * @returns a fresh buffer of 16 bytes
 * @throws `ERR_INVALID_ARG_TYPE` if `text` is no string, `ERR_INVALID_ARG_VALUE` if it is no IPv6 address
 * @see {@link https://www.rfc-editor.org/rfc/rfc4291#section-2.2 | RFC 4291}
 */
export function parseIpv6(text: string): Buffer {
  const bytes = ipBytes(requireString('text', text));
  if (bytes?.length === 16) return bytes;
  throw invalidArgValue('text', text, "must be an IPv6 address without a zone, such as '2001:db8::1'");
}

/**
 * Text of the 16 address bytes at `offset`, in the canonical form of RFC 5952: lower case, no leading zeros,
 * the first longest run of two or more zero groups as `::`, an IPv4-mapped address in dotted decimal.
 *
 * @param bytes - holds the address in network order
 * @param offset - where the address starts, 0 unless told
 * @throws `ERR_OUT_OF_RANGE` if 16 bytes are not there
 * @see {@link https://www.rfc-editor.org/rfc/rfc5952 | RFC 5952}
 */
export function formatIpv6(bytes: Uint8Array, offset = 0): string {
  requireBytes(bytes, offset, 16);
  const groups: number[] = [];
  for (let at = offset; at < offset + 16; at += 2) groups.push((bytes[at] << 8) | bytes[at + 1]);

  if (groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return `::ffff:${formatIpv4(bytes, offset + 12)}`;
  }

  const zeros = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  if (zeros.length < 2) return hex.join(':');
  return `${hex.slice(0, zeros.start).join(':')}::${hex.slice(zeros.start + zeros.length).join(':')}`;
}

/**
 * Bytes of an IPv4 or IPv6 address.
 *
 * @param text - as {@link parseIpv4} or {@link parseIpv6} take it
 * @returns a fresh buffer of 4 or 16 bytes
 * @throws `ERR_INVALID_ARG_TYPE` if `text` is no string, `ERR_INVALID_ARG_VALUE` if it is no IP address
 */
export function parseIp(text: string): Buffer {
  return checkIp('text', text);
}

/**
 * Text of an IP address.
 *
 * @param bytes - exactly 4 bytes of an IPv4 address or 16 bytes of an IPv6 address, in network order
 * @throws `ERR_INVALID_ARG_VALUE` if `bytes` is neither 4 nor 16 bytes long
 */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return formatIpv4(bytes);
  if (bytes.length === 16) return formatIpv6(bytes);
  throw invalidArgValue('bytes', bytes, 'must be 4 bytes of an IPv4 or 16 bytes of an IPv6 address');
}

/**
 * Bytes of an Ethernet address.
 *
 * @param text - six groups of two hexadecimal digits, separated by colons: `'02:00:5e:10:00:01'`
 * @returns a fresh buffer of 6 bytes
 * @throws `ERR_INVALID_ARG_TYPE` if `text` is no string, `ERR_INVALID_ARG_VALUE` if it is no such address
 */
export function parseMac(text: string): Buffer {
  return checkMac('text', text);
}

/**
 * Text of the 6 Ethernet address bytes at `offset`, in lower case with colons.
 *
 * @param bytes - holds the address
 * @param offset - where the address starts, 0 unless told
 * @throws `ERR_OUT_OF_RANGE` if 6 bytes are not there
 */
export function formatMac(bytes: Uint8Array, offset = 0): string {
  requireBytes(bytes, offset, 6);
  const groups: string[] = [];
  for (let at = offset; at < offset + 6; at++) groups.push(bytes[at].toString(16).padStart(2, '0'));
  return groups.join(':');
}

/**
 * An address with a prefix length. A bare address is a host's own: /32 or /128.
 *
 * @param text - `'10.0.0.1/24'`, `'2001:db8::1/64'`, `'10.0.0.1'`
 * @returns the address as written, host bits kept, in a fresh buffer
 * @throws `ERR_INVALID_ARG_TYPE` if `text` is no string, `ERR_INVALID_ARG_VALUE` if the address or the prefix
 * length is not valid
 */
export function parseCidr(text: string): Cidr {
  return checkCidr('text', text);
}

/** The bytes of an IP address; undefined for another text. */
function ipBytes(text: string): Buffer | undefined {
  const family = text.includes('%') ? 0 : isIP(text);
  if (family === 0) return undefined;
  if (family === 4) return Buffer.from(text.split('.').map(Number));
  const [head, tail = []] = text.split('::', 2).map(ipv6Groups);
  return Buffer.from([...head, ...new Array<number>(16 - head.length - tail.length).fill(0), ...tail]);
}

/** Bytes of the groups on one side of `::`; the last group may be an IPv4 address. */
function ipv6Groups(side: string): number[] {
  if (side === '') return [];
  return side.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let longest = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (start + length < groups.length && groups[start + length] === 0) length++;
    if (length > longest.length) longest = { start, length };
  }
  return longest;
}

function requireString(name: string, text: unknown): string {
  if (typeof text !== 'string') throw invalidArgType(name, 'of type string', text);
  return text;
}

function requireBytes(bytes: Uint8Array, offset: number, length: number): void {
  if (!Number.isInteger(offset) || offset < 0 || offset + length > bytes.length) {
    throw outOfRange('offset', `such that ${length} of the ${bytes.length} bytes given follow it`, offset);
  }
}

/** {@link parseCidr} of an argument with a name. */
export function checkCidr(name: string, text: unknown): Cidr {
  const [host, digits, ...more] = requireString(name, text).split('/');
  const address = ipBytes(host);
  const family = address?.length === 4 ? 4 : 6;
  const bits = family === 4 ? 32 : 128;
  const length = digits ?? String(bits);
  if (address && more.length === 0 && /^(0|[1-9][0-9]{0,2})$/.test(length) && Number(length) <= bits) {
    return { family, address, prefixLength: Number(length) };
  }
  const range = address ? `; an IPv${family} prefix length is 0 to ${bits}` : '';
  const expected = "an address with a prefix length, such as '10.0.0.1/24' or '2001:db8::1/64'";
  throw invalidArgValue(name, text, `must be ${expected}${range}`);
}

/** {@link parseIp} of an argument with a name. */
export function checkIp(name: string, text: unknown): Buffer {
  const bytes = ipBytes(requireString(name, text));
  if (bytes) return bytes;
  throw invalidArgValue(name, text, "must be an IPv4 or IPv6 address such as '192.0.2.1' or '2001:db8::1'");
}

/** {@link parseMac} of an argument with a name. */
export function checkMac(name: string, text: unknown): Buffer {
  const address = requireString(name, text);
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(address)) {
    throw invalidArgValue(name, text, "must be a MAC address such as '02:00:5e:10:00:01'");
  }
  return Buffer.from(address.replaceAll(':', ''), 'hex');
}

import { formatIpv4, formatIpv6, isIP, parseIp } from './address.js';
import { invalidArgType, invalidArgValue, requireInteger } from './arguments.js';
import { LAYOUT } from './native/layout.js';

/** AF_INET and AF_INET6. @internal */
export const ADDRESS_FAMILIES = { 4: 2, 6: 10 } as const;

/** The sockaddr at the beginning of a DatagramEntry. */
const ADDRESS_SIZE = LAYOUT['DatagramEntry.interface'];
const PORT = 2;
const IPV4 = 4;
const IPV6 = 8;
const SCOPE = 24;

/** Of this machine. @internal */
export const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** The address family of a sockaddr: 4, 6, or 0 if there is none. @internal */
export function familyAt(bytes: Uint8Array, offset: number): 0 | 4 | 6 {
  const family = bytes[offset + (LITTLE_ENDIAN ? 0 : 1)];
  return family === ADDRESS_FAMILIES[4] ? 4 : family === ADDRESS_FAMILIES[6] ? 6 : 0;
}

/** The port of a sockaddr. @internal */
export function portAt(bytes: Uint8Array, offset: number): number {
  return (bytes[offset + PORT] << 8) | bytes[offset + PORT + 1];
}

/** Where the address of a sockaddr begins. @internal */
export function addressOffset(family: 4 | 6, offset: number): number {
  return offset + (family === 4 ? IPV4 : IPV6);
}

/** Bytes of an IP address; an IPv4-mapped one (RFC 4291, 2.5.5.2) is the IPv4 address. @internal */
export function parsePlainIp(text: string): Buffer {
  const bytes = parseIp(text);
  const mapped =
    bytes.length === 16 && bytes.readUInt16BE(10) === 0xffff && !bytes.subarray(0, 10).some(Boolean);
  return mapped ? bytes.subarray(12) : bytes;
}

/**
 * One end of UDP datagrams: an IP address and a port, in the form that the kernel takes, so that sending to it costs no
 * conversion. Immutable.
 * @example
 * ```ts
 * const server = new Endpoint('192.0.2.1', 51820);
 * socket.writeBatch(batch, server);
 * ```
 */
export class Endpoint {
  /** A DatagramEntry of which only the remote is set. @internal */
  readonly entry: Uint8Array;

  /**
   * @param address an IPv4 or IPv6 address; a link-local one may name its link by index, as `'fe80::1%3'`. An
   * IPv4-mapped address is the IPv4 address: `'::ffff:192.0.2.1'` and `'192.0.2.1'` make equal endpoints
   * @param port 0 to 65,535
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` if it is no address; RangeError
   * `ERR_OUT_OF_RANGE` if it is no port
   */
  constructor(address: string, port: number) {
    if (typeof address !== 'string') throw invalidArgType('address', 'of type string', address);
    requireInteger('port', port, 0, 65535);
    const [host, zone, ...more] = address.split('%');
    const bytes = isIP(host) === 0 ? undefined : parsePlainIp(host);
    const family = bytes?.length === 4 ? 4 : 6;
    const zoned = zone === undefined || (family === 6 && more.length === 0 && /^[1-9][0-9]{0,8}$/.test(zone));
    if (bytes === undefined || !zoned) {
      throw invalidArgValue('address', address, "must be an IP address such as '192.0.2.1' or 'fe80::1%3'");
    }
    this.entry = new Uint8Array(LAYOUT.DatagramEntry);
    this.entry[LITTLE_ENDIAN ? 0 : 1] = ADDRESS_FAMILIES[family];
    this.entry[PORT] = port >> 8;
    this.entry[PORT + 1] = port & 0xff;
    this.entry.set(bytes, addressOffset(family, 0));
    if (zone !== undefined) new DataView(this.entry.buffer).setUint32(SCOPE, Number(zone), LITTLE_ENDIAN);
  }

  /** The endpoint whose sockaddr begins at `offset`, or undefined if there is none. @internal */
  static at(bytes: Uint8Array, offset: number): Endpoint | undefined {
    if (familyAt(bytes, offset) === 0) return undefined;
    const endpoint = new Endpoint('0.0.0.0', 0);
    endpoint.entry.set(bytes.subarray(offset, offset + ADDRESS_SIZE));
    return endpoint;
  }

  /** 4 or 6. */
  get family(): 4 | 6 {
    return familyAt(this.entry, 0) === 4 ? 4 : 6;
  }

  /** The address as text, in the canonical form of RFC 5952, with `%` and the link's index where it has one. */
  get address(): string {
    if (this.family === 4) return formatIpv4(this.entry, IPV4);
    const scope = new DataView(this.entry.buffer).getUint32(SCOPE, LITTLE_ENDIAN);
    return formatIpv6(this.entry, IPV6) + (scope === 0 ? '' : `%${scope}`);
  }

  /** The port. */
  get port(): number {
    return portAt(this.entry, 0);
  }

  /** Whether both are the same address and port. */
  equals(other: Endpoint): boolean {
    if (!(other instanceof Endpoint)) throw invalidArgType('other', 'an Endpoint', other);
    return sameAddress(this.entry, 0, other.entry, 0);
  }

  /** `192.0.2.1:51820`, `[2001:db8::1]:51820`. */
  toString(): string {
    return this.family === 4 ? `${this.address}:${this.port}` : `[${this.address}]:${this.port}`;
  }
}

/** Whether two sockaddrs are the same but for the flow label. @internal */
export function sameAddress(a: Uint8Array, atA: number, b: Uint8Array, atB: number): boolean {
  const family = familyAt(a, atA);
  if (family !== familyAt(b, atB)) return false;
  const end = family === 4 ? IPV6 : ADDRESS_SIZE;
  for (let i = PORT; i < end; i++) {
    // Bytes 4 to 7 of an IPv6 sockaddr are the flow label, which is no part of who it is.
    if (a[atA + i] !== b[atB + i] && !(family === 6 && i >= IPV4 && i < IPV6)) return false;
  }
  return true;
}

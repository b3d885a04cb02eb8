/** IPv4 packets. */

import { requireBoolean, requireInteger } from '../arguments.js';
import { internetChecksum, updateChecksum16 } from './checksum.js';
import { read16, uint8, uint16, write16 } from './fields.js';
import { IpPacket } from './ip.js';
import { tooShort } from './view.js';

const VERSION_AND_HEADER_LENGTH = 0;
const TRAFFIC_CLASS = 1;
const TOTAL_LENGTH = 2;
const IDENTIFICATION = 4;
const FLAGS_AND_FRAGMENT_OFFSET = 6;
const TTL = 8;
const PROTOCOL = 9;
const CHECKSUM = 10;
const OPTIONS = 20;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LOOSE_ROUTE = 131;
const OPTION_STRICT_ROUTE = 137;

const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;
const FRAGMENT_OFFSET_MASK = 0x1fff;

/**
 * View of an IPv4 packet. Setters leave the header checksum as it is: call {@link Ipv4Packet.fillChecksum} after
 * the last of them. Changed addresses also change the checksum of a TCP segment or UDP datagram inside.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc791 | RFC 791}
 * @example
 * ```ts
 * for await (const bytes of tun) {
 *   const packet = Ipv4Packet.parse(bytes);
 *   if (packet?.protocol === IpProtocol.UDP) handle(packet.source, UdpDatagram.parse(packet.payload));
 * }
 * ```
 */
export class Ipv4Packet extends IpPacket {
  /** Why `bytes` can't be such a packet; undefined if nothing is wrong. The checksum is not looked at. */
  static check(bytes: Uint8Array): string | undefined {
    const short = tooShort(bytes, OPTIONS);
    if (short !== undefined) return short;
    const version = bytes[VERSION_AND_HEADER_LENGTH] >> 4;
    if (version !== 4) return `version ${version} is not 4`;
    const headerLength = (bytes[VERSION_AND_HEADER_LENGTH] & 0x0f) * 4;
    if (headerLength < OPTIONS) return `header length ${headerLength} is less than ${OPTIONS}`;
    const totalLength = read16(bytes, TOTAL_LENGTH);
    if (totalLength < headerLength) {
      return `total length ${totalLength} is less than the header length ${headerLength}`;
    }
    if (totalLength > bytes.length) {
      return `total length ${totalLength} exceeds the ${bytes.length} bytes present`;
    }
    return undefined;
  }

  /** A view of `bytes`, or undefined if {@link Ipv4Packet.check} finds something wrong. */
  static parse(bytes: Uint8Array): Ipv4Packet | undefined {
    return Ipv4Packet.check(bytes) === undefined ? new Ipv4Packet(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link Ipv4Packet.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, Ipv4Packet.check(bytes), read16(bytes, TOTAL_LENGTH), 4);
  }

  /** Length of the header with its options in bytes, 20 to 60. */
  get headerLength(): number {
    return (this.bytes[VERSION_AND_HEADER_LENGTH] & 0x0f) * 4;
  }

  /** Differentiated services code point, 0 to 63 (RFC 2474). */
  get dscp(): number {
    return this.bytes[TRAFFIC_CLASS] >> 2;
  }

  set dscp(value: number) {
    this.bytes[TRAFFIC_CLASS] = (requireInteger('dscp', value, 0, 63) << 2) | this.ecn;
  }

  /** Explicit congestion notification, 0 to 3 (RFC 3168). */
  get ecn(): number {
    return this.bytes[TRAFFIC_CLASS] & 0x03;
  }

  set ecn(value: number) {
    this.bytes[TRAFFIC_CLASS] = (this.dscp << 2) | requireInteger('ecn', value, 0, 3);
  }

  /** Length of the packet in bytes, the header included. */
  get totalLength(): number {
    return read16(this.bytes, TOTAL_LENGTH);
  }

  /** What the fragments of one packet have in common, 0 to 65535. */
  get identification(): number {
    return read16(this.bytes, IDENTIFICATION);
  }

  set identification(value: number) {
    write16(this.bytes, IDENTIFICATION, uint16('identification', value));
  }

  /** The packet must not be fragmented on its way. */
  get dontFragment(): boolean {
    return (read16(this.bytes, FLAGS_AND_FRAGMENT_OFFSET) & DONT_FRAGMENT) !== 0;
  }

  set dontFragment(value: boolean) {
    const others = read16(this.bytes, FLAGS_AND_FRAGMENT_OFFSET) & ~DONT_FRAGMENT;
    const flag = requireBoolean('dontFragment', value) ? DONT_FRAGMENT : 0;
    write16(this.bytes, FLAGS_AND_FRAGMENT_OFFSET, others | flag);
  }

  get moreFragments(): boolean {
    return (read16(this.bytes, FLAGS_AND_FRAGMENT_OFFSET) & MORE_FRAGMENTS) !== 0;
  }

  /** Where this fragment belongs in the whole payload, in bytes, a multiple of 8. */
  get fragmentOffset(): number {
    return (read16(this.bytes, FLAGS_AND_FRAGMENT_OFFSET) & FRAGMENT_OFFSET_MASK) * 8;
  }

  /** Time to live in hops, 0 to 255. To forward a packet use `decrementTtl`. */
  get ttl(): number {
    return this.bytes[TTL];
  }

  set ttl(value: number) {
    this.bytes[TTL] = uint8('ttl', value);
  }

  /** What the payload is: an `IpProtocol`. */
  get protocol(): number {
    return this.bytes[PROTOCOL];
  }

  /** Checksum of the header as stored. */
  get checksum(): number {
    return read16(this.bytes, CHECKSUM);
  }

  set checksum(value: number) {
    write16(this.bytes, CHECKSUM, uint16('checksum', value));
  }

  /** Whether the stored checksum is right for the header. */
  get checksumValid(): boolean {
    return internetChecksum(this.bytes.subarray(0, this.headerLength)) === 0;
  }

  /**
   * The address where a loose or strict source route ends, which checksums of TCP and UDP cover; the destination if
   * the packet has none, or is at its end. Shares the packet's bytes.
   *
   * @see {@link https://www.rfc-editor.org/rfc/rfc791#section-3.1 | RFC 791}
   */
  get finalDestinationBytes(): Buffer {
    const { options } = this;
    for (let at = 0; at < options.length && options[at] !== OPTION_END; ) {
      const length = options[at] === OPTION_NOP ? 1 : (options[at + 1] ?? 0);
      if (length === 0 || at + length > options.length) break;
      if (options[at] === OPTION_LOOSE_ROUTE || options[at] === OPTION_STRICT_ROUTE) {
        const pointer = options[at + 2]; // counted from 1
        if (length < 7 || pointer < 4 || pointer > length) break;
        return options.subarray(at + length - 4, at + length);
      }
      at += length;
    }
    return this.destinationBytes;
  }

  /** Options with their padding, 0 to 40 bytes; shares the packet's bytes. */
  get options(): Buffer {
    return this.bytes.subarray(OPTIONS, this.headerLength);
  }

  /** What follows the header, up to the total length; shares the packet's bytes. */
  get payload(): Buffer {
    return this.bytes.subarray(this.headerLength);
  }

  /** Computes and stores the header checksum. */
  fillChecksum(): void {
    this.checksum = 0;
    this.checksum = internetChecksum(this.bytes.subarray(0, this.headerLength));
  }
}

/**
 * Takes one from the TTL of an IPv4 packet in place and brings its header checksum up to date, as a router does.
 *
 * @returns false if the TTL would reach 0: the packet is left as it was and must not be forwarded (see
 * `icmpv4Error`)
 * @see {@link https://www.rfc-editor.org/rfc/rfc1812#section-5.3.1 | RFC 1812}
 */
export function decrementTtl(packet: Ipv4Packet): boolean {
  if (packet.ttl <= 1) return false;
  const ttlAndProtocol = (packet.ttl << 8) | packet.protocol;
  packet.checksum = updateChecksum16(packet.checksum, ttlAndProtocol, ttlAndProtocol - 0x100);
  packet.ttl -= 1;
  return true;
}

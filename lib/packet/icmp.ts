/** ICMP messages of both IP versions, which share the layout of the first 8 bytes. */

import { type IpAddressBytes, internetChecksum, upperLayerChecksum } from './checksum.js';
import { read16, read32, uint8, uint16, write16 } from './fields.js';
import { IpProtocol } from './numbers.js';
import { PacketView, tooShort } from './view.js';

const TYPE = 0;
const CODE = 1;
const CHECKSUM = 2;
const REST = 4;
const IDENTIFIER = 4;
const SEQUENCE = 6;

/**
 * RFC 4443 fixes only 4 bytes, but every message defined for either version has 8 at least, and Linux takes no less
 * (`icmp_rcv`, `icmpv6_rcv`).
 */
export const ICMP_HEADER_LENGTH = 8;

/** View of an ICMP message of either IP version. */
export abstract class IcmpPacket extends PacketView {
  /** Why `bytes` can't be such a message; undefined if nothing is wrong. The checksum is not looked at. */
  static check(bytes: Uint8Array): string | undefined {
    return tooShort(bytes, ICMP_HEADER_LENGTH);
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link IcmpPacket.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, IcmpPacket.check(bytes));
  }

  /** An `Icmpv4Type` or `Icmpv6Type`. */
  get type(): number {
    return this.bytes[TYPE];
  }

  set type(value: number) {
    this.bytes[TYPE] = uint8('type', value);
  }

  /** What the type leaves open, 0 to 255: for an unreachable destination, why. */
  get code(): number {
    return this.bytes[CODE];
  }

  set code(value: number) {
    this.bytes[CODE] = uint8('code', value);
  }

  /** Checksum as stored. */
  get checksum(): number {
    return read16(this.bytes, CHECKSUM);
  }

  set checksum(value: number) {
    write16(this.bytes, CHECKSUM, uint16('checksum', value));
  }

  /**
   * Bytes 4 to 7 as one number, whose meaning the type tells: the next-hop MTU of IPv4's "fragmentation needed"
   * and of IPv6's "packet too big".
   */
  get restOfHeader(): number {
    return read32(this.bytes, REST);
  }

  /** Echo messages: which `ping` it belongs to, 0 to 65535. */
  get identifier(): number {
    return read16(this.bytes, IDENTIFIER);
  }

  set identifier(value: number) {
    write16(this.bytes, IDENTIFIER, uint16('identifier', value));
  }

  /** Echo messages: number of the echo in its series, 0 to 65535. */
  get sequence(): number {
    return read16(this.bytes, SEQUENCE);
  }

  set sequence(value: number) {
    write16(this.bytes, SEQUENCE, uint16('sequence', value));
  }

  /** What follows the first 8 bytes: an echo's data, an error's offending packet; shares the message's bytes. */
  get payload(): Buffer {
    return this.bytes.subarray(ICMP_HEADER_LENGTH);
  }
}

/**
 * View of an ICMP message, the payload of an IPv4 packet with `IpProtocol.ICMP`. Setters leave the checksum as it
 * is: call {@link Icmpv4Packet.fillChecksum} after the last of them.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc792 | RFC 792}
 * @example
 * ```ts
 * const icmp = Icmpv4Packet.parse(packet.payload);
 * if (icmp?.type === Icmpv4Type.ECHO_REPLY) console.log(`${packet.source} answers ${icmp.sequence}`);
 * ```
 */
export class Icmpv4Packet extends IcmpPacket {
  /** A view of `bytes`, or undefined if {@link Icmpv4Packet.check} finds something wrong. */
  static parse(bytes: Uint8Array): Icmpv4Packet | undefined {
    return Icmpv4Packet.check(bytes) === undefined ? new Icmpv4Packet(bytes) : undefined;
  }

  /** Whether the stored checksum is right for the message. */
  get checksumValid(): boolean {
    return internetChecksum(this.bytes) === 0;
  }

  /** Computes and stores the checksum. */
  fillChecksum(): void {
    this.checksum = 0;
    this.checksum = internetChecksum(this.bytes);
  }
}

/**
 * View of an ICMPv6 message, the payload of an IPv6 packet with `IpProtocol.ICMPV6`. Setters leave the checksum as
 * it is: call {@link Icmpv6Packet.fillChecksum} after the last of them.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc4443 | RFC 4443}
 * @example
 * ```ts
 * const icmp = Icmpv6Packet.parse(packet.payload);
 * if (icmp?.type === Icmpv6Type.PACKET_TOO_BIG && icmp.verifyChecksum(packet)) lowerMtu(icmp.restOfHeader);
 * ```
 */
export class Icmpv6Packet extends IcmpPacket {
  /** A view of `bytes`, or undefined if {@link Icmpv6Packet.check} finds something wrong. */
  static parse(bytes: Uint8Array): Icmpv6Packet | undefined {
    return Icmpv6Packet.check(bytes) === undefined ? new Icmpv6Packet(bytes) : undefined;
  }

  /** Whether the stored checksum is right for the message between these addresses: `packet` is the IPv6 view. */
  verifyChecksum(packet: IpAddressBytes): boolean {
    return upperLayerChecksum(this.bytes, IpProtocol.ICMPV6, packet) === 0;
  }

  /** Computes and stores the checksum of the message between these addresses: `packet` is the IPv6 view. */
  fillChecksum(packet: IpAddressBytes): void {
    this.checksum = 0;
    this.checksum = upperLayerChecksum(this.bytes, IpProtocol.ICMPV6, packet);
  }
}

/** What the ICMP messages of both IP versions share: the layout of the first 8 bytes. */

import { read16, read32, uint8, uint16, write16 } from './fields.js';
import { PacketView } from './view.js';

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

/** ICMP messages of IPv4. */

import { internetChecksum } from './checksum.js';
import { ICMP_HEADER_LENGTH, IcmpPacket } from './icmp.js';
import { tooShort } from './view.js';

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
  /** Why `bytes` can't be such a message; undefined if nothing is wrong. The checksum is not looked at. */
  static check(bytes: Uint8Array): string | undefined {
    return tooShort(bytes, ICMP_HEADER_LENGTH);
  }

  /** A view of `bytes`, or undefined if {@link Icmpv4Packet.check} finds something wrong. */
  static parse(bytes: Uint8Array): Icmpv4Packet | undefined {
    return Icmpv4Packet.check(bytes) === undefined ? new Icmpv4Packet(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link Icmpv4Packet.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, Icmpv4Packet.check(bytes));
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

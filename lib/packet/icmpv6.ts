/** ICMP messages of IPv6. */

import { type IpAddressBytes, upperLayerChecksum } from './checksum.js';
import { ICMP_HEADER_LENGTH, IcmpPacket } from './icmp.js';
import { IpProtocol } from './numbers.js';
import { tooShort } from './view.js';

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
  /** Why `bytes` can't be such a message; undefined if nothing is wrong. The checksum is not looked at. */
  static check(bytes: Uint8Array): string | undefined {
    return tooShort(bytes, ICMP_HEADER_LENGTH);
  }

  /** A view of `bytes`, or undefined if {@link Icmpv6Packet.check} finds something wrong. */
  static parse(bytes: Uint8Array): Icmpv6Packet | undefined {
    return Icmpv6Packet.check(bytes) === undefined ? new Icmpv6Packet(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link Icmpv6Packet.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, Icmpv6Packet.check(bytes));
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

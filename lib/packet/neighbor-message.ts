/** Neighbor solicitations and advertisements: address resolution of IPv6. */

import { formatIpv6, formatMac } from '../address.js';
import { Icmpv6Type, NdpOptionType } from './numbers.js';
import { PacketView, tooShort } from './view.js';

const TYPE = 0;
const CODE = 1;
const FLAGS = 4;
const TARGET = 8;
const OPTIONS = 24;

const ROUTER = 0x80;
const SOLICITED = 0x40;
const OVERRIDE = 0x20;

/** Option lengths count 8-byte units, type and length included. */
const OPTION_UNIT = 8;

/** One option of a neighbor discovery message. */
export interface NdpOption {
  /** The link-layer address ones are in `NdpOptionType`. */
  readonly type: number;
  /** What follows type and length, padding included; shares the message's bytes. */
  readonly data: Buffer;
}

/**
 * View of a neighbor solicitation or advertisement, the payload of an IPv6 packet with `IpProtocol.ICMPV6`. Such a
 * message counts only if the packet's hop limit is 255 and the checksum is right, which the view can't see: check
 * `packet.hopLimit` and `Icmpv6Packet.verifyChecksum`.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc4861#section-4.3 | RFC 4861}
 * @example
 * ```ts
 * const message = NeighborMessage.parse(packet.payload);
 * if (message?.type === Icmpv6Type.NEIGHBOR_ADVERTISEMENT) neighbours.set(message.target, message.linkLayerAddress);
 * ```
 */
export class NeighborMessage extends PacketView {
  /** Why `bytes` can't be such a message, its options included; undefined if nothing is wrong. */
  static check(bytes: Uint8Array): string | undefined {
    const short = tooShort(bytes, OPTIONS);
    if (short !== undefined) return short;
    const type = bytes[TYPE];
    if (type !== Icmpv6Type.NEIGHBOR_SOLICITATION && type !== Icmpv6Type.NEIGHBOR_ADVERTISEMENT) {
      return `ICMPv6 type ${type} is neither a neighbor solicitation nor an advertisement`;
    }
    if (bytes[CODE] !== 0) return `code ${bytes[CODE]} is not 0`;
    for (let at = OPTIONS; at < bytes.length; ) {
      const left = bytes.length - at;
      if (left < 2) return `an option needs 2 bytes, ${left} are left`;
      const length = bytes[at + 1] * OPTION_UNIT;
      if (length === 0) return `option ${bytes[at]} has length 0`;
      if (length > left) return `option ${bytes[at]} needs ${length} bytes, ${left} are left`;
      at += length;
    }
    return undefined;
  }

  /** A view of `bytes`, or undefined if {@link NeighborMessage.check} finds something wrong. */
  static parse(bytes: Uint8Array): NeighborMessage | undefined {
    return NeighborMessage.check(bytes) === undefined ? new NeighborMessage(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link NeighborMessage.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, NeighborMessage.check(bytes));
  }

  /** `Icmpv6Type.NEIGHBOR_SOLICITATION` or `Icmpv6Type.NEIGHBOR_ADVERTISEMENT`. */
  get type(): number {
    return this.bytes[TYPE];
  }

  /** Advertisements: the sender is a router. */
  get router(): boolean {
    return (this.bytes[FLAGS] & ROUTER) !== 0;
  }

  /** Advertisements: sent in answer to a solicitation. */
  get solicited(): boolean {
    return (this.bytes[FLAGS] & SOLICITED) !== 0;
  }

  /** Advertisements: replaces a cached link-layer address. */
  get override(): boolean {
    return (this.bytes[FLAGS] & OVERRIDE) !== 0;
  }

  /** The address asked for or told of. */
  get target(): string {
    return formatIpv6(this.bytes, TARGET);
  }

  /** The 16 bytes of the target address; shares the message's bytes. */
  get targetBytes(): Buffer {
    return this.bytes.subarray(TARGET, TARGET + 16);
  }

  /** Ethernet address: of a solicitation's sender, of an advertisement's target; undefined if not told. */
  get linkLayerAddress(): string | undefined {
    const wanted =
      this.type === Icmpv6Type.NEIGHBOR_SOLICITATION
        ? NdpOptionType.SOURCE_LINK_LAYER_ADDRESS
        : NdpOptionType.TARGET_LINK_LAYER_ADDRESS;
    for (const { type, data } of this.eachOption()) {
      if (type === wanted && data.length === 6) return formatMac(data);
    }
    return undefined;
  }

  /** The options in their order. */
  *eachOption(): Generator<NdpOption> {
    for (let at = OPTIONS; at < this.bytes.length; ) {
      const end = at + this.bytes[at + 1] * OPTION_UNIT;
      yield { type: this.bytes[at], data: this.bytes.subarray(at + 2, end) };
      at = end;
    }
  }
}

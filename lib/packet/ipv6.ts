/** IPv6 packets. */

import { requireInteger } from '../arguments.js';
import { read16, read32, uint8, write32 } from './fields.js';
import { IpPacket } from './ip.js';
import {
  extensionHeaderLength,
  finalDestination,
  fragmentOffsetAt,
  type HeaderChain,
  IPV6_HEADER_LENGTH,
  type Ipv6ExtensionHeader,
  iterateHeaders,
  walkHeaderChain,
} from './ipv6-extension-headers.js';
import { IpProtocol } from './numbers.js';
import { tooShort } from './view.js';

const VERSION_CLASS_LABEL = 0;
const PAYLOAD_LENGTH = 4;
const NEXT_HEADER = 6;
const HOP_LIMIT = 7;

/**
 * View of an IPv6 packet. An IPv6 header has no checksum of its own, but changed addresses change the checksum of
 * what is inside.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8200 | RFC 8200}
 * @example
 * ```ts
 * const packet = Ipv6Packet.parse(bytes);
 * if (packet?.upperProtocol === IpProtocol.TCP) handle(packet.source, TcpSegment.parse(packet.payload));
 * ```
 */
export class Ipv6Packet extends IpPacket {
  readonly #chain: HeaderChain;

  /** Why `bytes` can't be such a packet, its extension headers included; undefined if nothing is wrong. */
  static check(bytes: Uint8Array): string | undefined {
    const short = tooShort(bytes, IPV6_HEADER_LENGTH);
    if (short !== undefined) return short;
    const version = bytes[VERSION_CLASS_LABEL] >> 4;
    if (version !== 6) return `version ${version} is not 6`;
    const payloadLength = read16(bytes, PAYLOAD_LENGTH);
    const present = bytes.length - IPV6_HEADER_LENGTH;
    if (payloadLength > present) {
      return `payload length ${payloadLength} exceeds the ${present} bytes of payload present`;
    }
    return walkHeaderChain(bytes, IPV6_HEADER_LENGTH + payloadLength).problem;
  }

  /** A view of `bytes`, or undefined if {@link Ipv6Packet.check} finds something wrong. */
  static parse(bytes: Uint8Array): Ipv6Packet | undefined {
    return Ipv6Packet.check(bytes) === undefined ? new Ipv6Packet(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link Ipv6Packet.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, Ipv6Packet.check(bytes), IPV6_HEADER_LENGTH + read16(bytes, PAYLOAD_LENGTH), 6);
    this.#chain = walkHeaderChain(this.bytes, this.bytes.length);
  }

  /** Traffic class, 0 to 255: 6 bits of DSCP and 2 of ECN. */
  get trafficClass(): number {
    return (read16(this.bytes, VERSION_CLASS_LABEL) >> 4) & 0xff;
  }

  set trafficClass(value: number) {
    const others = read32(this.bytes, VERSION_CLASS_LABEL) & 0xf00fffff;
    write32(this.bytes, VERSION_CLASS_LABEL, others | (uint8('trafficClass', value) << 20));
  }

  /** Flow label, 0 to 0xfffff (RFC 6437). */
  get flowLabel(): number {
    return read32(this.bytes, VERSION_CLASS_LABEL) & 0xfffff;
  }

  set flowLabel(value: number) {
    const others = read32(this.bytes, VERSION_CLASS_LABEL) & 0xfff00000;
    write32(this.bytes, VERSION_CLASS_LABEL, others | requireInteger('flowLabel', value, 0, 0xfffff));
  }

  /** Length of all that follows the fixed header, extension headers included, in bytes. */
  get payloadLength(): number {
    return read16(this.bytes, PAYLOAD_LENGTH);
  }

  /** What follows the fixed header directly: the first extension header's type or the upper protocol. */
  get nextHeader(): number {
    return this.bytes[NEXT_HEADER];
  }

  /** Hop limit, 0 to 255. A router takes one and drops the packet if that leaves 0. */
  get hopLimit(): number {
    return this.bytes[HOP_LIMIT];
  }

  set hopLimit(value: number) {
    this.bytes[HOP_LIMIT] = uint8('hopLimit', value);
  }

  /**
   * The address where a routing header of type 0, 2, 3 (RPL) or 4 (segment routing) leads, which checksums cover; the
   * destination if the packet has none with segments left. May share the packet's bytes.
   *
   * @see {@link https://www.rfc-editor.org/rfc/rfc8200#section-8.1 | RFC 8200}
   */
  get finalDestinationBytes(): Buffer {
    const at = this.#chain.routingHeaderOffset;
    if (at === 0) return this.destinationBytes;
    const end = at + extensionHeaderLength(IpProtocol.ROUTING, this.bytes, at);
    return finalDestination(this.bytes.subarray(at, end), this.destinationBytes) ?? this.destinationBytes;
  }

  /** What the payload is, after all extension headers: an `IpProtocol`; `ESP` and `NONE` end the chain too. */
  get upperProtocol(): number {
    return this.#chain.upperProtocol;
  }

  /** What follows the extension headers, up to the payload length; shares the packet's bytes. */
  get payload(): Buffer {
    return this.bytes.subarray(this.#chain.payloadOffset);
  }

  get moreFragments(): boolean {
    const at = this.#chain.fragmentHeaderOffset;
    return at > 0 && (this.bytes[at + 3] & 1) !== 0;
  }

  /** Where this fragment belongs in the whole, in bytes, a multiple of 8; 0 without a fragment header. */
  get fragmentOffset(): number {
    const at = this.#chain.fragmentHeaderOffset;
    return at > 0 ? fragmentOffsetAt(this.bytes, at) : 0;
  }

  /** What the fragments of one packet have in common, 32 bits; 0 without a fragment header. */
  get identification(): number {
    const at = this.#chain.fragmentHeaderOffset;
    return at > 0 ? read32(this.bytes, at + 4) : 0;
  }

  /** The extension headers in their order: at most 8; each shares the packet's bytes. */
  extensionHeaders(): Generator<Ipv6ExtensionHeader> {
    return iterateHeaders(this.bytes, this.#chain.payloadOffset);
  }
}

/** What the packets of both IP versions share. */

import { formatIpv4, formatIpv6, parseIpv4, parseIpv6 } from '../address.js';
import type { IpAddressBytes } from './checksum.js';
import { PacketView } from './view.js';

/** View of an IP packet of either version. */
export abstract class IpPacket extends PacketView implements IpAddressBytes {
  /** Where the source address is; the destination follows it. */
  readonly #source: number;
  readonly #addressLength: 4 | 16;

  /** See {@link PacketView}. */
  protected constructor(bytes: Uint8Array, problem: string | undefined, length: number, version: 4 | 6) {
    super(bytes, problem, length);
    this.#source = version === 4 ? 12 : 8;
    this.#addressLength = version === 4 ? 4 : 16;
  }

  /** 4 or 6. */
  get version(): number {
    return this.bytes[0] >> 4;
  }

  /** Source address as text: `'192.0.2.1'`, or as RFC 5952 writes it, `'2001:db8::1'`. */
  get source(): string {
    return this.#format(this.#source);
  }

  set source(address: string) {
    this.bytes.set(this.#parse(address), this.#source);
  }

  /** The 4 or 16 bytes of the source address; shares the packet's bytes. */
  get sourceBytes(): Buffer {
    return this.bytes.subarray(this.#source, this.#source + this.#addressLength);
  }

  /** Destination address as text: `'192.0.2.1'`, or as RFC 5952 writes it, `'2001:db8::1'`. */
  get destination(): string {
    return this.#format(this.#source + this.#addressLength);
  }

  set destination(address: string) {
    this.bytes.set(this.#parse(address), this.#source + this.#addressLength);
  }

  /** The 4 or 16 bytes of the destination address; shares the packet's bytes. */
  get destinationBytes(): Buffer {
    const at = this.#source + this.#addressLength;
    return this.bytes.subarray(at, at + this.#addressLength);
  }

  /**
   * The address where the packet's source route ends, which checksums of TCP, UDP and ICMPv6 cover: the last one of
   * the route if that goes on, else the destination. May share the packet's bytes.
   *
   * @see {@link https://www.rfc-editor.org/rfc/rfc8200#section-8.1 | RFC 8200}
   */
  abstract get finalDestinationBytes(): Buffer;

  /** Another fragment follows this one. */
  abstract get moreFragments(): boolean;

  /** Where this fragment belongs in the whole payload, in bytes, a multiple of 8; 0 in a packet that is whole. */
  abstract get fragmentOffset(): number;

  /** What the fragments of one packet have in common: 16 bits, or 32 of IPv6. */
  abstract get identification(): number;

  /** What follows the headers, up to the length that they tell; shares the packet's bytes. */
  abstract get payload(): Buffer;

  /**
   * The payload is a piece of a larger one; only the piece at offset 0 begins with the upper layer's header. False for
   * an atomic fragment of IPv6, whose fragment header has no meaning (RFC 6946).
   */
  get isFragment(): boolean {
    return this.moreFragments || this.fragmentOffset > 0;
  }

  #format(at: number): string {
    return this.#addressLength === 4 ? formatIpv4(this.bytes, at) : formatIpv6(this.bytes, at);
  }

  #parse(address: string): Buffer {
    return this.#addressLength === 4 ? parseIpv4(address) : parseIpv6(address);
  }
}

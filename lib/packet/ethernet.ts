/** Ethernet frames with their VLAN tags. */

import { formatMac, parseMac } from '../address.js';
import { read16, uint16, write16 } from './fields.js';
import { EtherType } from './numbers.js';
import { PacketView, tooShort } from './view.js';

const DESTINATION = 0;
const SOURCE = 6;
const FIRST_TYPE = 12;
const HEADER_LENGTH = 14;
const TAG_LENGTH = 4;

/** Up to this value the type field is the length of an 802.3 payload (IEEE 802.3 clause 3.2.6). */
export const MAX_802_3_LENGTH = 1500;

/**
 * One VLAN tag.
 *
 * @see IEEE 802.1Q-2022 clause 9.6
 */
export interface VlanTag {
  /** VLAN identifier, 0 to 4095; 0 means no VLAN, only a priority. */
  readonly id: number;
  /** Priority code point, 0 to 7. **Default:** `0`. */
  readonly priority?: number;
  /** Drop eligible indicator: to be dropped first under congestion. **Default:** `false`. */
  readonly dropEligible?: boolean;
  /** `EtherType.DOT1Q` or, for the outer of two tags, `EtherType.DOT1AD`. **Default:** `EtherType.DOT1Q`. */
  readonly etherType?: number;
}

/**
 * View of an Ethernet frame as a TAP device gives it: without preamble and frame check sequence.
 *
 * @example
 * ```ts
 * const frame = EthernetFrame.parse(bytes);
 * if (frame?.etherType === EtherType.IPV4) handle(Ipv4Packet.parse(frame.payload));
 * ```
 */
export class EthernetFrame extends PacketView {
  /** Length of the header with all its VLAN tags in bytes, 14 at least. */
  readonly headerLength: number;

  /** Why `bytes` can't be a frame; undefined if nothing is wrong. */
  static check(bytes: Uint8Array): string | undefined {
    const short = tooShort(bytes, HEADER_LENGTH);
    if (short !== undefined) return short;
    const headerLength = headerLengthOf(bytes);
    if (headerLength > bytes.length) {
      return `the header with VLAN tags needs ${headerLength} bytes, ${bytes.length} are present`;
    }
    const length = read16(bytes, headerLength - 2);
    if (length <= MAX_802_3_LENGTH && headerLength + length > bytes.length) {
      return `802.3 length ${length} exceeds the ${bytes.length - headerLength} bytes of payload present`;
    }
    return undefined;
  }

  /** A view of `bytes`, or undefined if {@link EthernetFrame.check} finds something wrong. */
  static parse(bytes: Uint8Array): EthernetFrame | undefined {
    return EthernetFrame.check(bytes) === undefined ? new EthernetFrame(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link EthernetFrame.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, EthernetFrame.check(bytes));
    this.headerLength = headerLengthOf(bytes);
  }

  /** Destination address, `'02:00:5e:10:00:01'`. */
  get destination(): string {
    return formatMac(this.bytes, DESTINATION);
  }

  set destination(address: string) {
    this.bytes.set(parseMac(address), DESTINATION);
  }

  /** The 6 bytes of the destination address; shares the frame's bytes. */
  get destinationBytes(): Buffer {
    return this.bytes.subarray(DESTINATION, DESTINATION + 6);
  }

  /** Source address, `'02:00:5e:10:00:01'`. */
  get source(): string {
    return formatMac(this.bytes, SOURCE);
  }

  set source(address: string) {
    this.bytes.set(parseMac(address), SOURCE);
  }

  /** The 6 bytes of the source address; shares the frame's bytes. */
  get sourceBytes(): Buffer {
    return this.bytes.subarray(SOURCE, SOURCE + 6);
  }

  /** VLAN tags from the outermost to the innermost; empty in an untagged frame. */
  get vlanTags(): Required<VlanTag>[] {
    const tags: Required<VlanTag>[] = [];
    for (let at = FIRST_TYPE; at < this.headerLength - 2; at += TAG_LENGTH) {
      const control = read16(this.bytes, at + 2);
      tags.push({
        id: control & 0xfff,
        priority: control >> 13,
        dropEligible: (control & 0x1000) !== 0,
        etherType: read16(this.bytes, at),
      });
    }
    return tags;
  }

  /** What the payload is, after any VLAN tags: an `EtherType`. Up to 1500 it is the payload's length (802.3). */
  get etherType(): number {
    return read16(this.bytes, this.headerLength - 2);
  }

  set etherType(value: number) {
    write16(this.bytes, this.headerLength - 2, uint16('etherType', value));
  }

  /** What follows the header, padding included, except that an 802.3 length ends it; shares the frame's bytes. */
  get payload(): Buffer {
    const length = this.etherType <= MAX_802_3_LENGTH ? this.etherType : this.bytes.length;
    return this.bytes.subarray(this.headerLength, this.headerLength + length);
  }
}

/** May exceed the bytes present: where the header would end. */
function headerLengthOf(bytes: Uint8Array): number {
  let at = FIRST_TYPE;
  while (at + 2 <= bytes.length && isVlanTag(read16(bytes, at))) at += TAG_LENGTH;
  return at + 2;
}

function isVlanTag(etherType: number): boolean {
  return etherType === EtherType.DOT1Q || etherType === EtherType.DOT1AD;
}

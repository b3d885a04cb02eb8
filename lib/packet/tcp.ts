/** TCP segments. */

import { read16, read32, uint16, uint32, write16, write32 } from './fields.js';
import { IpProtocol, TcpOptionKind } from './numbers.js';
import { TransportPacket } from './transport.js';
import { tooShort } from './view.js';

const SEQUENCE_NUMBER = 4;
const ACKNOWLEDGMENT_NUMBER = 8;
const DATA_OFFSET = 12;
const FLAGS = 13;
const WINDOW = 14;
const URGENT_POINTER = 18;
const OPTIONS = 20;

/** Bits of the flags byte. */
export const TCP_FLAG = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const;

/** One option of a TCP header. */
export interface TcpOption {
  /** A `TcpOptionKind`. */
  readonly kind: number;
  /** What follows kind and length; shares the segment's bytes. */
  readonly data: Buffer;
}

/**
 * View of a TCP segment, the payload of an IP packet with `IpProtocol.TCP`. TCP has no length of its own: the bytes
 * given must end where the IP payload does. Setters leave the checksum as it is: call
 * {@link TcpSegment.fillChecksum} after the last of them.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9293 | RFC 9293}
 * @example
 * Clamp the MSS of what goes into a tunnel:
 * ```ts
 * const segment = TcpSegment.parse(packet.payload);
 * if (segment?.syn) {
 *   for (const { kind, data } of segment.eachOption()) {
 *     if (kind === TcpOptionKind.MSS && data.length === 2 && data.readUInt16BE() > 1380) data.writeUInt16BE(1380);
 *   }
 *   segment.fillChecksum(packet);
 * }
 * ```
 */
export class TcpSegment extends TransportPacket {
  /** Why `bytes` can't be such a segment; undefined if nothing is wrong. Checksum and options are not looked at. */
  static check(bytes: Uint8Array): string | undefined {
    const short = tooShort(bytes, OPTIONS);
    if (short !== undefined) return short;
    const dataOffset = (bytes[DATA_OFFSET] >> 4) * 4;
    if (dataOffset < OPTIONS) return `data offset ${dataOffset} is less than ${OPTIONS}`;
    if (dataOffset > bytes.length) {
      return `data offset ${dataOffset} exceeds the ${bytes.length} bytes present`;
    }
    return undefined;
  }

  /** A view of `bytes`, or undefined if {@link TcpSegment.check} finds something wrong. */
  static parse(bytes: Uint8Array): TcpSegment | undefined {
    return TcpSegment.check(bytes) === undefined ? new TcpSegment(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link TcpSegment.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, TcpSegment.check(bytes), bytes.length, IpProtocol.TCP);
  }

  /** Number of the first byte of data, 32 bits; of the SYN itself if that is set. */
  get sequenceNumber(): number {
    return read32(this.bytes, SEQUENCE_NUMBER);
  }

  set sequenceNumber(value: number) {
    write32(this.bytes, SEQUENCE_NUMBER, uint32('sequenceNumber', value));
  }

  /** With `ack`: the next byte expected from the other side, 32 bits. */
  get acknowledgmentNumber(): number {
    return read32(this.bytes, ACKNOWLEDGMENT_NUMBER);
  }

  set acknowledgmentNumber(value: number) {
    write32(this.bytes, ACKNOWLEDGMENT_NUMBER, uint32('acknowledgmentNumber', value));
  }

  /** Length of the header with its options in bytes, 20 to 60. */
  get headerLength(): number {
    return (this.bytes[DATA_OFFSET] >> 4) * 4;
  }

  /** The sender has no more data. */
  get fin(): boolean {
    return this.#flag(TCP_FLAG.fin);
  }

  /** Opens a connection. */
  get syn(): boolean {
    return this.#flag(TCP_FLAG.syn);
  }

  /** Resets the connection. */
  get rst(): boolean {
    return this.#flag(TCP_FLAG.rst);
  }

  /** To be passed to the reader at once. */
  get psh(): boolean {
    return this.#flag(TCP_FLAG.psh);
  }

  /** The acknowledgment number counts. */
  get ack(): boolean {
    return this.#flag(TCP_FLAG.ack);
  }

  /** The urgent pointer counts. */
  get urg(): boolean {
    return this.#flag(TCP_FLAG.urg);
  }

  /** Congestion was seen, or on a SYN, ECN is understood (RFC 3168). */
  get ece(): boolean {
    return this.#flag(TCP_FLAG.ece);
  }

  /** The congestion window was reduced (RFC 3168). */
  get cwr(): boolean {
    return this.#flag(TCP_FLAG.cwr);
  }

  /** Receive window as stored, 0 to 65535, before any scaling. */
  get window(): number {
    return read16(this.bytes, WINDOW);
  }

  set window(value: number) {
    write16(this.bytes, WINDOW, uint16('window', value));
  }

  /** With `urg`: where urgent data ends, counted from the sequence number. */
  get urgentPointer(): number {
    return read16(this.bytes, URGENT_POINTER);
  }

  /** Options with their padding, 0 to 40 bytes; shares the segment's bytes. */
  get options(): Buffer {
    return this.bytes.subarray(OPTIONS, this.headerLength);
  }

  /** What follows the header; shares the segment's bytes. */
  get payload(): Buffer {
    return this.bytes.subarray(this.headerLength);
  }

  /**
   * The options in their order, padding left out. Ends at the end-of-list option, or where an option's length
   * can't be, as Linux does (`tcp_parse_options`).
   */
  *eachOption(): Generator<TcpOption> {
    const end = this.headerLength;
    for (let at = OPTIONS; at < end && this.bytes[at] !== TcpOptionKind.END; ) {
      if (this.bytes[at] === TcpOptionKind.NOP) {
        at += 1;
        continue;
      }
      const length = at + 1 < end ? this.bytes[at + 1] : 0;
      if (length < 2 || at + length > end) return;
      yield { kind: this.bytes[at], data: this.bytes.subarray(at + 2, at + length) };
      at += length;
    }
  }

  #flag(bit: number): boolean {
    return (this.bytes[FLAGS] & bit) !== 0;
  }
}

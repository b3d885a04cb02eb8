/** UDP datagrams. */

import { type IpAddressBytes, upperLayerChecksum } from './checksum.js';
import { read16, uint16, write16 } from './fields.js';
import { IpProtocol } from './numbers.js';
import { PacketView, tooShort } from './view.js';

const SOURCE_PORT = 0;
const DESTINATION_PORT = 2;
const LENGTH = 4;
const CHECKSUM = 6;
const HEADER_LENGTH = 8;

/**
 * View of a UDP datagram, the payload of an IP packet with `IpProtocol.UDP`. Setters leave the checksum as it is:
 * call {@link UdpDatagram.fillChecksum} after the last of them.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc768 | RFC 768}
 * @example
 * ```ts
 * const datagram = UdpDatagram.parse(packet.payload);
 * if (datagram?.destinationPort === 53 && datagram.verifyChecksum(packet)) answer(datagram.payload);
 * ```
 */
export class UdpDatagram extends PacketView {
  /** Why `bytes` can't be such a datagram; undefined if nothing is wrong. The checksum is not looked at. */
  static check(bytes: Uint8Array): string | undefined {
    const short = tooShort(bytes, HEADER_LENGTH);
    if (short !== undefined) return short;
    const length = read16(bytes, LENGTH);
    if (length < HEADER_LENGTH) return `length ${length} is less than ${HEADER_LENGTH}`;
    if (length > bytes.length) return `length ${length} exceeds the ${bytes.length} bytes present`;
    return undefined;
  }

  /** A view of `bytes`, or undefined if {@link UdpDatagram.check} finds something wrong. */
  static parse(bytes: Uint8Array): UdpDatagram | undefined {
    return UdpDatagram.check(bytes) === undefined ? new UdpDatagram(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link UdpDatagram.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, UdpDatagram.check(bytes), read16(bytes, LENGTH));
  }

  /** Source port, 0 to 65535. */
  get sourcePort(): number {
    return read16(this.bytes, SOURCE_PORT);
  }

  set sourcePort(port: number) {
    write16(this.bytes, SOURCE_PORT, uint16('sourcePort', port));
  }

  /** Destination port, 0 to 65535. */
  get destinationPort(): number {
    return read16(this.bytes, DESTINATION_PORT);
  }

  set destinationPort(port: number) {
    write16(this.bytes, DESTINATION_PORT, uint16('destinationPort', port));
  }

  /** Length of the datagram in bytes, its 8 bytes of header included. */
  get length(): number {
    return read16(this.bytes, LENGTH);
  }

  /** Checksum as stored; 0 means that there is none. */
  get checksum(): number {
    return read16(this.bytes, CHECKSUM);
  }

  set checksum(value: number) {
    write16(this.bytes, CHECKSUM, uint16('checksum', value));
  }

  /** What follows the header, up to the datagram's length; shares the bytes. */
  get payload(): Buffer {
    return this.bytes.subarray(HEADER_LENGTH);
  }

  /**
   * Whether the stored checksum is right for the datagram between these addresses: `packet` is the IP view. No
   * checksum is right over IPv4 and wrong over IPv6 (RFC 8200 section 8.1).
   */
  verifyChecksum(packet: IpAddressBytes): boolean {
    if (this.checksum === 0) return packet.sourceBytes.length === 4;
    return upperLayerChecksum(this.bytes, IpProtocol.UDP, packet) === 0;
  }

  /** Computes and stores the checksum of the datagram between these addresses: `packet` is the IP view. */
  fillChecksum(packet: IpAddressBytes): void {
    this.checksum = 0;
    this.checksum = upperLayerChecksum(this.bytes, IpProtocol.UDP, packet) || 0xffff;
  }
}

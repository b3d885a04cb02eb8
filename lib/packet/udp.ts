/** UDP datagrams. */

import { read16 } from './fields.js';
import { IpProtocol } from './numbers.js';
import { TransportPacket } from './transport.js';
import { tooShort } from './view.js';

const LENGTH = 4;
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
export class UdpDatagram extends TransportPacket {
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
    super(bytes, UdpDatagram.check(bytes), read16(bytes, LENGTH), IpProtocol.UDP);
  }

  /** Length of the datagram in bytes, its 8 bytes of header included. */
  get length(): number {
    return read16(this.bytes, LENGTH);
  }

  /** What follows the header, up to the datagram's length; shares the bytes. */
  get payload(): Buffer {
    return this.bytes.subarray(HEADER_LENGTH);
  }
}

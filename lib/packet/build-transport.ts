/** Builders of UDP datagrams and TCP segments. */

import { parseIp } from '../address.js';
import { invalidArgValue, requireBoolean } from '../arguments.js';
import type { IpAddressBytes } from './checksum.js';
import { NO_BYTES, requireBytes, uint16, uint32, write16, write32 } from './fields.js';
import { TCP_FLAG, TcpSegment } from './tcp.js';
import { UdpDatagram } from './udp.js';

const MAX_LENGTH = 0xffff;

/** What UDP and TCP have in common. Both addresses are IPv4, or both IPv6; only the checksum needs them. */
export interface TransportFields {
  /** Source address of the IP packet, `'192.0.2.1'` or `'2001:db8::1'`. */
  readonly source: string;
  /** Destination address of the IP packet; of a source-routed one, where its route ends. */
  readonly destination: string;
  /** Source port, 0 to 65535. */
  readonly sourcePort: number;
  /** Destination port, 0 to 65535. */
  readonly destinationPort: number;
}

/** Fields of {@link udpDatagram}. */
export interface UdpDatagramFields extends TransportFields {
  /** Up to 65527 bytes. */
  readonly payload: Uint8Array;
}

/** Fields of {@link tcpSegment}. */
export interface TcpSegmentFields extends TransportFields {
  /** 32 bits. */
  readonly sequenceNumber: number;
  /** 32 bits; counts with `ack`. **Default:** `0`. */
  readonly acknowledgmentNumber?: number;
  /** The sender has no more data. **Default:** `false`, as for all flags. */
  readonly fin?: boolean;
  /** Opens a connection. */
  readonly syn?: boolean;
  /** Resets the connection. */
  readonly rst?: boolean;
  /** To be passed to the reader at once. */
  readonly psh?: boolean;
  /** The acknowledgment number counts. */
  readonly ack?: boolean;
  /** The urgent pointer counts. */
  readonly urg?: boolean;
  /** Congestion was seen, or on a SYN, ECN is understood. */
  readonly ece?: boolean;
  /** The congestion window was reduced. */
  readonly cwr?: boolean;
  /** Receive window as stored, 0 to 65535. **Default:** `65535`. */
  readonly window?: number;
  /** 0 to 65535; counts with `urg`. **Default:** `0`. */
  readonly urgentPointer?: number;
  /** Up to 40 bytes of options; padded with zeros to a multiple of 4. **Default:** none. */
  readonly options?: Uint8Array;
  /** Up to 65535 bytes less the header. **Default:** none. */
  readonly payload?: Uint8Array;
}

/**
 * Builds a UDP datagram with its length and checksum.
 *
 * @returns a fresh buffer, the payload of an IP packet between the same addresses
 * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc768 | RFC 768}
 * @example
 * ```ts
 * const ends = { source: '192.0.2.1', destination: '192.0.2.2' };
 * const payload = udpDatagram({ ...ends, sourcePort: 5000, destinationPort: 53, payload: query });
 * tun.write(ipv4Packet({ ...ends, protocol: IpProtocol.UDP, payload }));
 * ```
 */
export function udpDatagram(fields: UdpDatagramFields): Buffer {
  const payload = requireBytes('payload', fields.payload, MAX_LENGTH - 8);
  const datagram = Buffer.alloc(8 + payload.length);
  writePorts(datagram, fields);
  write16(datagram, 4, datagram.length);
  datagram.set(payload, 8);
  new UdpDatagram(datagram).fillChecksum(addressBytes(fields));
  return datagram;
}

/**
 * Builds a TCP segment with its data offset and checksum.
 *
 * @returns a fresh buffer, the payload of an IP packet between the same addresses
 * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc9293 | RFC 9293}
 * @example
 * ```ts
 * const ends = { source: packet.destination, destination: packet.source };
 * const payload = tcpSegment({
 *   ...ends, sourcePort: segment.destinationPort, destinationPort: segment.sourcePort,
 *   sequenceNumber: segment.acknowledgmentNumber, rst: true,
 * });
 * tun.write(ipv4Packet({ ...ends, protocol: IpProtocol.TCP, payload }));
 * ```
 */
export function tcpSegment(fields: TcpSegmentFields): Buffer {
  const { acknowledgmentNumber = 0, window = 0xffff, urgentPointer = 0, options = NO_BYTES } = fields;
  const optionsLength = Math.ceil(requireBytes('options', options, 40).length / 4) * 4;
  const headerLength = 20 + optionsLength;
  const payload = requireBytes('payload', fields.payload ?? NO_BYTES, MAX_LENGTH - headerLength);

  const segment = Buffer.alloc(headerLength + payload.length);
  writePorts(segment, fields);
  write32(segment, 4, uint32('sequenceNumber', fields.sequenceNumber));
  write32(segment, 8, uint32('acknowledgmentNumber', acknowledgmentNumber));
  segment[12] = (headerLength / 4) << 4;
  segment[13] = flagBits(fields);
  write16(segment, 14, uint16('window', window));
  write16(segment, 18, uint16('urgentPointer', urgentPointer));
  segment.set(options, 20);
  segment.set(payload, headerLength);
  new TcpSegment(segment).fillChecksum(addressBytes(fields));
  return segment;
}

function writePorts(bytes: Buffer, { sourcePort, destinationPort }: TransportFields): void {
  write16(bytes, 0, uint16('sourcePort', sourcePort));
  write16(bytes, 2, uint16('destinationPort', destinationPort));
}

function flagBits(fields: TcpSegmentFields): number {
  let bits = 0;
  for (const [name, bit] of Object.entries(TCP_FLAG)) {
    if (requireBoolean(name, fields[name as keyof typeof TCP_FLAG] ?? false)) bits |= bit;
  }
  return bits;
}

function addressBytes({ source, destination }: TransportFields): IpAddressBytes {
  const sourceBytes = parseIp(source);
  const destinationBytes = parseIp(destination);
  if (sourceBytes.length !== destinationBytes.length) {
    throw invalidArgValue('destination', destination, `must be of the same family as the source ${source}`);
  }
  return { sourceBytes, destinationBytes };
}

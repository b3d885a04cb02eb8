/** Builders of IP packets. */

import { parseIpv4, parseIpv6 } from '../address.js';
import { invalidArgValue, outOfRange, requireBoolean, requireInteger } from '../arguments.js';
import { NO_BYTES, requireBytes, uint8, uint16, write16, write32 } from './fields.js';
import { Ipv4Packet } from './ipv4.js';
import { Ipv6Packet } from './ipv6.js';
import {
  extensionHeaderLength,
  IPV6_HEADER_LENGTH,
  type Ipv6ExtensionHeader,
  isExtensionHeader,
} from './ipv6-extension-headers.js';

const MAX_LENGTH = 0xffff;

/** Fields of {@link ipv4Packet}. */
export interface Ipv4PacketFields {
  /** Source address, `'192.0.2.1'`. */
  readonly source: string;
  /** Destination address. */
  readonly destination: string;
  /** What the payload is, `IpProtocol.UDP`. */
  readonly protocol: number;
  /** Differentiated services code point, 0 to 63. **Default:** `0`. */
  readonly dscp?: number;
  /** Explicit congestion notification, 0 to 3. **Default:** `0`. */
  readonly ecn?: number;
  /** 0 to 65535; to be unique while the packet lives if it may be fragmented (RFC 6864). **Default:** `0`. */
  readonly identification?: number;
  /** The packet must not be fragmented. **Default:** `true`, so that `identification` needs not be unique. */
  readonly dontFragment?: boolean;
  /** Time to live in hops, 0 to 255. **Default:** `64`. */
  readonly ttl?: number;
  /** Up to 40 bytes of options; padded with zeros to a multiple of 4. **Default:** none. */
  readonly options?: Uint8Array;
  /** Up to 65535 bytes less the header. */
  readonly payload: Uint8Array;
}

/** Fields of {@link ipv6Packet}. */
export interface Ipv6PacketFields {
  /** Source address, `'2001:db8::1'`. */
  readonly source: string;
  /** Destination address. */
  readonly destination: string;
  /** What the payload is, `IpProtocol.UDP`, also if extension headers come before it. */
  readonly nextHeader: number;
  /** Traffic class, 0 to 255. **Default:** `0`. */
  readonly trafficClass?: number;
  /** Flow label, 0 to 0xfffff. **Default:** `0`. */
  readonly flowLabel?: number;
  /** Hop limit, 0 to 255. **Default:** `64`. */
  readonly hopLimit?: number;
  /**
   * Extension headers in their order, such as `Ipv6Packet.extensionHeaders()` gives. They are copied, and each copy's
   * next header is set. **Default:** none.
   */
  readonly extensionHeaders?: Iterable<Ipv6ExtensionHeader>;
  /** Up to 65535 bytes less the extension headers. */
  readonly payload: Uint8Array;
}

/**
 * Builds an IPv4 packet with its lengths and header checksum.
 *
 * @returns a fresh buffer
 * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc791 | RFC 791}
 * @example
 * ```ts
 * const ends = { source: '192.0.2.1', destination: '192.0.2.2' };
 * const payload = udpDatagram({ ...ends, sourcePort: 5000, destinationPort: 53, payload: query });
 * tun.write(ipv4Packet({ ...ends, protocol: IpProtocol.UDP, payload }));
 * ```
 */
export function ipv4Packet(fields: Ipv4PacketFields): Buffer {
  const { dscp = 0, ecn = 0, identification = 0, dontFragment = true, ttl = 64, options = NO_BYTES } = fields;
  const optionsLength = Math.ceil(requireBytes('options', options, 40).length / 4) * 4;
  const headerLength = 20 + optionsLength;
  const payload = requireBytes('payload', fields.payload, MAX_LENGTH - headerLength);

  const packet = Buffer.alloc(headerLength + payload.length);
  packet[0] = (4 << 4) | (headerLength / 4);
  packet[1] = (requireInteger('dscp', dscp, 0, 63) << 2) | requireInteger('ecn', ecn, 0, 3);
  write16(packet, 2, packet.length);
  write16(packet, 4, uint16('identification', identification));
  write16(packet, 6, requireBoolean('dontFragment', dontFragment) ? 0x4000 : 0);
  packet[8] = uint8('ttl', ttl);
  packet[9] = uint8('protocol', fields.protocol);
  packet.set(parseIpv4(fields.source), 12);
  packet.set(parseIpv4(fields.destination), 16);
  packet.set(options, 20);
  packet.set(payload, headerLength);
  new Ipv4Packet(packet).fillChecksum();
  return packet;
}

/**
 * Builds an IPv6 packet with its lengths and the chain of its extension headers.
 *
 * @returns a fresh buffer
 * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc8200 | RFC 8200}
 * @example
 * ```ts
 * const ends = { source: '2001:db8::1', destination: '2001:db8::2' };
 * const payload = udpDatagram({ ...ends, sourcePort: 5000, destinationPort: 53, payload: query });
 * tun.write(ipv6Packet({ ...ends, nextHeader: IpProtocol.UDP, payload }));
 * ```
 */
export function ipv6Packet(fields: Ipv6PacketFields): Buffer {
  const { trafficClass = 0, flowLabel = 0, hopLimit = 64 } = fields;
  const extensions = [...(fields.extensionHeaders ?? [])];
  extensions.forEach(requireExtensionHeader);
  const extensionsLength = extensions.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (extensionsLength > MAX_LENGTH) {
    throw outOfRange('extensionHeaders', `at most ${MAX_LENGTH} bytes in all`, extensionsLength);
  }
  const payload = requireBytes('payload', fields.payload, MAX_LENGTH - extensionsLength);

  const packet = Buffer.alloc(IPV6_HEADER_LENGTH + extensionsLength + payload.length);
  const classAndLabel =
    (uint8('trafficClass', trafficClass) << 20) | requireInteger('flowLabel', flowLabel, 0, 0xfffff);
  write32(packet, 0, (6 << 28) | classAndLabel);
  write16(packet, 4, extensionsLength + payload.length);
  packet[7] = uint8('hopLimit', hopLimit);
  packet.set(parseIpv6(fields.source), 8);
  packet.set(parseIpv6(fields.destination), 24);

  let nextHeaderField = 6;
  let at = IPV6_HEADER_LENGTH;
  for (const { type, bytes } of extensions) {
    packet.set(bytes, at);
    packet[nextHeaderField] = type;
    nextHeaderField = at;
    at += bytes.length;
  }
  packet[nextHeaderField] = uint8('nextHeader', fields.nextHeader);
  packet.set(payload, at);

  const problem = Ipv6Packet.check(packet);
  if (problem !== undefined) {
    throw invalidArgValue('extensionHeaders', extensions, `gives a malformed packet: ${problem}`);
  }
  return packet;
}

function requireExtensionHeader({ type, bytes }: Ipv6ExtensionHeader): void {
  requireBytes('extensionHeaders.bytes', bytes, MAX_LENGTH);
  if (!isExtensionHeader(type) || extensionHeaderLength(type, bytes, 0) !== bytes.length) {
    const reason = 'must hold extension headers of IpProtocol, as long as their length fields say';
    throw invalidArgValue('extensionHeaders', { type, bytes }, reason);
  }
}

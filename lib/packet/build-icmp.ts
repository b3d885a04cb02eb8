/** Builders of ICMP messages. */

import { parseIpv6, parseMac } from '../address.js';
import { invalidArgValue, requireBoolean } from '../arguments.js';
import { NO_BYTES, requireBytes, uint8, uint16, uint32, write16, write32 } from './fields.js';
import { ICMP_HEADER_LENGTH, Icmpv4Packet, Icmpv6Packet } from './icmp.js';
import { Icmpv6Type, NdpOptionType } from './numbers.js';

/** Fields of {@link icmpv4Packet}. */
export interface Icmpv4PacketFields {
  /** An `Icmpv4Type` or, over IPv6, an `Icmpv6Type`. */
  readonly type: number;
  /** What the type leaves open, 0 to 255. **Default:** `0`. */
  readonly code?: number;
  /** Bytes 4 to 7, 32 bits, for other messages than echoes: the next-hop MTU of an error. **Default:** `0`. */
  readonly restOfHeader?: number;
  /** Echo messages: which `ping` it belongs to, 0 to 65535. **Default:** from `restOfHeader`. */
  readonly identifier?: number;
  /** Echo messages: number of the echo in its series, 0 to 65535. **Default:** from `restOfHeader`. */
  readonly sequence?: number;
  /** What follows the first 8 bytes. **Default:** none. */
  readonly payload?: Uint8Array;
}

/** Fields of {@link icmpv6Packet}. */
export interface Icmpv6PacketFields extends Icmpv4PacketFields {
  /** Source address of the IPv6 packet, which the checksum covers. */
  readonly source: string;
  /** Destination address of the IPv6 packet, which the checksum covers; of a source-routed one, where its route ends. */
  readonly destination: string;
}

/** Fields of {@link neighborAdvertisement}. */
export interface NeighborAdvertisementFields {
  /** Source address of the IPv6 packet. */
  readonly source: string;
  /** Destination address of the IPv6 packet: who asked, or `'ff02::1'` to tell all. */
  readonly destination: string;
  /** The IPv6 address told of. */
  readonly target: string;
  /** Its Ethernet address. */
  readonly mac: string;
  /** The sender is a router. **Default:** `false`. */
  readonly router?: boolean;
  /** In answer to a solicitation; never with a multicast destination (RFC 4861 section 7.1.2). **Default:** `false`. */
  readonly solicited?: boolean;
  /** Replaces a cached link-layer address. **Default:** `true`. */
  readonly override?: boolean;
}

/**
 * Builds an ICMP message with its checksum.
 *
 * @returns a fresh buffer, the payload of an IPv4 packet
 * @throws `ERR_INVALID_ARG_TYPE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc792 | RFC 792}
 * @example
 * ```ts
 * const payload = icmpv4Packet({ type: Icmpv4Type.ECHO_REQUEST, identifier: 7, sequence: 1, payload: data });
 * tun.write(ipv4Packet({ source, destination, protocol: IpProtocol.ICMP, payload }));
 * ```
 */
export function icmpv4Packet(fields: Icmpv4PacketFields): Buffer {
  const message = icmpMessage(fields, 0xffff - 20);
  new Icmpv4Packet(message).fillChecksum();
  return message;
}

/**
 * Builds an ICMPv6 message with its checksum.
 *
 * @returns a fresh buffer, the payload of an IPv6 packet between the same addresses
 * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc4443 | RFC 4443}
 * @example
 * ```ts
 * const ends = { source: '2001:db8::1', destination: packet.source };
 * const quoted = packet.bytes.subarray(0, 1280 - 40 - 8); // RFC 4443 section 3.2: as much as IPv6's minimum MTU takes
 * const payload = icmpv6Packet({ ...ends, type: Icmpv6Type.PACKET_TOO_BIG, restOfHeader: mtu, payload: quoted });
 * tun.write(ipv6Packet({ ...ends, nextHeader: IpProtocol.ICMPV6, payload }));
 * ```
 */
export function icmpv6Packet(fields: Icmpv6PacketFields): Buffer {
  const sourceBytes = parseIpv6(fields.source);
  const destinationBytes = parseIpv6(fields.destination);
  const message = icmpMessage(fields, 0xffff);
  new Icmpv6Packet(message).fillChecksum({ sourceBytes, destinationBytes });
  return message;
}

/**
 * Builds a neighbor advertisement with the target's Ethernet address and its checksum. The IPv6 packet around it
 * must have hop limit 255.
 *
 * @returns a fresh buffer of 32 bytes, the payload of an IPv6 packet between the same addresses
 * @throws `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc4861#section-4.4 | RFC 4861}
 * @example
 * ```ts
 * const ends = { source: 'fe80::1', destination: 'ff02::1' };
 * const payload = neighborAdvertisement({ ...ends, target: 'fe80::1', mac });
 * const packet = ipv6Packet({ ...ends, nextHeader: IpProtocol.ICMPV6, hopLimit: 255, payload });
 * ```
 */
export function neighborAdvertisement(fields: NeighborAdvertisementFields): Buffer {
  const { source, destination, router = false, solicited = false, override = true } = fields;
  if (requireBoolean('solicited', solicited) && parseIpv6(destination)[0] === 0xff) {
    throw invalidArgValue('destination', destination, 'must be unicast in a solicited advertisement');
  }
  const flags =
    (requireBoolean('router', router) ? 0x80 : 0) |
    (solicited ? 0x40 : 0) |
    (requireBoolean('override', override) ? 0x20 : 0);
  return icmpv6Packet({
    source,
    destination,
    type: Icmpv6Type.NEIGHBOR_ADVERTISEMENT,
    restOfHeader: (flags << 24) >>> 0,
    payload: Buffer.concat([
      parseIpv6(fields.target),
      Uint8Array.of(NdpOptionType.TARGET_LINK_LAYER_ADDRESS, 1),
      parseMac(fields.mac),
    ]),
  });
}

/** The message without its checksum. */
function icmpMessage(fields: Icmpv4PacketFields, maxLength: number): Buffer {
  const payload = requireBytes('payload', fields.payload ?? NO_BYTES, maxLength - ICMP_HEADER_LENGTH);
  const message = Buffer.alloc(ICMP_HEADER_LENGTH + payload.length);
  message[0] = uint8('type', fields.type);
  message[1] = uint8('code', fields.code ?? 0);
  write32(message, 4, uint32('restOfHeader', fields.restOfHeader ?? 0));
  if (fields.identifier !== undefined) write16(message, 4, uint16('identifier', fields.identifier));
  if (fields.sequence !== undefined) write16(message, 6, uint16('sequence', fields.sequence));
  message.set(payload, ICMP_HEADER_LENGTH);
  return message;
}

/** ICMP errors of IPv4, and when none may be sent. */

import { invalidArgValue } from '../arguments.js';
import { icmpv4Packet } from './build-icmp.js';
import { ipv4Packet } from './build-ip.js';
import { Ipv4Packet } from './ipv4.js';
import { Icmpv4Type, IpProtocol } from './numbers.js';

/** RFC 1812 section 4.3.2.3: quote as much as leaves the error at 576 bytes. */
const MAX_QUOTE = 576 - 20 - 8;

/** Internetwork control, the precedence RFC 1812 section 4.3.2.5 wants; Linux sends it too (`icmp_send`). */
const DSCP_CS6 = 48;

const ERROR_TYPES: readonly number[] = [
  Icmpv4Type.DESTINATION_UNREACHABLE,
  Icmpv4Type.SOURCE_QUENCH,
  Icmpv4Type.REDIRECT,
  Icmpv4Type.TIME_EXCEEDED,
  Icmpv4Type.PARAMETER_PROBLEM,
];

/** Fields of {@link icmpv4Error}. */
export interface Icmpv4ErrorFields {
  /** An error: `Icmpv4Type.DESTINATION_UNREACHABLE`, `TIME_EXCEEDED` and so on. */
  readonly type: number;
  /** What the type leaves open, 0 to 255: for an unreachable destination 0 network, 1 host, 3 port, 4 too big. */
  readonly code: number;
  /** Who reports the error: an address of the router or host. */
  readonly source: string;
  /** Bytes 4 to 7: the next-hop MTU of code 4, "fragmentation needed" (RFC 1191). **Default:** `0`. */
  readonly restOfHeader?: number;
}

/**
 * Builds the ICMP error that answers an IPv4 packet, if one may be sent at all: none in answer to an ICMP error, to
 * a fragment other than the first, to multicast or broadcast, or to a source that is no single host.
 *
 * @param packet - the offending IPv4 packet; up to 548 bytes of it are quoted
 * @returns a whole IPv4 packet to the offender's source in a fresh buffer, or undefined if none may be sent
 * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc792 | RFC 792},
 * {@link https://www.rfc-editor.org/rfc/rfc1812#section-4.3.2 | RFC 1812},
 * {@link https://www.rfc-editor.org/rfc/rfc1122#section-3.2.2 | RFC 1122}
 * @example
 * ```ts
 * if (!decrementTtl(packet)) {
 *   const error = icmpv4Error(packet.bytes, { type: Icmpv4Type.TIME_EXCEEDED, code: 0, source: '192.0.2.1' });
 *   if (error) tun.write(error);
 * }
 * ```
 */
export function icmpv4Error(packet: Uint8Array, fields: Icmpv4ErrorFields): Buffer | undefined {
  const { type, code, source, restOfHeader } = fields;
  if (!ERROR_TYPES.includes(type)) throw invalidArgValue('type', type, 'must be an ICMP error of Icmpv4Type');
  const offender = Ipv4Packet.parse(packet);
  if (offender === undefined || !mayBeAnswered(offender)) return undefined;
  return ipv4Packet({
    source,
    destination: offender.source,
    protocol: IpProtocol.ICMP,
    dscp: DSCP_CS6,
    payload: icmpv4Packet({ type, code, restOfHeader, payload: offender.bytes.subarray(0, MAX_QUOTE) }),
  });
}

function mayBeAnswered(offender: Ipv4Packet): boolean {
  if (offender.fragmentOffset > 0 || !isSingleHost(offender.sourceBytes)) return false;
  if (isIpv4Group(offender.destinationBytes)) return false;
  if (offender.protocol !== IpProtocol.ICMP) return true;
  // Without its type byte an ICMP message may be an error.
  return offender.payload.length > 0 && !ERROR_TYPES.includes(offender.payload[0]);
}

/** Whether an IPv4 address, as a source, names one host that can be answered: RFC 1122 section 3.2.2. */
function isSingleHost(address: Uint8Array): boolean {
  const zeroNetwork = address[0] === 0;
  const loopback = address[0] === 127;
  const classE = address[0] >= 240;
  return !zeroNetwork && !loopback && !classE && !isIpv4Group(address);
}

/** Multicast or the limited broadcast. A subnet's own broadcast can't be told without its prefix length. */
export function isIpv4Group(address: Uint8Array): boolean {
  const multicast = address[0] >> 4 === 0xe;
  return multicast || address.every((byte) => byte === 0xff);
}

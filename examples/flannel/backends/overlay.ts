/** What a host of the overlay does with one packet, whichever way the packets come and go. */

import { decrementTtl, Icmpv4Type, Ipv4Packet, icmpv4Error } from 'tuntap-native/packet';
import type { Endpoint } from 'tuntap-native/tunnel';
import { contains, formatAddress, type Network } from '../network.ts';
import { RouteTable } from './route-table.ts';

const TTL = 8;
const SOURCE = 12;
const DESTINATION = 16;
const MIN_HEADER = 20;
const NETWORK_UNREACHABLE = 0;
const TTL_IN_TRANSIT = 0;
// As net.ipv4.icmp_msgs_per_sec; RFC 1812 section 4.3.2.8 wants a limit.
const MAX_ERRORS_PER_SECOND = 1000;

/** Another host of the overlay, by its address on the network below. */
export interface Peer {
  readonly address: string;
  readonly port: number;
  readonly endpoint: Endpoint;
}

export interface Overlay {
  /** Which host each subnet is on. */
  readonly routes: RouteTable<Peer>;
  /**
   * Makes a packet from the device ready for its way to another host: its TTL is counted down, as by any router.
   * @returns who gets it; undefined if nobody, and then `answer` is called with the ICMP error that its sender is due
   */
  outbound(packet: Buffer): Peer | undefined;
  /**
   * Whether a packet that came from another host may enter this one.
   * @returns the only host that it may have come from: the one that its source address is on. Nobody else can speak
   * for that address, and hosts without a route can say nothing at all. Undefined: it may not, whoever sent it
   */
  inbound(packet: Buffer): Peer | undefined;
}

/**
 * @param subnet the part of the overlay that is on this host
 * @param answer gets ICMP errors, packets for this host
 */
export function createOverlay(subnet: Network, answer: (error: Buffer) => void): Overlay {
  const routes = new RouteTable<Peer>();
  const address = formatAddress(subnet.address);
  let second = 0;
  let errors = 0;

  function refuse(packet: Ipv4Packet, type: number, code: number): undefined {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) errors = 0;
    second = now;
    if (++errors > MAX_ERRORS_PER_SECOND) return;
    const error = icmpv4Error(packet.bytes, { type, code, source: address });
    if (error) answer(error);
  }

  return {
    routes,
    outbound(bytes) {
      // The kernel hands IPv6 to every device that is up, such as its router solicitations.
      const packet = Ipv4Packet.parse(bytes);
      if (packet === undefined) return undefined;
      const peer = routes.lookup(bytes.readInt32BE(DESTINATION));
      if (peer === undefined) return refuse(packet, Icmpv4Type.DESTINATION_UNREACHABLE, NETWORK_UNREACHABLE);
      if (!decrementTtl(packet)) return refuse(packet, Icmpv4Type.TIME_EXCEEDED, TTL_IN_TRANSIT);
      return peer;
    },
    inbound(bytes) {
      if (bytes.length < MIN_HEADER || bytes[0] >> 4 !== 4) return undefined;
      // RFC 2003 section 3.1: the end of a tunnel leaves the TTL alone, and discards what has none.
      if (bytes[TTL] === 0 || !contains(subnet, bytes.readInt32BE(DESTINATION))) return undefined;
      return routes.lookup(bytes.readInt32BE(SOURCE));
    },
  };
}

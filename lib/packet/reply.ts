/** Answers that a host gives by itself: to echo requests and to address resolution. */

import { parseIpv4, parseIpv6 } from '../address.js';
import { ArpPacket } from './arp.js';
import { arpPacket, ethernetFrame } from './build-ethernet.js';
import { icmpv4Packet, icmpv6Packet, neighborAdvertisement } from './build-icmp.js';
import { ipv4Packet, ipv6Packet } from './build-ip.js';
import { EthernetFrame } from './ethernet.js';
import { Icmpv4Packet, Icmpv6Packet } from './icmp.js';
import { isIpv4Group } from './icmpv4-error.js';
import type { IpPacket } from './ip.js';
import { Ipv4Packet } from './ipv4.js';
import { Ipv6Packet } from './ipv6.js';
import { NeighborMessage } from './neighbor-message.js';
import { ArpOperation, EtherType, Icmpv4Type, Icmpv6Type, IpProtocol } from './numbers.js';

const ALL_NODES = 'ff02::1';
const ALL_NODES_MAC = '33:33:00:00:00:01';

/** The address that a host answers for: its own, or another's (proxy). */
export interface HostAddress {
  /** Ethernet address, `'02:00:5e:10:00:01'`. */
  readonly mac: string;
  /** IP address. */
  readonly address: string;
}

/**
 * Answers an echo request ("ping") as the host that it is sent to.
 *
 * @param packet - any IPv4 or IPv6 packet, as a TUN device gives it
 * @returns the whole IP packet to send back in a fresh buffer; undefined if `packet` is anything but a sound echo
 * request from one host to one host (a fragment is none), or if its source route leads on to another host
 * @see {@link https://www.rfc-editor.org/rfc/rfc1122#section-3.2.2.6 | RFC 1122},
 * {@link https://www.rfc-editor.org/rfc/rfc4443#section-4.2 | RFC 4443}
 * @example
 * ```ts
 * for await (const packet of tun) {
 *   const reply = replyToEcho(packet);
 *   if (reply) tun.write(reply);
 * }
 * ```
 */
export function replyToEcho(packet: Uint8Array): Buffer | undefined {
  return replyToEchoIpv4(packet) ?? replyToEchoIpv6(packet);
}

/**
 * Answers an ARP request for `address`, in the VLAN that it came from.
 *
 * @param frame - any Ethernet frame, as a TAP device gives it
 * @param host - the IPv4 address to answer for and its Ethernet address
 * @returns the whole frame to send back in a fresh buffer; undefined if `frame` is anything but such a request
 * @throws `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` if `host` holds no such addresses
 * @see {@link https://www.rfc-editor.org/rfc/rfc826 | RFC 826}
 * @example
 * ```ts
 * const reply = replyToArp(frame, { mac: '02:00:5e:10:00:01', address: '192.0.2.1' });
 * if (reply) tap.write(reply);
 * ```
 */
export function replyToArp(frame: Uint8Array, { mac, address }: HostAddress): Buffer | undefined {
  const wanted = parseIpv4(address);
  const request = EthernetFrame.parse(frame);
  if (request?.etherType !== EtherType.ARP) return undefined;
  const arp = ArpPacket.parse(request.payload);
  if (arp?.operation !== ArpOperation.REQUEST || !wanted.equals(arp.targetAddressBytes)) return undefined;
  return ethernetFrame({
    destination: arp.senderMac,
    source: mac,
    etherType: EtherType.ARP,
    vlan: request.vlanTags,
    payload: arpPacket({
      operation: ArpOperation.REPLY,
      senderMac: mac,
      senderAddress: address,
      targetMac: arp.senderMac,
      targetAddress: arp.senderAddress,
    }),
  });
}

/**
 * Answers a neighbor solicitation for `address`, in the VLAN that it came from. Duplicate address detection, which
 * asks from the unspecified address, is answered to all nodes.
 *
 * @param frame - any Ethernet frame, as a TAP device gives it
 * @param host - the IPv6 address to answer for and its Ethernet address
 * @returns the whole frame to send back in a fresh buffer; undefined if `frame` is anything but such a solicitation
 * @throws `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` if `host` holds no such addresses
 * @see {@link https://www.rfc-editor.org/rfc/rfc4861#section-7.2.4 | RFC 4861}
 * @example
 * ```ts
 * const reply = replyToNeighborSolicitation(frame, { mac: '02:00:5e:10:00:01', address: '2001:db8::1' });
 * if (reply) tap.write(reply);
 * ```
 */
export function replyToNeighborSolicitation(
  frame: Uint8Array,
  { mac, address }: HostAddress,
): Buffer | undefined {
  const wanted = parseIpv6(address);
  const request = EthernetFrame.parse(frame);
  if (request?.etherType !== EtherType.IPV6) return undefined;
  const packet = Ipv6Packet.parse(request.payload);
  if (packet === undefined || !isNeighborDiscovery(packet)) return undefined;
  const solicitation = NeighborMessage.parse(packet.payload);
  if (solicitation?.type !== Icmpv6Type.NEIGHBOR_SOLICITATION) return undefined;
  if (!wanted.equals(solicitation.targetBytes)) return undefined;

  const toAll = isUnspecified(packet.sourceBytes);
  // RFC 4861 section 7.1.1: who has no address yet tells no link-layer address either.
  if (toAll && solicitation.linkLayerAddress !== undefined) return undefined;
  const ends = { source: address, destination: toAll ? ALL_NODES : packet.source };
  return ethernetFrame({
    destination: toAll ? ALL_NODES_MAC : (solicitation.linkLayerAddress ?? request.source),
    source: mac,
    etherType: EtherType.IPV6,
    vlan: request.vlanTags,
    payload: ipv6Packet({
      ...ends,
      nextHeader: IpProtocol.ICMPV6,
      hopLimit: 255,
      payload: neighborAdvertisement({ ...ends, target: address, mac, solicited: !toAll }),
    }),
  });
}

function replyToEchoIpv4(bytes: Uint8Array): Buffer | undefined {
  const packet = Ipv4Packet.parse(bytes);
  if (packet?.protocol !== IpProtocol.ICMP || !packet.checksumValid) return undefined;
  if (!isBetweenHosts(packet, isIpv4Group)) return undefined;
  const request = Icmpv4Packet.parse(packet.payload);
  if (request?.type !== Icmpv4Type.ECHO_REQUEST || !request.checksumValid) return undefined;
  const { code, identifier, sequence, payload } = request;
  return ipv4Packet({
    source: packet.destination,
    destination: packet.source,
    protocol: IpProtocol.ICMP,
    dscp: packet.dscp,
    identification: packet.identification,
    dontFragment: packet.dontFragment,
    payload: icmpv4Packet({ type: Icmpv4Type.ECHO_REPLY, code, identifier, sequence, payload }),
  });
}

function replyToEchoIpv6(bytes: Uint8Array): Buffer | undefined {
  const packet = Ipv6Packet.parse(bytes);
  if (packet?.upperProtocol !== IpProtocol.ICMPV6) return undefined;
  if (!isBetweenHosts(packet, isIpv6Multicast)) return undefined;
  const request = Icmpv6Packet.parse(packet.payload);
  if (request?.type !== Icmpv6Type.ECHO_REQUEST || !request.verifyChecksum(packet)) return undefined;
  const { code, identifier, sequence, payload } = request;
  const ends = { source: packet.destination, destination: packet.source };
  return ipv6Packet({
    ...ends,
    nextHeader: IpProtocol.ICMPV6,
    trafficClass: packet.trafficClass & 0xfc,
    payload: icmpv6Packet({ ...ends, type: Icmpv6Type.ECHO_REPLY, code, identifier, sequence, payload }),
  });
}

/** Whether a packet is whole, and has come from one host to another one, where its source route, if any, ends. */
function isBetweenHosts(packet: IpPacket, isGroup: (address: Uint8Array) => boolean): boolean {
  const { sourceBytes, destinationBytes, finalDestinationBytes } = packet;
  if (packet.isFragment || isUnspecified(sourceBytes) || isGroup(sourceBytes)) return false;
  return !isGroup(destinationBytes) && destinationBytes.equals(finalDestinationBytes);
}

/**
 * What RFC 4861 section 7.1.1 asks of the packet around a solicitation: it comes from this link and is whole. RFC
 * 6980 forbids fragment headers there; other extension headers are not in use.
 */
function isNeighborDiscovery(packet: Ipv6Packet): boolean {
  if (packet.nextHeader !== IpProtocol.ICMPV6 || packet.hopLimit !== 255) return false;
  if (isIpv6Multicast(packet.sourceBytes)) return false;
  if (isUnspecified(packet.sourceBytes) && !isSolicitedNode(packet.destinationBytes)) return false;
  return Icmpv6Packet.parse(packet.payload)?.verifyChecksum(packet) ?? false;
}

function isIpv6Multicast(address: Uint8Array): boolean {
  return address[0] === 0xff;
}

function isUnspecified(address: Uint8Array): boolean {
  return address.every((byte) => byte === 0);
}

/** ff02::1:ff00:0/104, RFC 4291 section 2.7.1. */
function isSolicitedNode(address: Uint8Array): boolean {
  return Buffer.from('ff0200000000000000000001ff', 'hex').equals(address.subarray(0, 13));
}

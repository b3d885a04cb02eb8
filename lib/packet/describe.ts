/** One readable line a packet, in the manner of tcpdump. */

import { ArpPacket } from './arp.js';
import { EthernetFrame, MAX_802_3_LENGTH } from './ethernet.js';
import { type IcmpPacket, Icmpv4Packet, Icmpv6Packet } from './icmp.js';
import type { IpPacket } from './ip.js';
import { Ipv4Packet } from './ipv4.js';
import { Ipv6Packet } from './ipv6.js';
import { NeighborMessage } from './neighbor-message.js';
import { ArpOperation, EtherType, Icmpv4Type, Icmpv6Type, IpProtocol } from './numbers.js';
import { TCP_FLAG, TcpSegment } from './tcp.js';
import type { TransportPacket } from './transport.js';
import { UdpDatagram } from './udp.js';
import type { PacketView } from './view.js';

/**
 * One line that says what a packet is, for logs. Made for people: the wording is not part of the API.
 *
 * @param bytes - anything; what is no packet is described as malformed, with the reason
 * @param kind - `'tun'` for an IP packet, `'tap'` for an Ethernet frame
 * @returns a line without its end; never throws, for any bytes
 * @example
 * ```ts
 * describe(packet, 'tun'); // '192.0.2.2 > 192.0.2.1 ICMP echo request id 7 seq 1 length 64'
 * describe(frame, 'tap');  // 'ARP who-has 192.0.2.1 tell 192.0.2.2'
 * ```
 */
export function describe(bytes: Uint8Array, kind: 'tun' | 'tap'): string {
  return kind === 'tap' ? describeFrame(bytes) : describePacket(bytes);
}

/** What `line` says of a view of the bytes; if there can be none, why, behind `prefix`. */
function viewed<View extends PacketView>(
  View: { new (bytes: Uint8Array): View; check(bytes: Uint8Array): string | undefined },
  bytes: Uint8Array,
  name: string,
  line: (view: View) => string,
  prefix = '',
): string {
  const problem = View.check(bytes);
  return problem === undefined ? line(new View(bytes)) : `${prefix}malformed ${name}: ${problem}`;
}

function describeFrame(bytes: Uint8Array): string {
  return viewed(EthernetFrame, bytes, 'Ethernet', (frame) => {
    const vlans = frame.vlanTags.map(({ id }) => `vlan ${id} `).join('');
    return vlans + describeFramePayload(frame);
  });
}

function describeFramePayload(frame: EthernetFrame): string {
  switch (frame.etherType) {
    case EtherType.ARP:
      return describeArp(frame.payload);
    case EtherType.IPV4:
      return describeIpv4(frame.payload);
    case EtherType.IPV6:
      return describeIpv6(frame.payload);
    default:
      return `${frame.source} > ${frame.destination} ${etherTypeName(frame)} length ${frame.payload.length}`;
  }
}

function describePacket(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'malformed IP: no bytes present';
  const version = bytes[0] >> 4;
  if (version === 4) return describeIpv4(bytes);
  if (version === 6) return describeIpv6(bytes);
  return `malformed IP: version ${version} is neither 4 nor 6`;
}

function describeArp(bytes: Uint8Array): string {
  return viewed(ArpPacket, bytes, 'ARP', (arp) => {
    switch (arp.operation) {
      case ArpOperation.REQUEST:
        return `ARP who-has ${arp.targetAddress} tell ${arp.senderAddress}`;
      case ArpOperation.REPLY:
        return `ARP ${arp.senderAddress} is-at ${arp.senderMac}`;
      default:
        return `ARP operation ${arp.operation} from ${arp.senderAddress} to ${arp.targetAddress}`;
    }
  });
}

function describeIpv4(bytes: Uint8Array): string {
  return viewed(Ipv4Packet, bytes, 'IPv4', (packet) => describeUpperLayer(packet, packet.protocol));
}

function describeIpv6(bytes: Uint8Array): string {
  return viewed(Ipv6Packet, bytes, 'IPv6', (packet) => describeUpperLayer(packet, packet.upperProtocol));
}

function describeUpperLayer(packet: IpPacket, protocol: number): string {
  const { payload } = packet;
  const ends = `${packet.source} > ${packet.destination} `;
  if (packet.isFragment) {
    const offset = `${packet.fragmentOffset}${packet.moreFragments ? '+' : ''}`;
    const place = `fragment id ${packet.identification} offset ${offset} length ${payload.length}`;
    return `${ends}${protocolName(protocol)} ${place}`;
  }
  switch (protocol) {
    case IpProtocol.TCP:
      return viewed(TcpSegment, payload, 'TCP', (segment) => describeTcp(packet, segment), ends);
    case IpProtocol.UDP:
      return viewed(UdpDatagram, payload, 'UDP', (datagram) => describeUdp(packet, datagram), ends);
    case IpProtocol.ICMP:
      return (
        ends + viewed(Icmpv4Packet, payload, 'ICMP', (message) => `ICMP ${describeIcmp(message, Icmpv4Type)}`)
      );
    case IpProtocol.ICMPV6:
      return ends + viewed(Icmpv6Packet, payload, 'ICMPv6', describeIcmpv6);
    default:
      return `${ends}${protocolName(protocol)} length ${payload.length}`;
  }
}

function describeTcp(packet: IpPacket, segment: TcpSegment): string {
  const flagNames = Object.keys(TCP_FLAG) as (keyof typeof TCP_FLAG)[];
  const flags = flagNames.filter((name) => segment[name]).map((name) => name.toUpperCase());
  return [
    `TCP ${endpoints(packet, segment)} ${flags.join(',') || 'no flags'}`,
    `seq ${segment.sequenceNumber}`,
    ...(segment.ack ? [`ack ${segment.acknowledgmentNumber}`] : []),
    `win ${segment.window} length ${segment.payload.length}`,
  ].join(' ');
}

function describeUdp(packet: IpPacket, datagram: UdpDatagram): string {
  return `UDP ${endpoints(packet, datagram)} length ${datagram.payload.length}`;
}

function describeIcmpv6(message: Icmpv6Packet): string {
  switch (message.type) {
    case Icmpv6Type.NEIGHBOR_SOLICITATION:
    case Icmpv6Type.NEIGHBOR_ADVERTISEMENT:
      return viewed(NeighborMessage, message.bytes, 'ICMPv6', describeNeighborMessage);
    default:
      return `ICMPv6 ${describeIcmp(message, Icmpv6Type)}`;
  }
}

function describeIcmp(message: IcmpPacket, types: Readonly<Record<string, number>>): string {
  const name = nameOf(types, message.type)?.toLowerCase().replaceAll('_', ' ') ?? `type ${message.type}`;
  const echo = message.type === types.ECHO_REQUEST || message.type === types.ECHO_REPLY;
  const details = echo ? `id ${message.identifier} seq ${message.sequence}` : `code ${message.code}`;
  return `${name} ${details} length ${message.bytes.length}`;
}

function describeNeighborMessage(message: NeighborMessage): string {
  if (message.type === Icmpv6Type.NEIGHBOR_SOLICITATION) {
    return `ICMPv6 neighbor solicitation who-has ${message.target}`;
  }
  return `ICMPv6 neighbor advertisement ${message.target} is-at ${message.linkLayerAddress ?? 'unknown'}`;
}

function endpoints(packet: IpPacket, ports: TransportPacket): string {
  return `${endpoint(packet.source, ports.sourcePort)} > ${endpoint(packet.destination, ports.destinationPort)}`;
}

function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function etherTypeName({ etherType }: EthernetFrame): string {
  if (etherType <= MAX_802_3_LENGTH) return '802.3';
  return `ethertype 0x${etherType.toString(16).padStart(4, '0')}`;
}

function protocolName(protocol: number): string {
  return nameOf(IpProtocol, protocol) ?? `protocol ${protocol}`;
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string | undefined {
  return Object.keys(names).find((name) => names[name] === value);
}

/** One readable line a packet, in the manner of tcpdump. */

import { ArpPacket } from './arp.js';
import { EthernetFrame, MAX_802_3_LENGTH } from './ethernet.js';
import { Icmpv4Packet } from './icmpv4.js';
import { Icmpv6Packet } from './icmpv6.js';
import { Ipv4Packet } from './ipv4.js';
import { Ipv6Packet } from './ipv6.js';
import { NeighborMessage } from './neighbor-message.js';
import { ArpOperation, EtherType, Icmpv4Type, Icmpv6Type, IpProtocol } from './numbers.js';
import { TCP_FLAG, TcpSegment } from './tcp.js';
import { UdpDatagram } from './udp.js';

type IpPacket = Ipv4Packet | Ipv6Packet;

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

function describeFrame(bytes: Uint8Array): string {
  const problem = EthernetFrame.check(bytes);
  if (problem !== undefined) return `malformed Ethernet: ${problem}`;
  const frame = new EthernetFrame(bytes);
  const vlans = frame.vlanTags.map(({ id }) => `vlan ${id} `).join('');
  return vlans + describeFramePayload(frame);
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
  const problem = ArpPacket.check(bytes);
  if (problem !== undefined) return `malformed ARP: ${problem}`;
  const arp = new ArpPacket(bytes);
  switch (arp.operation) {
    case ArpOperation.REQUEST:
      return `ARP who-has ${arp.targetAddress} tell ${arp.senderAddress}`;
    case ArpOperation.REPLY:
      return `ARP ${arp.senderAddress} is-at ${arp.senderMac}`;
    default:
      return `ARP operation ${arp.operation} from ${arp.senderAddress} to ${arp.targetAddress}`;
  }
}

function describeIpv4(bytes: Uint8Array): string {
  const problem = Ipv4Packet.check(bytes);
  if (problem !== undefined) return `malformed IPv4: ${problem}`;
  const packet = new Ipv4Packet(bytes);
  return describeUpperLayer(packet, packet.protocol);
}

function describeIpv6(bytes: Uint8Array): string {
  const problem = Ipv6Packet.check(bytes);
  if (problem !== undefined) return `malformed IPv6: ${problem}`;
  const packet = new Ipv6Packet(bytes);
  return describeUpperLayer(packet, packet.upperProtocol);
}

function describeUpperLayer(packet: IpPacket, protocol: number): string {
  if (packet.isFragment) return describeFragment(packet, protocol);
  switch (protocol) {
    case IpProtocol.TCP:
      return describeTcp(packet);
    case IpProtocol.UDP:
      return describeUdp(packet);
    case IpProtocol.ICMP:
      return describeIcmpv4(packet);
    case IpProtocol.ICMPV6:
      return describeIcmpv6(packet);
    default:
      return `${ends(packet)} ${protocolName(protocol)} length ${packet.payload.length}`;
  }
}

function describeFragment(packet: IpPacket, protocol: number): string {
  const { identification, fragmentOffset, moreFragments, payload } = packet;
  const offset = `${fragmentOffset}${moreFragments ? '+' : ''}`;
  const place = `fragment id ${identification} offset ${offset} length ${payload.length}`;
  return `${ends(packet)} ${protocolName(protocol)} ${place}`;
}

function describeTcp(packet: IpPacket): string {
  const problem = TcpSegment.check(packet.payload);
  if (problem !== undefined) return `${ends(packet)} malformed TCP: ${problem}`;
  const segment = new TcpSegment(packet.payload);
  const flagNames = Object.keys(TCP_FLAG) as (keyof typeof TCP_FLAG)[];
  const flags = flagNames.filter((name) => segment[name]).map((name) => name.toUpperCase());
  return [
    `TCP ${endpoints(packet, segment)} ${flags.join(',') || 'no flags'}`,
    `seq ${segment.sequenceNumber}`,
    ...(segment.ack ? [`ack ${segment.acknowledgmentNumber}`] : []),
    `win ${segment.window} length ${segment.payload.length}`,
  ].join(' ');
}

function describeUdp(packet: IpPacket): string {
  const problem = UdpDatagram.check(packet.payload);
  if (problem !== undefined) return `${ends(packet)} malformed UDP: ${problem}`;
  const datagram = new UdpDatagram(packet.payload);
  return `UDP ${endpoints(packet, datagram)} length ${datagram.payload.length}`;
}

function describeIcmpv4(packet: IpPacket): string {
  const problem = Icmpv4Packet.check(packet.payload);
  if (problem !== undefined) return `${ends(packet)} malformed ICMP: ${problem}`;
  const message = new Icmpv4Packet(packet.payload);
  const echo = message.type === Icmpv4Type.ECHO_REQUEST || message.type === Icmpv4Type.ECHO_REPLY;
  return `${ends(packet)} ICMP ${describeIcmp(message, Icmpv4Type, echo)}`;
}

function describeIcmpv6(packet: IpPacket): string {
  const problem = Icmpv6Packet.check(packet.payload);
  if (problem !== undefined) return `${ends(packet)} malformed ICMPv6: ${problem}`;
  const message = new Icmpv6Packet(packet.payload);
  if (
    message.type === Icmpv6Type.NEIGHBOR_SOLICITATION ||
    message.type === Icmpv6Type.NEIGHBOR_ADVERTISEMENT
  ) {
    return `${ends(packet)} ${describeNeighborMessage(packet.payload)}`;
  }
  const echo = message.type === Icmpv6Type.ECHO_REQUEST || message.type === Icmpv6Type.ECHO_REPLY;
  return `${ends(packet)} ICMPv6 ${describeIcmp(message, Icmpv6Type, echo)}`;
}

function describeIcmp(
  message: Icmpv4Packet | Icmpv6Packet,
  types: Readonly<Record<string, number>>,
  echo: boolean,
): string {
  const name = nameOf(types, message.type)?.toLowerCase().replaceAll('_', ' ') ?? `type ${message.type}`;
  const details = echo ? `id ${message.identifier} seq ${message.sequence}` : `code ${message.code}`;
  return `${name} ${details} length ${message.bytes.length}`;
}

function describeNeighborMessage(bytes: Uint8Array): string {
  const problem = NeighborMessage.check(bytes);
  if (problem !== undefined) return `malformed ICMPv6: ${problem}`;
  const message = new NeighborMessage(bytes);
  if (message.type === Icmpv6Type.NEIGHBOR_SOLICITATION) {
    return `ICMPv6 neighbor solicitation who-has ${message.target}`;
  }
  return `ICMPv6 neighbor advertisement ${message.target} is-at ${message.linkLayerAddress ?? 'unknown'}`;
}

function ends(packet: IpPacket): string {
  return `${packet.source} > ${packet.destination}`;
}

function endpoints(packet: IpPacket, ports: UdpDatagram | TcpSegment): string {
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

/**
 * Packets: views, builders, checksums, descriptions and captures.
 * @module tuntap-native/packet
 */

export {
  type Cidr,
  formatIp,
  formatIpv4,
  formatIpv6,
  formatMac,
  parseCidr,
  parseIp,
  parseIpv4,
  parseIpv6,
  parseMac,
} from '../address.js';
export { ArpPacket } from './arp.js';
export {
  type ArpPacketFields,
  arpPacket,
  type EthernetFrameFields,
  ethernetFrame,
} from './build-ethernet.js';
export {
  type Icmpv4PacketFields,
  type Icmpv6PacketFields,
  icmpv4Packet,
  icmpv6Packet,
  type NeighborAdvertisementFields,
  neighborAdvertisement,
} from './build-icmp.js';
export { type Ipv4PacketFields, type Ipv6PacketFields, ipv4Packet, ipv6Packet } from './build-ip.js';
export {
  type TcpSegmentFields,
  type TransportFields,
  tcpSegment,
  type UdpDatagramFields,
  udpDatagram,
} from './build-transport.js';
export {
  type IpAddressBytes,
  internetChecksum,
  pseudoHeaderSum,
  updateChecksum16,
} from './checksum.js';
export { describe } from './describe.js';
export { EthernetFrame, type VlanTag } from './ethernet.js';
export { IcmpPacket, Icmpv4Packet, Icmpv6Packet } from './icmp.js';
export { type Icmpv4ErrorFields, icmpv4Error } from './icmpv4-error.js';
export { IpPacket } from './ip.js';
export { decrementTtl, Ipv4Packet } from './ipv4.js';
export { Ipv6Packet } from './ipv6.js';
export type { Ipv6ExtensionHeader } from './ipv6-extension-headers.js';
export { type NdpOption, NeighborMessage } from './neighbor-message.js';
export {
  ArpOperation,
  EtherType,
  Icmpv4Type,
  Icmpv6Type,
  IpProtocol,
  NdpOptionType,
  TcpOptionKind,
} from './numbers.js';
export {
  type PcapngInterface,
  type PcapngPacketOptions,
  type PcapngStatistics,
  PcapngWriter,
} from './pcapng.js';
export { type HostAddress, replyToArp, replyToEcho, replyToNeighborSolicitation } from './reply.js';
export { type TcpOption, TcpSegment } from './tcp.js';
export { TransportPacket } from './transport.js';
export { UdpDatagram } from './udp.js';
export { PacketView } from './view.js';

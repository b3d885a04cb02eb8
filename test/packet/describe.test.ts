import assert from 'node:assert/strict';
import {
  describe as describePacket,
  EtherType,
  ethernetFrame,
  Icmpv4Type,
  Icmpv6Type,
  IpProtocol,
  icmpv4Packet,
  icmpv6Packet,
  ipv4Packet,
  ipv6Packet,
  neighborAdvertisement,
  tcpSegment,
} from 'tuntap-native/packet';
import { packetOf, patched, samples } from './samples.ts';

const ends = { source: '192.0.2.1', destination: '192.0.2.2' };
const endsV6 = { source: '2001:db8::1', destination: '2001:db8::2' };
const macs = { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' };
const nothing = Buffer.alloc(0);

const rst = tcpSegment({
  ...endsV6,
  sourcePort: 443,
  destinationPort: 5000,
  sequenceNumber: 7,
  rst: true,
  ack: true,
});
const noFlags = tcpSegment({ ...ends, sourcePort: 1, destinationPort: 2, sequenceNumber: 0 });

const frames: [string, Uint8Array, string][] = [
  ['an ARP request', samples.arpRequest, 'ARP who-has 192.0.2.2 tell 192.0.2.1'],
  ['an ARP reply', samples.arpReply, 'ARP 192.0.2.2 is-at 02:00:00:00:00:0b'],
  [
    'another ARP operation',
    patched(samples.arpReply, { 21: 9 }),
    'ARP operation 9 from 192.0.2.2 to 192.0.2.1',
  ],
  ['an IPv4 packet in a frame', samples.udp, 'UDP 192.0.2.1:55355 > 192.0.2.2:5353 length 5'],
  ['an IPv6 packet in a frame', samples.udpV6, 'UDP [2001:db8::1]:39911 > [2001:db8::2]:5353 length 5'],
  [
    'tagged frames',
    samples.doubleTagged,
    'vlan 100 vlan 10 02:00:00:00:00:0a > 01:80:c2:00:00:00 802.3 length 3',
  ],
  [
    'a frame of another type',
    ethernetFrame({ ...macs, etherType: EtherType.LLDP, payload: Buffer.alloc(9) }),
    '02:00:00:00:00:0a > 02:00:00:00:00:0b ethertype 0x88cc length 9',
  ],
  [
    'half a frame',
    samples.udp.subarray(0, 10),
    'malformed Ethernet: the header needs 14 bytes, 10 are present',
  ],
  [
    'half an ARP packet',
    samples.arpReply.subarray(0, 20),
    'malformed ARP: the header needs 28 bytes, 6 are present',
  ],
];

const packets: [string, Uint8Array, string][] = [
  [
    'an echo request',
    packetOf('echoRequest'),
    '192.0.2.1 > 192.0.2.2 ICMP echo request id 3569 seq 1 length 24',
  ],
  [
    'an echo reply',
    packetOf('echoReplyV6'),
    '2001:db8::2 > 2001:db8::1 ICMPv6 echo reply id 3570 seq 1 length 24',
  ],
  [
    'an ICMP error',
    packetOf('portUnreachable'),
    '192.0.2.2 > 192.0.2.1 ICMP destination unreachable code 3 length 41',
  ],
  [
    'a multicast listener report',
    packetOf('multicastListenerReport'),
    'fe80::ff:fe00:a > ff02::16 ICMPv6 multicast listener report v2 code 0 length 48',
  ],
  [
    'an unknown ICMP type',
    ipv4Packet({ ...ends, protocol: IpProtocol.ICMP, payload: icmpv4Packet({ type: 200 }) }),
    '192.0.2.1 > 192.0.2.2 ICMP type 200 code 0 length 8',
  ],
  [
    'an ICMPv6 error',
    ipv6Packet({
      ...endsV6,
      nextHeader: IpProtocol.ICMPV6,
      payload: icmpv6Packet({ ...endsV6, type: Icmpv6Type.PACKET_TOO_BIG, restOfHeader: 1280 }),
    }),
    '2001:db8::1 > 2001:db8::2 ICMPv6 packet too big code 0 length 8',
  ],
  [
    'a neighbor solicitation',
    packetOf('neighborSolicitation'),
    '2001:db8::1 > ff02::1:ff00:2 ICMPv6 neighbor solicitation who-has 2001:db8::2',
  ],
  [
    'a neighbor advertisement',
    packetOf('neighborAdvertisement'),
    '2001:db8::2 > 2001:db8::1 ICMPv6 neighbor advertisement 2001:db8::2 is-at 02:00:00:00:00:0b',
  ],
  [
    'a neighbor advertisement without link-layer address',
    ipv6Packet({
      ...endsV6,
      nextHeader: IpProtocol.ICMPV6,
      payload: neighborAdvertisement({ ...endsV6, target: 'fe80::1', mac: macs.source }).subarray(0, 24),
    }),
    '2001:db8::1 > 2001:db8::2 ICMPv6 neighbor advertisement fe80::1 is-at unknown',
  ],
  [
    'a TCP SYN',
    packetOf('tcpSyn'),
    'TCP 192.0.2.1:58936 > 192.0.2.2:5000 SYN seq 4043983398 win 64240 length 0',
  ],
  [
    'TCP data',
    packetOf('tcpData'),
    'TCP 192.0.2.1:58936 > 192.0.2.2:5000 PSH,ACK seq 4043983399 ack 139508490 win 63 length 5',
  ],
  [
    'a TCP reset over IPv6',
    ipv6Packet({ ...endsV6, nextHeader: IpProtocol.TCP, payload: rst }),
    'TCP [2001:db8::1]:443 > [2001:db8::2]:5000 RST,ACK seq 7 ack 0 win 65535 length 0',
  ],
  [
    'a TCP segment without flags',
    ipv4Packet({ ...ends, protocol: IpProtocol.TCP, payload: noFlags }),
    'TCP 192.0.2.1:1 > 192.0.2.2:2 no flags seq 0 win 65535 length 0',
  ],
  [
    'a fragment',
    packetOf('lastFragment'),
    '192.0.2.1 > 192.0.2.2 ICMP fragment id 46786 offset 2960 length 8',
  ],
  [
    'a fragment with more to come',
    patched(packetOf('lastFragmentV6'), { 43: 0x01 }),
    '2001:db8::1 > 2001:db8::2 ICMPV6 fragment id 2578289053 offset 2816+ length 8',
  ],
  [
    'a protocol known by name',
    ipv4Packet({ ...ends, protocol: IpProtocol.GRE, payload: nothing }),
    '192.0.2.1 > 192.0.2.2 GRE length 0',
  ],
  [
    'a protocol known by number',
    ipv6Packet({ ...endsV6, nextHeader: 253, payload: Buffer.alloc(3) }),
    '2001:db8::1 > 2001:db8::2 protocol 253 length 3',
  ],
  [
    'an IPv4 packet cut off',
    patched(packetOf('tcpSyn'), { 2: 0x23, 3: 0x28 }),
    'malformed IPv4: total length 9000 exceeds the 60 bytes present',
  ],
  [
    'an IPv6 packet cut off',
    packetOf('udpV6').subarray(0, 50),
    'malformed IPv6: payload length 13 exceeds the 10 bytes of payload present',
  ],
  [
    'a TCP segment with a bad data offset',
    patched(packetOf('tcpSyn'), { 32: 0x10 }),
    '192.0.2.1 > 192.0.2.2 malformed TCP: data offset 4 is less than 20',
  ],
  [
    'a UDP datagram with a bad length',
    patched(packetOf('udp'), { 25: 99 }),
    '192.0.2.1 > 192.0.2.2 malformed UDP: length 99 exceeds the 13 bytes present',
  ],
  [
    'an empty ICMP message',
    ipv4Packet({ ...ends, protocol: IpProtocol.ICMP, payload: nothing }),
    '192.0.2.1 > 192.0.2.2 malformed ICMP: the header needs 8 bytes, 0 are present',
  ],
  [
    'an empty ICMPv6 message',
    ipv6Packet({ ...endsV6, nextHeader: IpProtocol.ICMPV6, payload: nothing }),
    '2001:db8::1 > 2001:db8::2 malformed ICMPv6: the header needs 8 bytes, 0 are present',
  ],
  [
    'a neighbor solicitation with an option of length 0',
    patched(packetOf('neighborSolicitation'), { 65: 0 }),
    '2001:db8::1 > ff02::1:ff00:2 malformed ICMPv6: option 1 has length 0',
  ],
  ['another version', Buffer.from([0x50]), 'malformed IP: version 5 is neither 4 nor 6'],
  ['nothing', nothing, 'malformed IP: no bytes present'],
];

describe('describe', () => {
  for (const [name, bytes, line] of frames)
    it(`tells ${name}`, () => assert.equal(describePacket(bytes, 'tap'), line));
  for (const [name, bytes, line] of packets) {
    it(`tells ${name}`, () => assert.equal(describePacket(bytes, 'tun'), line));
  }

  it('knows every ICMP type of the constants', () => {
    for (const [name, type] of Object.entries(Icmpv4Type)) {
      const packet = ipv4Packet({ ...ends, protocol: IpProtocol.ICMP, payload: icmpv4Packet({ type }) });
      assert.ok(describePacket(packet, 'tun').includes(name.toLowerCase().replaceAll('_', ' ')));
    }
  });
});

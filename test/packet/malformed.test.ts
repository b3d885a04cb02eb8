import assert from 'node:assert/strict';
import {
  ArpPacket,
  EthernetFrame,
  Icmpv4Packet,
  Icmpv6Packet,
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  ipv6Packet,
  NeighborMessage,
  TcpSegment,
  UdpDatagram,
} from 'tuntap-native/packet';
import { ipv4PayloadOf, ipv6PayloadOf, packetOf, patched, samples } from './samples.ts';

interface ViewClass {
  new (bytes: Uint8Array): object;
  check(bytes: Uint8Array): string | undefined;
  parse(bytes: Uint8Array): object | undefined;
}

const arp = packetOf('arpRequest');
const ipv4 = packetOf('echoRequest');
const ipv6 = packetOf('echoRequestV6');
const solicitation = ipv6PayloadOf('neighborSolicitation');
const tcp = ipv4PayloadOf('tcpSyn');
const udp = ipv4PayloadOf('udp');

/** An IPv6 packet whose first header has the given type and whose payload is these bytes, right or wrong. */
function withNextHeader(type: number, hex: string): Buffer {
  const ends = { source: '2001:db8::1', destination: '2001:db8::2' };
  const packet = ipv6Packet({ ...ends, nextHeader: IpProtocol.NONE, payload: Buffer.from(hex, 'hex') });
  packet[6] = type;
  return packet;
}

const { AH, DSTOPTS, FRAGMENT, HOPOPTS, ROUTING } = IpProtocol;
const destinationOptions = (next: number) => `${next.toString(16).padStart(2, '0')}00010400000000`;

const cases: [ViewClass, Uint8Array, string][] = [
  [EthernetFrame, Buffer.alloc(0), 'the header needs 14 bytes, 0 are present'],
  [EthernetFrame, samples.udp.subarray(0, 13), 'the header needs 14 bytes, 13 are present'],
  [
    EthernetFrame,
    samples.doubleTagged.subarray(0, 14),
    'the header with VLAN tags needs 18 bytes, 14 are present',
  ],
  [
    EthernetFrame,
    samples.doubleTagged.subarray(0, 21),
    'the header with VLAN tags needs 22 bytes, 21 are present',
  ],
  [
    EthernetFrame,
    patched(samples.doubleTagged, { 21: 7 }),
    '802.3 length 7 exceeds the 6 bytes of payload present',
  ],

  [ArpPacket, arp.subarray(0, 27), 'the header needs 28 bytes, 27 are present'],
  [ArpPacket, patched(arp, { 1: 6 }), 'hardware type 6 is not Ethernet (1)'],
  [ArpPacket, patched(arp, { 2: 0x86, 3: 0xdd }), 'protocol type 0x86dd is not IPv4'],
  [ArpPacket, patched(arp, { 4: 8 }), 'hardware address length 8 is not 6'],
  [ArpPacket, patched(arp, { 5: 16 }), 'protocol address length 16 is not 4'],

  [Ipv4Packet, ipv4.subarray(0, 19), 'the header needs 20 bytes, 19 are present'],
  [Ipv4Packet, patched(ipv4, { 0: 0x65 }), 'version 6 is not 4'],
  [Ipv4Packet, patched(ipv4, { 0: 0x44 }), 'header length 16 is less than 20'],
  [Ipv4Packet, patched(ipv4, { 0: 0x4f }), 'total length 44 is less than the header length 60'],
  [Ipv4Packet, patched(ipv4, { 2: 0, 3: 0 }), 'total length 0 is less than the header length 20'],
  [Ipv4Packet, patched(ipv4, { 3: 45 }), 'total length 45 exceeds the 44 bytes present'],
  [Ipv4Packet, patched(ipv4, { 2: 0xff, 3: 0xff }), 'total length 65535 exceeds the 44 bytes present'],

  [Ipv6Packet, ipv6.subarray(0, 39), 'the header needs 40 bytes, 39 are present'],
  [Ipv6Packet, patched(ipv6, { 0: 0x45 }), 'version 4 is not 6'],
  [Ipv6Packet, patched(ipv6, { 5: 25 }), 'payload length 25 exceeds the 24 bytes of payload present'],
  [Ipv6Packet, withNextHeader(DSTOPTS, ''), 'extension header 60 needs 8 bytes, 0 are left'],
  [Ipv6Packet, withNextHeader(ROUTING, '3b000000000000'), 'extension header 43 needs 8 bytes, 7 are left'],
  [Ipv6Packet, withNextHeader(DSTOPTS, '3b01010400000000'), 'extension header 60 needs 16 bytes, 8 are left'],
  [
    Ipv6Packet,
    withNextHeader(HOPOPTS, '3bff010400000000'),
    'extension header 0 needs 2048 bytes, 8 are left',
  ],
  [Ipv6Packet, withNextHeader(AH, '3b04000000000000'), 'extension header 51 needs 24 bytes, 8 are left'],
  [Ipv6Packet, withNextHeader(AH, '3b00000000000000'), 'authentication header length 8 is less than 12'],
  [Ipv6Packet, withNextHeader(FRAGMENT, '3b00000100'), 'extension header 44 needs 8 bytes, 5 are left'],
  [
    Ipv6Packet,
    withNextHeader(DSTOPTS, destinationOptions(HOPOPTS) + destinationOptions(IpProtocol.NONE)),
    'hop-by-hop options are not the first extension header',
  ],
  [Ipv6Packet, withNextHeader(FRAGMENT, '2c00000000000000'.repeat(2)), 'more than one fragment header'],
  [
    Ipv6Packet,
    withNextHeader(DSTOPTS, destinationOptions(DSTOPTS).repeat(9)),
    'more than 8 extension headers',
  ],

  [Icmpv4Packet, ipv4PayloadOf('echoRequest').subarray(0, 7), 'the header needs 8 bytes, 7 are present'],
  [Icmpv6Packet, ipv6PayloadOf('echoRequestV6').subarray(0, 7), 'the header needs 8 bytes, 7 are present'],

  [NeighborMessage, solicitation.subarray(0, 23), 'the header needs 24 bytes, 23 are present'],
  [
    NeighborMessage,
    patched(solicitation, { 0: 128 }),
    'ICMPv6 type 128 is neither a neighbor solicitation nor an advertisement',
  ],
  [NeighborMessage, patched(solicitation, { 1: 1 }), 'code 1 is not 0'],
  [NeighborMessage, solicitation.subarray(0, 25), 'an option needs 2 bytes, 1 are left'],
  [NeighborMessage, patched(solicitation, { 25: 0 }), 'option 1 has length 0'],
  [NeighborMessage, patched(solicitation, { 25: 2 }), 'option 1 needs 16 bytes, 8 are left'],

  [UdpDatagram, udp.subarray(0, 7), 'the header needs 8 bytes, 7 are present'],
  [UdpDatagram, patched(udp, { 5: 7 }), 'length 7 is less than 8'],
  [UdpDatagram, patched(udp, { 5: 14 }), 'length 14 exceeds the 13 bytes present'],

  [TcpSegment, tcp.subarray(0, 19), 'the header needs 20 bytes, 19 are present'],
  [TcpSegment, patched(tcp, { 12: 0x40 }), 'data offset 16 is less than 20'],
  [TcpSegment, patched(tcp, { 12: 0xb0 }), 'data offset 44 exceeds the 40 bytes present'],
];

describe('malformed bytes', () => {
  for (const [View, bytes, reason] of cases) {
    it(`are no ${View.name}: ${reason}`, () => {
      assert.equal(View.check(bytes), reason);
      assert.equal(View.parse(bytes), undefined);
      assert.throws(() => new View(bytes), {
        code: 'ERR_PACKET_MALFORMED',
        message: `Malformed ${View.name}: ${reason}`,
      });
    });
  }

  it('are not what is just long enough', () => {
    assert.equal(EthernetFrame.check(samples.udp.subarray(0, 14)), undefined);
    assert.equal(UdpDatagram.check(patched(udp, { 5: 8 }).subarray(0, 8)), undefined);
    assert.equal(
      Ipv6Packet.check(
        withNextHeader(DSTOPTS, destinationOptions(DSTOPTS).repeat(7) + destinationOptions(59)),
      ),
      undefined,
    );
    assert.equal(NeighborMessage.check(solicitation.subarray(0, 24)), undefined);
  });
});

import assert from 'node:assert/strict';
import {
  ArpOperation,
  ArpPacket,
  EthernetFrame,
  EtherType,
  Icmpv4Packet,
  Icmpv4Type,
  Icmpv6Packet,
  Icmpv6Type,
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  NeighborMessage,
  TcpSegment,
  UdpDatagram,
} from 'tuntap-native/packet';
import { fields } from './fields.ts';
import { ipv4PayloadOf, ipv6PayloadOf, packetOf, samples } from './samples.ts';

const known: [string, object, Record<string, unknown>][] = [
  [
    'Ethernet frame',
    new EthernetFrame(samples.arpRequest),
    {
      destination: 'ff:ff:ff:ff:ff:ff',
      destinationBytes: 'ffffffffffff',
      source: '02:00:00:00:00:0a',
      sourceBytes: '02000000000a',
      etherType: EtherType.ARP,
      headerLength: 14,
      vlanTags: [],
      payload: packetOf('arpRequest').toString('hex'),
    },
  ],
  [
    'Ethernet frame with two VLAN tags and an 802.3 length',
    new EthernetFrame(samples.doubleTagged),
    {
      etherType: 3,
      headerLength: 22,
      vlanTags: [
        { id: 100, priority: 3, dropEligible: false, etherType: EtherType.DOT1AD },
        { id: 10, priority: 7, dropEligible: true, etherType: EtherType.DOT1Q },
      ],
      payload: '424203',
    },
  ],
  [
    'ARP request',
    new ArpPacket(packetOf('arpRequest')),
    {
      operation: ArpOperation.REQUEST,
      senderMac: '02:00:00:00:00:0a',
      senderMacBytes: '02000000000a',
      senderAddress: '192.0.2.1',
      senderAddressBytes: 'c0000201',
      targetMac: '00:00:00:00:00:00',
      targetMacBytes: '000000000000',
      targetAddress: '192.0.2.2',
      targetAddressBytes: 'c0000202',
    },
  ],
  [
    'IPv4 packet',
    new Ipv4Packet(packetOf('echoRequest')),
    {
      version: 4,
      headerLength: 20,
      dscp: 0,
      ecn: 0,
      totalLength: 44,
      identification: 0xb6a6,
      dontFragment: true,
      moreFragments: false,
      fragmentOffset: 0,
      isFragment: false,
      ttl: 64,
      protocol: IpProtocol.ICMP,
      checksum: 0x0027,
      checksumValid: true,
      source: '192.0.2.1',
      sourceBytes: 'c0000201',
      destination: '192.0.2.2',
      destinationBytes: 'c0000202',
      options: '',
      payload: ipv4PayloadOf('echoRequest').toString('hex'),
    },
  ],
  [
    'IPv4 fragment',
    new Ipv4Packet(packetOf('lastFragment')),
    { fragmentOffset: 2960, moreFragments: false, isFragment: true, checksumValid: true },
  ],
  ['IPv4 packet with a traffic class', new Ipv4Packet(packetOf('portUnreachable')), { dscp: 48, ecn: 0 }],
  [
    'IPv6 packet',
    new Ipv6Packet(packetOf('echoRequestV6')),
    {
      version: 6,
      trafficClass: 0,
      flowLabel: 0x9a7b5,
      payloadLength: 24,
      nextHeader: IpProtocol.ICMPV6,
      hopLimit: 64,
      source: '2001:db8::1',
      sourceBytes: '20010db8000000000000000000000001',
      destination: '2001:db8::2',
      destinationBytes: '20010db8000000000000000000000002',
      upperProtocol: IpProtocol.ICMPV6,
      moreFragments: false,
      fragmentOffset: 0,
      identification: 0,
      isFragment: false,
      payload: ipv6PayloadOf('echoRequestV6').toString('hex'),
    },
  ],
  [
    'IPv6 packet with hop-by-hop options',
    new Ipv6Packet(packetOf('multicastListenerReport')),
    {
      nextHeader: IpProtocol.HOPOPTS,
      upperProtocol: IpProtocol.ICMPV6,
      payload: ipv6PayloadOf('multicastListenerReport').subarray(8).toString('hex'),
    },
  ],
  [
    'IPv6 fragment',
    new Ipv6Packet(packetOf('lastFragmentV6')),
    {
      nextHeader: IpProtocol.FRAGMENT,
      upperProtocol: IpProtocol.ICMPV6,
      moreFragments: false,
      fragmentOffset: 2896,
      identification: 0x99ad919d,
      isFragment: true,
      payload: '48494a4b4c4d4e4f',
    },
  ],
  [
    'ICMP echo request',
    new Icmpv4Packet(ipv4PayloadOf('echoRequest')),
    {
      type: Icmpv4Type.ECHO_REQUEST,
      code: 0,
      checksum: 0x4ab8,
      checksumValid: true,
      identifier: 0x0df1,
      sequence: 1,
      restOfHeader: 0x0df10001,
      payload: '93f4046b0000000006f6000000000000',
    },
  ],
  [
    'ICMP error',
    new Icmpv4Packet(ipv4PayloadOf('portUnreachable')),
    {
      type: Icmpv4Type.DESTINATION_UNREACHABLE,
      code: 3,
      checksumValid: true,
      payload: packetOf('udp').toString('hex'),
    },
  ],
  [
    'ICMPv6 echo reply',
    new Icmpv6Packet(ipv6PayloadOf('echoReplyV6')),
    { type: Icmpv6Type.ECHO_REPLY, code: 0, checksum: 0x20d8, identifier: 0x0df2, sequence: 1 },
  ],
  [
    'neighbor solicitation',
    new NeighborMessage(ipv6PayloadOf('neighborSolicitation')),
    {
      type: Icmpv6Type.NEIGHBOR_SOLICITATION,
      router: false,
      solicited: false,
      override: false,
      target: '2001:db8::2',
      targetBytes: '20010db8000000000000000000000002',
      linkLayerAddress: '02:00:00:00:00:0a',
    },
  ],
  [
    'neighbor advertisement',
    new NeighborMessage(ipv6PayloadOf('neighborAdvertisement')),
    {
      type: Icmpv6Type.NEIGHBOR_ADVERTISEMENT,
      router: false,
      solicited: true,
      override: true,
      target: '2001:db8::2',
      linkLayerAddress: '02:00:00:00:00:0b',
    },
  ],
  [
    'solicitation without a link-layer address',
    new NeighborMessage(ipv6PayloadOf('duplicateAddressDetection')),
    { target: 'fe80::ff:fe00:a', linkLayerAddress: undefined },
  ],
  [
    'UDP datagram',
    new UdpDatagram(ipv4PayloadOf('udp')),
    { sourcePort: 55355, destinationPort: 5353, length: 13, checksum: 0x3ec3, payload: '7175657279' },
  ],
  [
    'TCP SYN',
    new TcpSegment(ipv4PayloadOf('tcpSyn')),
    {
      sourcePort: 58936,
      destinationPort: 5000,
      sequenceNumber: 4043983398,
      acknowledgmentNumber: 0,
      headerLength: 40,
      fin: false,
      syn: true,
      rst: false,
      psh: false,
      ack: false,
      urg: false,
      ece: false,
      cwr: false,
      window: 64240,
      checksum: 0x9b9f,
      urgentPointer: 0,
      options: '020405b40402080adcae1bc8000000000103030a',
      payload: '',
    },
  ],
  [
    'TCP segment with data',
    new TcpSegment(ipv4PayloadOf('tcpData')),
    {
      headerLength: 32,
      psh: true,
      ack: true,
      syn: false,
      acknowledgmentNumber: 139508490,
      payload: '68656c6c6f',
    },
  ],
];

describe('views of known bytes', () => {
  for (const [name, view, expected] of known) {
    it(`${name}`, () => {
      assert.deepEqual(fields(view, Object.keys(expected)), expected);
    });
  }

  it('verify the checksums of the upper layers between the addresses of the packet', () => {
    const ipv4 = new Ipv4Packet(packetOf('tcpSyn'));
    assert.ok(new TcpSegment(ipv4.payload).verifyChecksum(ipv4));
    const udp = new Ipv4Packet(packetOf('udp'));
    assert.ok(new UdpDatagram(udp.payload).verifyChecksum(udp));
    const udpV6 = new Ipv6Packet(packetOf('udpV6'));
    assert.ok(new UdpDatagram(udpV6.payload).verifyChecksum(udpV6));
    for (const name of ['echoRequestV6', 'multicastListenerReport', 'neighborAdvertisement'] as const) {
      const packet = new Ipv6Packet(packetOf(name));
      assert.ok(new Icmpv6Packet(packet.payload).verifyChecksum(packet), name);
      packet.hopLimit -= 1;
      assert.ok(new Icmpv6Packet(packet.payload).verifyChecksum(packet), 'the hop limit is not covered');
      packet.source = '2001:db8::bad';
      assert.ok(!new Icmpv6Packet(packet.payload).verifyChecksum(packet), 'the addresses are covered');
    }
  });
});

describe('a view', () => {
  it('shares the bytes it was given, in both directions', () => {
    const bytes = Uint8Array.from(packetOf('echoRequest'));
    const packet = new Ipv4Packet(bytes);
    packet.ttl = 7;
    assert.equal(bytes[8], 7);
    packet.payload[0] = 99;
    assert.equal(bytes[20], 99);
    bytes[9] = IpProtocol.UDP;
    assert.equal(packet.protocol, IpProtocol.UDP);
  });

  it('ends where the length field of the packet says, not where padding does', () => {
    const padding = Buffer.alloc(18, 0xee);
    const cases = [
      [Ipv4Packet, packetOf('echoRequest')],
      [Ipv6Packet, packetOf('echoRequestV6')],
      [UdpDatagram, ipv4PayloadOf('udp')],
      [ArpPacket, packetOf('arpRequest')],
    ] as const;
    for (const [View, bytes] of cases)
      assert.deepEqual(new View(Buffer.concat([bytes, padding])).bytes, bytes);
  });

  it('works at any offset of a larger buffer', () => {
    const slab = Buffer.concat([Buffer.alloc(13, 0xee), packetOf('udp'), Buffer.alloc(13, 0xee)]);
    const packet = new Ipv4Packet(slab.subarray(13));
    assert.ok(packet.checksumValid);
    assert.ok(new UdpDatagram(packet.payload).verifyChecksum(packet));
  });

  it('parses with a detached `parse`, as a callback', () => {
    assert.equal([packetOf('udp'), Buffer.alloc(3)].map(Ipv4Packet.parse).filter(Boolean).length, 1);
  });

  it('throws for malformed bytes with the reason and a code, and for what is no bytes', () => {
    assert.throws(() => new Ipv4Packet(Buffer.alloc(19)), {
      name: 'Error',
      code: 'ERR_PACKET_MALFORMED',
      message: 'Malformed Ipv4Packet: the header needs 20 bytes, 19 are present',
    });
    assert.throws(() => new Ipv4Packet('text' as unknown as Uint8Array), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => new UdpDatagram(new ArrayBuffer(8) as unknown as Uint8Array), {
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });
});

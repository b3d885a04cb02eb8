import assert from 'node:assert/strict';
import {
  EthernetFrame,
  EtherType,
  ethernetFrame,
  Icmpv4Packet,
  Icmpv4Type,
  Icmpv6Packet,
  Icmpv6Type,
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  icmpv4Error,
  icmpv4Packet,
  icmpv6Packet,
  ipv4Packet,
  ipv6Packet,
  NeighborMessage,
  parseIpv6,
  replyToArp,
  replyToEcho,
  replyToNeighborSolicitation,
} from 'tuntap-native/packet';
import { ipv4PayloadOf, ipv6PayloadOf, packetOf, patched, samples } from './samples.ts';

const ipv4Host = { mac: '02:00:00:00:00:0b', address: '192.0.2.2' };
const ipv6Host = { mac: '02:00:00:00:00:0b', address: '2001:db8::2' };

/** A captured packet with some fields of its IPv4 header changed and all checksums right again. */
function ipv4With(name: keyof typeof samples, change: (packet: Ipv4Packet) => void): Buffer {
  const packet = new Ipv4Packet(packetOf(name));
  change(packet);
  packet.fillChecksum();
  return packet.bytes;
}

/** A captured ICMPv6 packet with some fields changed and all checksums right again. */
function icmpv6With(name: keyof typeof samples, change: (packet: Ipv6Packet) => void): Buffer {
  const packet = new Ipv6Packet(packetOf(name));
  change(packet);
  new Icmpv6Packet(packet.payload).fillChecksum(packet);
  return packet.bytes;
}

describe('replyToEcho', () => {
  it('gives the ICMP message that Linux gave', () => {
    const reply = new Ipv4Packet(replyToEcho(packetOf('echoRequest')) ?? Buffer.alloc(0));
    assert.deepEqual(reply.payload, ipv4PayloadOf('echoReply'));
    assert.deepEqual([reply.source, reply.destination, reply.ttl], ['192.0.2.2', '192.0.2.1', 64]);
    assert.ok(reply.checksumValid);
  });

  it('gives the ICMPv6 message that Linux gave', () => {
    const reply = new Ipv6Packet(replyToEcho(packetOf('echoRequestV6')) ?? Buffer.alloc(0));
    assert.deepEqual(reply.payload, ipv6PayloadOf('echoReplyV6'));
    assert.deepEqual([reply.source, reply.destination, reply.hopLimit], ['2001:db8::2', '2001:db8::1', 64]);
  });

  it('leaves the request as it was', () => {
    const request = packetOf('echoRequest');
    replyToEcho(request);
    assert.deepEqual(request, packetOf('echoRequest'));
  });

  it('cuts off trailing padding', () => {
    const padded = Buffer.concat([packetOf('echoRequest'), Buffer.alloc(2)]);
    assert.deepEqual(replyToEcho(padded), replyToEcho(packetOf('echoRequest')));
  });

  it('answers requests of the largest size', () => {
    const ends = { source: '192.0.2.1', destination: '192.0.2.2' };
    const request = icmpv4Packet({ type: Icmpv4Type.ECHO_REQUEST, payload: Buffer.alloc(65535 - 28, 0xff) });
    const reply = replyToEcho(ipv4Packet({ ...ends, protocol: IpProtocol.ICMP, payload: request }));
    assert.equal(reply?.length, 65535);
    const endsV6 = { source: '2001:db8::1', destination: '2001:db8::2' };
    const requestV6 = icmpv6Packet({
      ...endsV6,
      type: Icmpv6Type.ECHO_REQUEST,
      payload: Buffer.alloc(65535 - 8),
    });
    const replyV6 = replyToEcho(ipv6Packet({ ...endsV6, nextHeader: IpProtocol.ICMPV6, payload: requestV6 }));
    assert.equal(replyV6?.length, 65575);
  });

  const ignored: [string, Uint8Array][] = [
    ['an echo reply', packetOf('echoReply')],
    ['an ICMPv6 echo reply', packetOf('echoReplyV6')],
    ['another ICMP message', packetOf('portUnreachable')],
    ['another ICMPv6 message', packetOf('neighborSolicitation')],
    ['another protocol', packetOf('udp')],
    ['a fragment', packetOf('lastFragment')],
    ['an IPv6 fragment', packetOf('lastFragmentV6')],
    ['a first fragment', ipv4With('echoRequest', ({ bytes }) => (bytes[6] = 0x20))],
    ['a multicast destination', ipv4With('echoRequest', (packet) => (packet.destination = '224.0.0.1'))],
    [
      'the broadcast destination',
      ipv4With('echoRequest', (packet) => (packet.destination = '255.255.255.255')),
    ],
    ['a multicast source', ipv4With('echoRequest', (packet) => (packet.source = '224.0.0.1'))],
    ['the unspecified source', ipv4With('echoRequest', (packet) => (packet.source = '0.0.0.0'))],
    [
      'an IPv6 multicast destination',
      icmpv6With('echoRequestV6', (packet) => (packet.destination = 'ff02::1')),
    ],
    ['an IPv6 multicast source', icmpv6With('echoRequestV6', (packet) => (packet.source = 'ff02::1'))],
    ['the unspecified IPv6 source', icmpv6With('echoRequestV6', (packet) => (packet.source = '::'))],
    ['a wrong header checksum', patched(packetOf('echoRequest'), { 11: 0 })],
    ['a wrong ICMP checksum', patched(packetOf('echoRequest'), { 43: 1 })],
    ['a wrong ICMPv6 checksum', patched(packetOf('echoRequestV6'), { 63: 1 })],
    ['half a packet', packetOf('echoRequest').subarray(0, 30)],
    ['an Ethernet frame', samples.echoRequest],
    ['nothing', Buffer.alloc(0)],
  ];
  for (const [name, bytes] of ignored)
    it(`ignores ${name}`, () => assert.equal(replyToEcho(bytes), undefined));
});

describe('replyToArp', () => {
  it('gives the frame that Linux gave', () => {
    assert.deepEqual(replyToArp(samples.arpRequest, ipv4Host), samples.arpReply);
  });

  it('answers in the VLAN that the request came from', () => {
    const { source, destination, etherType, payload } = new EthernetFrame(samples.arpRequest);
    const vlan = [{ id: 7, priority: 1, dropEligible: false, etherType: EtherType.DOT1Q }];
    const tagged = ethernetFrame({ source, destination, etherType, payload, vlan });
    assert.deepEqual(new EthernetFrame(replyToArp(tagged, ipv4Host) ?? Buffer.alloc(0)).vlanTags, vlan);
  });

  it('ignores replies, other addresses, other frames and malformed ones', () => {
    assert.equal(replyToArp(samples.arpReply, { ...ipv4Host, address: '192.0.2.1' }), undefined);
    assert.equal(replyToArp(samples.arpRequest, { ...ipv4Host, address: '192.0.2.3' }), undefined);
    assert.equal(replyToArp(samples.udp, ipv4Host), undefined);
    assert.equal(replyToArp(samples.arpRequest.subarray(0, 41), ipv4Host), undefined);
    assert.equal(replyToArp(Buffer.alloc(0), ipv4Host), undefined);
  });

  it('throws for what is no IPv4 address', () => {
    assert.throws(() => replyToArp(samples.udp, ipv6Host), { code: 'ERR_INVALID_ARG_VALUE' });
  });
});

describe('replyToNeighborSolicitation', () => {
  const header = samples.neighborSolicitation.subarray(0, 14);
  const solicitationWith = (change: (packet: Ipv6Packet) => void) =>
    Buffer.concat([header, icmpv6With('neighborSolicitation', change)]);

  it('gives the frame that Linux gave', () => {
    const reply = replyToNeighborSolicitation(samples.neighborSolicitation, ipv6Host);
    assert.deepEqual(reply, samples.neighborAdvertisement);
  });

  it('tells all nodes that an address is taken', () => {
    const host = { mac: '02:00:00:00:00:0b', address: 'fe80::ff:fe00:a' };
    const reply = replyToNeighborSolicitation(samples.duplicateAddressDetection, host);
    const frame = new EthernetFrame(reply ?? Buffer.alloc(0));
    const packet = new Ipv6Packet(frame.payload);
    const message = new NeighborMessage(packet.payload);
    assert.deepEqual(
      [
        frame.destination,
        packet.destination,
        packet.hopLimit,
        message.solicited,
        message.override,
        message.target,
      ],
      ['33:33:00:00:00:01', 'ff02::1', 255, false, true, 'fe80::ff:fe00:a'],
    );
    assert.ok(new Icmpv6Packet(packet.payload).verifyChecksum(packet));
  });

  it("answers to the frame's source if the solicitation tells no link-layer address", () => {
    const ends = { source: '2001:db8::1', destination: 'ff02::1:ff00:2' };
    const type = Icmpv6Type.NEIGHBOR_SOLICITATION;
    const payload = icmpv6Packet({ ...ends, type, payload: parseIpv6('2001:db8::2') });
    const packet = ipv6Packet({ ...ends, nextHeader: IpProtocol.ICMPV6, hopLimit: 255, payload });
    const reply = replyToNeighborSolicitation(Buffer.concat([header, packet]), ipv6Host);
    assert.deepEqual(reply, samples.neighborAdvertisement);
  });

  const ignored: [string, Uint8Array][] = [
    ['an advertisement', samples.neighborAdvertisement],
    ['a solicitation for another address', samples.duplicateAddressDetection],
    ['a hop limit that a router has seen', solicitationWith((packet) => (packet.hopLimit = 254))],
    ['a wrong checksum', patched(samples.neighborSolicitation, { 85: 0 })],
    ['another code', solicitationWith((packet) => (packet.payload[1] = 1))],
    ['an option of length 0', solicitationWith((packet) => (packet.payload[25] = 0))],
    ['a multicast source', solicitationWith((packet) => (packet.source = 'ff02::1'))],
    [
      'the unspecified source with a link-layer address',
      solicitationWith((packet) => (packet.source = '::')),
    ],
    [
      'the unspecified source to a unicast destination',
      solicitationWith((packet) => {
        packet.source = '::';
        packet.destination = '2001:db8::2';
      }),
    ],
    ['extension headers', samples.multicastListenerReport],
    ['another protocol', samples.udpV6],
    ['an ARP request', samples.arpRequest],
    ['a packet cut off', samples.neighborSolicitation.subarray(0, 80)],
    ['nothing', Buffer.alloc(0)],
  ];
  for (const [name, frame] of ignored) {
    it(`ignores ${name}`, () => assert.equal(replyToNeighborSolicitation(frame, ipv6Host), undefined));
  }
});

describe('icmpv4Error', () => {
  const unreachable = { type: Icmpv4Type.DESTINATION_UNREACHABLE, code: 3, source: '192.0.2.2' };

  it('gives the message that Linux gave', () => {
    const error = new Ipv4Packet(icmpv4Error(packetOf('udp'), unreachable) ?? Buffer.alloc(0));
    const captured = new Ipv4Packet(packetOf('portUnreachable'));
    assert.deepEqual(error.payload, captured.payload);
    assert.deepEqual(
      [error.source, error.destination, error.dscp],
      [captured.source, captured.destination, captured.dscp],
    );
  });

  it('carries the next-hop MTU of a packet that is too big', () => {
    const fields = { ...unreachable, code: 4, restOfHeader: 1420 };
    const error = new Ipv4Packet(icmpv4Error(packetOf('tcpSyn'), fields) ?? Buffer.alloc(0));
    assert.equal(new Icmpv4Packet(error.payload).restOfHeader, 1420);
  });

  it('is at most 576 bytes long', () => {
    const ends = { source: '192.0.2.1', destination: '192.0.2.2', protocol: IpProtocol.UDP };
    const large = ipv4Packet({ ...ends, payload: Buffer.alloc(1400, 0xab) });
    const error = icmpv4Error(large, unreachable);
    assert.equal(error?.length, 576);
    assert.deepEqual(error.subarray(28), large.subarray(0, 548));
  });

  it('answers an ICMP message that is no error, and a first fragment', () => {
    assert.ok(icmpv4Error(packetOf('echoRequest'), unreachable));
    assert.ok(icmpv4Error(patched(packetOf('udp'), { 6: 0x20 }), unreachable));
  });

  const unanswered: [string, Uint8Array][] = [
    ['an ICMP error', packetOf('portUnreachable')],
    [
      'an ICMP message without a type',
      ipv4Packet({
        source: '192.0.2.1',
        destination: '192.0.2.2',
        protocol: IpProtocol.ICMP,
        payload: Buffer.alloc(0),
      }),
    ],
    ['a later fragment', packetOf('lastFragment')],
    ...['224.0.0.251', '239.1.1.1', '255.255.255.255'].map((address): [string, Uint8Array] => [
      `destination ${address}`,
      ipv4With('udp', (packet) => (packet.destination = address)),
    ]),
    ...['0.0.0.0', '127.0.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255'].map(
      (address): [string, Uint8Array] => [
        `source ${address}`,
        ipv4With('udp', (packet) => (packet.source = address)),
      ],
    ),
    ['IPv6', packetOf('udpV6')],
    ['a malformed packet', packetOf('udp').subarray(0, 21)],
  ];
  for (const [name, packet] of unanswered) {
    it(`is not sent in answer to ${name}`, () => assert.equal(icmpv4Error(packet, unreachable), undefined));
  }

  it('refuses types that are no errors', () => {
    for (const type of [Icmpv4Type.ECHO_REPLY, 300]) {
      assert.throws(() => icmpv4Error(packetOf('udp'), { ...unreachable, type }), {
        code: 'ERR_INVALID_ARG_VALUE',
      });
    }
  });
});

import assert from 'node:assert/strict';
import {
  EthernetFrame,
  EtherType,
  Icmpv4Packet,
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  TcpSegment,
  UdpDatagram,
} from 'tuntap-native/packet';
import { fields } from './fields.ts';
import { ipv4PayloadOf, packetOf, patched, samples } from './samples.ts';

describe('setters', () => {
  it('of an Ethernet frame write addresses and type, behind VLAN tags too', () => {
    const frame = new EthernetFrame(Buffer.from(samples.doubleTagged));
    frame.destination = '02:00:5e:10:00:01';
    frame.source = '02:00:5e:10:00:02';
    frame.etherType = EtherType.IPV6;
    assert.deepEqual(fields(frame, ['destination', 'source', 'etherType', 'headerLength']), {
      destination: '02:00:5e:10:00:01',
      source: '02:00:5e:10:00:02',
      etherType: EtherType.IPV6,
      headerLength: 22,
    });
  });

  it('of an IPv4 packet leave the neighbouring fields alone', () => {
    const packet = new Ipv4Packet(patched(packetOf('echoRequest'), { 6: 0xff, 7: 0xff }));
    const before = { moreFragments: true, fragmentOffset: 65528, protocol: IpProtocol.ICMP };
    packet.dscp = 46;
    packet.ecn = 1;
    packet.identification = 0x1234;
    packet.dontFragment = false;
    packet.ttl = 3;
    packet.source = '198.51.100.1';
    packet.destination = '203.0.113.1';
    const expected = {
      ...before,
      dscp: 46,
      ecn: 1,
      identification: 0x1234,
      dontFragment: false,
      ttl: 3,
      source: '198.51.100.1',
      destination: '203.0.113.1',
    };
    assert.deepEqual(fields(packet, Object.keys(expected)), expected);
    packet.dontFragment = true;
    assert.deepEqual(fields(packet, Object.keys(before)), before);
  });

  it('of an IPv6 packet leave the neighbouring fields alone', () => {
    const packet = new Ipv6Packet(packetOf('echoRequestV6'));
    packet.trafficClass = 0xff;
    assert.deepEqual([packet.version, packet.trafficClass, packet.flowLabel], [6, 0xff, 0x9a7b5]);
    packet.flowLabel = 0;
    assert.deepEqual([packet.version, packet.trafficClass, packet.flowLabel], [6, 0xff, 0]);
    packet.trafficClass = 0;
    packet.flowLabel = 0xfffff;
    assert.deepEqual([packet.version, packet.trafficClass, packet.flowLabel], [6, 0, 0xfffff]);
    packet.destination = 'ff02::1';
    assert.equal(packet.destination, 'ff02::1');
  });

  it('of messages, datagrams and segments write what the getters read', () => {
    const icmp = new Icmpv4Packet(ipv4PayloadOf('echoRequest'));
    Object.assign(icmp, { type: 0, code: 9, identifier: 0xfffe, sequence: 0xfffd });
    assert.deepEqual(fields(icmp, ['type', 'code', 'restOfHeader']), {
      type: 0,
      code: 9,
      restOfHeader: 0xfffefffd,
    });
    const udp = new UdpDatagram(ipv4PayloadOf('udp'));
    Object.assign(udp, { sourcePort: 65535, destinationPort: 1 });
    assert.deepEqual([udp.sourcePort, udp.destinationPort], [65535, 1]);
    const tcp = new TcpSegment(ipv4PayloadOf('tcpSyn'));
    const changes = {
      sourcePort: 1,
      destinationPort: 65535,
      sequenceNumber: 0xffffffff,
      acknowledgmentNumber: 0x80000000,
      window: 0xffff,
    };
    Object.assign(tcp, changes);
    assert.deepEqual(fields(tcp, Object.keys(changes)), changes);
  });

  it('refuse what does not fit the field', () => {
    const packet = new Ipv4Packet(packetOf('tcpSyn'));
    const segment = new TcpSegment(packet.payload);
    const before = Buffer.from(packet.bytes);
    const rangeError = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' };
    assert.throws(() => (packet.ttl = 256), rangeError);
    assert.throws(() => (packet.dscp = 64), rangeError);
    assert.throws(() => (packet.ecn = -1), rangeError);
    assert.throws(() => (packet.identification = 1.5), rangeError);
    assert.throws(() => (segment.sourcePort = 70000), rangeError);
    assert.throws(() => (segment.sequenceNumber = 2 ** 32), rangeError);
    assert.throws(() => (packet.source = '::1'), { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' });
    assert.throws(() => (packet.dontFragment = 1 as unknown as boolean), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.deepEqual(packet.bytes, before);
  });
});

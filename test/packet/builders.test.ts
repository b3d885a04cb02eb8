import assert from 'node:assert/strict';
import {
  ArpOperation,
  arpPacket,
  EthernetFrame,
  EtherType,
  ethernetFrame,
  Icmpv4Packet,
  Icmpv4Type,
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  icmpv4Packet,
  icmpv6Packet,
  ipv4Packet,
  ipv6Packet,
  NeighborMessage,
  neighborAdvertisement,
  TcpSegment,
  tcpSegment,
  UdpDatagram,
  udpDatagram,
} from 'tuntap-native/packet';
import { fields } from './fields.ts';
import { ipv4PayloadOf, ipv6PayloadOf, packetOf, samples } from './samples.ts';

const macs = { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' };
const ends = { source: '192.0.2.1', destination: '192.0.2.2' };
const endsV6 = { source: '2001:db8::1', destination: '2001:db8::2' };
const ports = { sourcePort: 55355, destinationPort: 5353 };
const query = Buffer.from('query');

describe('builders', () => {
  it('make the frame around a captured packet', () => {
    const frame = ethernetFrame({ ...macs, etherType: EtherType.IPV4, payload: packetOf('udp') });
    assert.deepEqual(frame, samples.udp);
  });

  it('make the captured frame with two VLAN tags', () => {
    const vlan = [
      { id: 100, priority: 3, etherType: EtherType.DOT1AD },
      { id: 10, priority: 7, dropEligible: true },
    ];
    const payload = samples.doubleTagged.subarray(22);
    const frame = ethernetFrame({
      source: macs.source,
      destination: '01:80:c2:00:00:00',
      etherType: 3,
      vlan,
      payload,
    });
    assert.deepEqual(frame, samples.doubleTagged);
  });

  it('take one VLAN tag without an array', () => {
    const frame = ethernetFrame({ ...macs, etherType: EtherType.IPV4, vlan: { id: 4095 }, payload: query });
    assert.deepEqual(new EthernetFrame(frame).vlanTags, [
      { id: 4095, priority: 0, dropEligible: false, etherType: EtherType.DOT1Q },
    ]);
  });

  it('make the captured ARP packets', () => {
    const request = { senderMac: macs.source, senderAddress: ends.source, targetAddress: ends.destination };
    assert.deepEqual(arpPacket({ operation: ArpOperation.REQUEST, ...request }), packetOf('arpRequest'));
    const reply = {
      senderMac: macs.destination,
      senderAddress: ends.destination,
      targetMac: macs.source,
      targetAddress: ends.source,
    };
    assert.deepEqual(arpPacket({ operation: ArpOperation.REPLY, ...reply }), packetOf('arpReply'));
  });

  it('make the captured UDP packets', () => {
    const payload = udpDatagram({ ...ends, ...ports, payload: query });
    assert.deepEqual(
      ipv4Packet({ ...ends, protocol: IpProtocol.UDP, identification: 0xb414, payload }),
      packetOf('udp'),
    );
    const payloadV6 = udpDatagram({ ...endsV6, ...ports, sourcePort: 39911, payload: query });
    assert.deepEqual(
      ipv6Packet({ ...endsV6, nextHeader: IpProtocol.UDP, flowLabel: 0x056c3, payload: payloadV6 }),
      packetOf('udpV6'),
    );
  });

  it('make the captured TCP packets', () => {
    const tcpPorts = { sourcePort: 58936, destinationPort: 5000 };
    const syn = tcpSegment({
      ...ends,
      ...tcpPorts,
      sequenceNumber: 4043983398,
      syn: true,
      window: 64240,
      options: ipv4PayloadOf('tcpSyn').subarray(20),
    });
    assert.deepEqual(syn, ipv4PayloadOf('tcpSyn'));
    const data = tcpSegment({
      ...ends,
      ...tcpPorts,
      sequenceNumber: 4043983399,
      acknowledgmentNumber: 139508490,
      ack: true,
      psh: true,
      window: 63,
      options: ipv4PayloadOf('tcpData').subarray(20, 32),
      payload: Buffer.from('hello'),
    });
    assert.deepEqual(data, ipv4PayloadOf('tcpData'));
  });

  it('make the captured ICMP messages', () => {
    const echo = { identifier: 0x0df1, sequence: 1, payload: ipv4PayloadOf('echoRequest').subarray(8) };
    assert.deepEqual(icmpv4Packet({ type: Icmpv4Type.ECHO_REQUEST, ...echo }), ipv4PayloadOf('echoRequest'));
    const data = ipv6PayloadOf('echoRequestV6').subarray(8);
    assert.deepEqual(
      icmpv6Packet({ ...endsV6, type: 128, restOfHeader: 0x0df20001, payload: data }),
      ipv6PayloadOf('echoRequestV6'),
    );
    assert.deepEqual(
      neighborAdvertisement({
        source: '2001:db8::2',
        destination: '2001:db8::1',
        target: '2001:db8::2',
        mac: macs.destination,
        solicited: true,
      }),
      ipv6PayloadOf('neighborAdvertisement'),
    );
  });

  it('encode every field that the views decode', () => {
    const ipv4 = {
      ...ends,
      protocol: 253,
      dscp: 63,
      ecn: 3,
      identification: 65535,
      dontFragment: false,
      ttl: 255,
    };
    assert.deepEqual(
      fields(new Ipv4Packet(ipv4Packet({ ...ipv4, payload: query })), Object.keys(ipv4)),
      ipv4,
    );
    const ipv6 = { ...endsV6, nextHeader: 253, trafficClass: 255, flowLabel: 0xfffff, hopLimit: 0 };
    assert.deepEqual(
      fields(new Ipv6Packet(ipv6Packet({ ...ipv6, payload: query })), Object.keys(ipv6)),
      ipv6,
    );
    const tcp = {
      sourcePort: 0,
      destinationPort: 65535,
      sequenceNumber: 0xffffffff,
      acknowledgmentNumber: 0xfffffffe,
      window: 0,
      urgentPointer: 65535,
    };
    const allFlags = {
      fin: true,
      syn: true,
      rst: true,
      psh: true,
      ack: true,
      urg: true,
      ece: true,
      cwr: true,
    };
    for (const flag of Object.keys(allFlags)) {
      const one = {
        ...tcp,
        ...Object.fromEntries(Object.keys(allFlags).map((name) => [name, name === flag])),
      };
      assert.deepEqual(fields(new TcpSegment(tcpSegment({ ...ends, ...one })), Object.keys(one)), one);
    }
    const message = { router: true, solicited: false, override: false, target: 'fe80::1' };
    const advertisement = neighborAdvertisement({ ...endsV6, ...message, mac: macs.source });
    assert.deepEqual(fields(new NeighborMessage(advertisement), Object.keys(message)), message);
    const icmp = { type: 255, code: 254, restOfHeader: 0xfffefffd };
    assert.deepEqual(fields(new Icmpv4Packet(icmpv4Packet(icmp)), Object.keys(icmp)), icmp);
  });

  it('have defaults that suit a packet of a host', () => {
    const packet = new Ipv4Packet(ipv4Packet({ ...ends, protocol: IpProtocol.UDP, payload: query }));
    assert.deepEqual([packet.ttl, packet.dontFragment, packet.identification], [64, true, 0]);
    assert.equal(new Ipv6Packet(ipv6Packet({ ...endsV6, nextHeader: 17, payload: query })).hopLimit, 64);
  });

  it('fill the largest packets', () => {
    const ipv4 = ipv4Packet({ ...ends, protocol: 253, payload: Buffer.alloc(65515) });
    assert.equal(new Ipv4Packet(ipv4).totalLength, 65535);
    const ipv6 = ipv6Packet({ ...endsV6, nextHeader: 253, payload: Buffer.alloc(65535) });
    assert.equal(new Ipv6Packet(ipv6).payload.length, 65535);
    const udp = udpDatagram({ ...endsV6, ...ports, payload: Buffer.alloc(65527) });
    assert.equal(new UdpDatagram(udp).length, 65535);
  });

  it('send a computed UDP checksum of 0 as 0xffff', () => {
    const probe = new UdpDatagram(udpDatagram({ ...ends, ...ports, sourcePort: 0, payload: query }));
    const datagram = udpDatagram({ ...ends, ...ports, sourcePort: probe.checksum, payload: query });
    assert.equal(new UdpDatagram(datagram).checksum, 0xffff);
  });

  it('give fresh buffers', () => {
    const payload = Buffer.from('payload');
    const packet = ipv4Packet({ ...ends, protocol: 253, payload });
    payload.fill(0);
    assert.equal(packet.subarray(20).toString(), 'payload');
  });
});

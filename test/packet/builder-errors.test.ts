import assert from 'node:assert/strict';
import {
  arpPacket,
  EtherType,
  ethernetFrame,
  IpProtocol,
  icmpv4Packet,
  icmpv6Packet,
  ipv4Packet,
  ipv6Packet,
  neighborAdvertisement,
  tcpSegment,
  udpDatagram,
} from 'tuntap-native/packet';

const macs = { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' };
const ends = { source: '192.0.2.1', destination: '192.0.2.2' };
const endsV6 = { source: '2001:db8::1', destination: '2001:db8::2' };
const ports = { sourcePort: 55355, destinationPort: 5353 };
const query = Buffer.from('query');

describe('builders refuse', () => {
  const ipv4 = { ...ends, protocol: IpProtocol.UDP, payload: query };
  const ipv6 = { ...endsV6, nextHeader: IpProtocol.UDP, payload: query };
  const udp = { ...ends, ...ports, payload: query };
  const tcp = { ...ends, ...ports, sequenceNumber: 0 };
  const frame = { ...macs, etherType: EtherType.IPV4, payload: query };
  const arp = {
    operation: 1,
    senderMac: macs.source,
    senderAddress: ends.source,
    targetAddress: ends.destination,
  };
  const advertisement = { ...endsV6, target: 'fe80::1', mac: macs.source };
  const wrong = (value: unknown) => value as never;

  const cases: [string, () => unknown, string][] = [
    ['a port above 65535', () => udpDatagram({ ...udp, sourcePort: 70000 }), 'ERR_OUT_OF_RANGE'],
    ['a negative port', () => tcpSegment({ ...tcp, destinationPort: -1 }), 'ERR_OUT_OF_RANGE'],
    ['a port that is no integer', () => udpDatagram({ ...udp, sourcePort: 1.5 }), 'ERR_OUT_OF_RANGE'],
    ['a port that is text', () => udpDatagram({ ...udp, sourcePort: wrong('53') }), 'ERR_INVALID_ARG_TYPE'],
    ['a missing port', () => udpDatagram({ ...udp, sourcePort: wrong(undefined) }), 'ERR_INVALID_ARG_TYPE'],
    [
      'a sequence number above 32 bits',
      () => tcpSegment({ ...tcp, sequenceNumber: 2 ** 32 }),
      'ERR_OUT_OF_RANGE',
    ],
    ['a window above 65535', () => tcpSegment({ ...tcp, window: 65536 }), 'ERR_OUT_OF_RANGE'],
    ['a flag that is no boolean', () => tcpSegment({ ...tcp, syn: wrong(1) }), 'ERR_INVALID_ARG_TYPE'],
    [
      'TCP options above 40 bytes',
      () => tcpSegment({ ...tcp, options: Buffer.alloc(41) }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'a TCP payload too large',
      () => tcpSegment({ ...tcp, payload: Buffer.alloc(65516) }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'a UDP payload too large',
      () => udpDatagram({ ...udp, payload: Buffer.alloc(65528) }),
      'ERR_OUT_OF_RANGE',
    ],
    ['addresses of two families', () => udpDatagram({ ...udp, destination: '::1' }), 'ERR_INVALID_ARG_VALUE'],
    ['a TTL above 255', () => ipv4Packet({ ...ipv4, ttl: 256 }), 'ERR_OUT_OF_RANGE'],
    ['a protocol above 255', () => ipv4Packet({ ...ipv4, protocol: 256 }), 'ERR_OUT_OF_RANGE'],
    ['a code point above 63', () => ipv4Packet({ ...ipv4, dscp: 64 }), 'ERR_OUT_OF_RANGE'],
    [
      'IPv4 options above 40 bytes',
      () => ipv4Packet({ ...ipv4, options: Buffer.alloc(41) }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'an IPv4 payload too large',
      () => ipv4Packet({ ...ipv4, payload: Buffer.alloc(65516) }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'a payload too large beside options',
      () => ipv4Packet({ ...ipv4, options: Buffer.alloc(1), payload: Buffer.alloc(65512) }),
      'ERR_OUT_OF_RANGE',
    ],
    ['a payload that is text', () => ipv4Packet({ ...ipv4, payload: wrong('text') }), 'ERR_INVALID_ARG_TYPE'],
    ['an IPv6 address in IPv4', () => ipv4Packet({ ...ipv4, source: '::1' }), 'ERR_INVALID_ARG_VALUE'],
    ['an IPv4 address in IPv6', () => ipv6Packet({ ...ipv6, source: '192.0.2.1' }), 'ERR_INVALID_ARG_VALUE'],
    ['a flow label above 20 bits', () => ipv6Packet({ ...ipv6, flowLabel: 0x100000 }), 'ERR_OUT_OF_RANGE'],
    [
      'an IPv6 payload too large',
      () => ipv6Packet({ ...ipv6, payload: Buffer.alloc(65536) }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'an extension header that is none',
      () => ipv6Packet({ ...ipv6, extensionHeaders: [{ type: 17, bytes: Buffer.alloc(8) }] }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'an extension header of another length',
      () => ipv6Packet({ ...ipv6, extensionHeaders: [{ type: 60, bytes: Buffer.alloc(16) }] }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'an empty extension header',
      () => ipv6Packet({ ...ipv6, extensionHeaders: [{ type: 60, bytes: Buffer.alloc(0) }] }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'hop-by-hop options that are not first',
      () =>
        ipv6Packet({ ...ipv6, extensionHeaders: [60, 0].map((type) => ({ type, bytes: Buffer.alloc(8) })) }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'extension headers too large',
      () =>
        ipv6Packet({
          ...ipv6,
          extensionHeaders: Array.from({ length: 33 }, () => ({ type: 60, bytes: Buffer.alloc(2048, 255) })),
        }),
      'ERR_OUT_OF_RANGE',
    ],
    ['an ICMP type above 255', () => icmpv4Packet({ type: 256 }), 'ERR_OUT_OF_RANGE'],
    [
      'an ICMP payload too large',
      () => icmpv4Packet({ type: 8, payload: Buffer.alloc(65508) }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'an ICMPv6 message between IPv4 addresses',
      () => icmpv6Packet({ ...ends, type: 128 }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a solicited advertisement to all',
      () => neighborAdvertisement({ ...advertisement, destination: 'ff02::1', solicited: true }),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['a type above 16 bits', () => ethernetFrame({ ...frame, etherType: 65536 }), 'ERR_OUT_OF_RANGE'],
    ['a VLAN above 4095', () => ethernetFrame({ ...frame, vlan: { id: 4096 } }), 'ERR_OUT_OF_RANGE'],
    [
      'a priority above 7',
      () => ethernetFrame({ ...frame, vlan: { id: 1, priority: 8 } }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'a tag that is none',
      () => ethernetFrame({ ...frame, vlan: { id: 1, etherType: EtherType.IPV4 } }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'what is no Ethernet address',
      () => ethernetFrame({ ...frame, source: '02-00' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['an ARP operation above 16 bits', () => arpPacket({ ...arp, operation: 65536 }), 'ERR_OUT_OF_RANGE'],
  ];
  for (const [name, build, code] of cases) it(name, () => assert.throws(build, { code }));
});

import assert from 'node:assert/strict';
import {
  ArpOperation,
  arpPacket,
  EtherType,
  ethernetFrame,
  Icmpv4Type,
  Icmpv6Type,
  IpProtocol,
  icmpv4Error,
  icmpv4Packet,
  icmpv6Packet,
  ipv4Packet,
  ipv6Packet,
  neighborAdvertisement,
  replyToEcho,
  replyToNeighborSolicitation,
  tcpSegment,
  udpDatagram,
} from 'tuntap-native/packet';
import { skip } from '../support.ts';
import { packetOf, samples } from './samples.ts';
import { dissect, hasTcpdump } from './tcpdump.ts';

const ends = { source: '192.0.2.1', destination: '192.0.2.2' };
const endsV6 = { source: '2001:db8::1', destination: '2001:db8::2' };
const ports = { sourcePort: 40000, destinationPort: 40001 };
const macs = { source: '02:00:00:00:00:0a', destination: '02:00:00:00:00:0b' };
const ipv4 = (protocol: number, payload: Buffer) => ipv4Packet({ ...ends, protocol, payload });
const ipv6 = (nextHeader: number, payload: Buffer) => ipv6Packet({ ...endsV6, nextHeader, payload });
const segment = { ...ports, sequenceNumber: 1, acknowledgmentNumber: 2, ack: true, cwr: true, ece: true };

/** Odd and even lengths, as the last byte of an odd one is summed differently. */
const payloads = [0, 1, 2, 511, 1200].map((length) => Buffer.alloc(length, 0xa5));

const destinationOptions = { type: IpProtocol.DSTOPTS, bytes: Buffer.from('0000010400000000', 'hex') };

const packets: [string, Buffer, RegExp][] = payloads.flatMap((payload): [string, Buffer, RegExp][] => [
  [
    `TCP over IPv4, ${payload.length} bytes`,
    ipv4(IpProtocol.TCP, tcpSegment({ ...ends, ...segment, payload })),
    /Flags \[\.EW\], cksum 0x[0-9a-f]{4} \(correct\), seq 1(:\d+)?, ack 2, win 65535, length \d+/,
  ],
  [
    `TCP over IPv6, ${payload.length} bytes`,
    ipv6(IpProtocol.TCP, tcpSegment({ ...endsV6, ...segment, payload })),
    /cksum 0x[0-9a-f]{4} \(correct\)/,
  ],
  [
    `UDP over IPv4, ${payload.length} bytes`,
    ipv4(IpProtocol.UDP, udpDatagram({ ...ends, ...ports, payload })),
    new RegExp(`192.0.2.1.40000 > 192.0.2.2.40001: \\[udp sum ok\\] UDP, length ${payload.length}`),
  ],
  [
    `UDP over IPv6, ${payload.length} bytes`,
    ipv6(IpProtocol.UDP, udpDatagram({ ...endsV6, ...ports, payload })),
    /\[udp sum ok\]/,
  ],
  [
    `ICMP, ${payload.length} bytes`,
    ipv4(
      IpProtocol.ICMP,
      icmpv4Packet({ type: Icmpv4Type.ECHO_REQUEST, identifier: 7, sequence: 1, payload }),
    ),
    new RegExp(`ICMP echo request, id 7, seq 1, length ${payload.length + 8}`),
  ],
  [
    `ICMPv6, ${payload.length} bytes`,
    ipv6(
      IpProtocol.ICMPV6,
      icmpv6Packet({ ...endsV6, type: Icmpv6Type.ECHO_REQUEST, identifier: 7, sequence: 1, payload }),
    ),
    /\[icmp6 sum ok\] ICMP6, echo request, id 7, seq 1/,
  ],
]);

packets.push(
  [
    'TCP with options',
    ipv4(IpProtocol.TCP, tcpSegment({ ...ends, ...segment, options: Buffer.from('020405b403030a', 'hex') })),
    /\(correct\).*options \[mss 1460,wscale 10,eol\]/,
  ],
  [
    'UDP behind extension headers',
    ipv6Packet({
      ...endsV6,
      nextHeader: IpProtocol.UDP,
      extensionHeaders: [destinationOptions],
      payload: udpDatagram({ ...endsV6, ...ports, payload: payloads[1] }),
    }),
    /\(60\).*DSTOPT.*\[udp sum ok\] UDP, length 1/,
  ],
  [
    'IPv4 with options',
    ipv4Packet({
      ...ends,
      protocol: IpProtocol.UDP,
      options: Buffer.from('94040000', 'hex'),
      payload: udpDatagram({ ...ends, ...ports, payload: payloads[1] }),
    }),
    /options \(RA\)\).*\[udp sum ok\]/s,
  ],
  [
    'an answered ping',
    replyToEcho(packetOf('echoRequest')) ?? Buffer.alloc(0),
    /ICMP echo reply, id 3569, seq 1, length 24/,
  ],
  [
    'an ICMP error',
    icmpv4Error(packetOf('tcpData'), { type: 3, code: 4, source: '192.0.2.9', restOfHeader: 1400 }) ??
      Buffer.alloc(0),
    /192\.0\.2\.9 > 192\.0\.2\.1: ICMP 192\.0\.2\.2 unreachable - need to frag \(mtu 1400\)/,
  ],
  [
    'an ICMPv6 error',
    ipv6(
      IpProtocol.ICMPV6,
      icmpv6Packet({
        ...endsV6,
        type: Icmpv6Type.PACKET_TOO_BIG,
        restOfHeader: 1400,
        payload: packetOf('udpV6'),
      }),
    ),
    /\[icmp6 sum ok\] ICMP6, packet too big, mtu 1400/,
  ],
  [
    'a neighbor advertisement',
    ipv6Packet({
      ...endsV6,
      nextHeader: IpProtocol.ICMPV6,
      hopLimit: 255,
      payload: neighborAdvertisement({
        ...endsV6,
        target: 'fe80::1',
        mac: macs.source,
        router: true,
        solicited: true,
      }),
    }),
    /\[icmp6 sum ok\] ICMP6, neighbor advertisement, length 32, tgt is fe80::1, Flags \[router, solicited, override\].*destination link-address option \(2\), length 8 \(1\): 02:00:00:00:00:0a/s,
  ],
);

const frames: [string, Buffer, RegExp][] = [
  [
    'an ARP request in a VLAN',
    ethernetFrame({
      ...macs,
      etherType: EtherType.ARP,
      vlan: { id: 5, priority: 3 },
      payload: arpPacket({
        operation: ArpOperation.REQUEST,
        senderMac: macs.source,
        senderAddress: ends.source,
        targetAddress: ends.destination,
      }),
    }),
    /vlan 5, p 3, .*Request who-has 192\.0\.2\.2 tell 192\.0\.2\.1, length 28/,
  ],
  [
    'an answered neighbor solicitation',
    replyToNeighborSolicitation(samples.neighborSolicitation, {
      mac: macs.destination,
      address: '2001:db8::2',
    }) ?? Buffer.alloc(0),
    /\[icmp6 sum ok\] ICMP6, neighbor advertisement, length 32, tgt is 2001:db8::2, Flags \[solicited, override\]/,
  ],
];

/** How tcpdump tells a checksum that is wrong or a packet that is. */
const COMPLAINT = /incorrect|bad |wrong|malformed|invalid|truncated|\[\|/i;

describe('what the builders make (needs tcpdump)', () => {
  before(function () {
    if (!hasTcpdump) skip(this, 'needs the program tcpdump');
  });
  for (const [linkType, cases] of [
    ['raw', packets],
    ['ethernet', frames],
  ] as const) {
    for (const [name, bytes, expected] of cases) {
      it(`${name} is right to tcpdump`, () => {
        const printed = dissect(bytes, linkType);
        assert.match(printed, expected);
        assert.doesNotMatch(printed, COMPLAINT);
      });
    }
  }

  it('one wrong byte is not', () => {
    for (const [name, bytes] of packets) {
      if (!/, 511 bytes$/.test(name)) continue;
      const damaged = Buffer.from(bytes);
      damaged[damaged.length - 1] ^= 1;
      assert.match(dissect(damaged, 'raw'), COMPLAINT, name);
    }
  });
});

import assert from 'node:assert/strict';
import {
  formatIp,
  Icmpv4Type,
  Icmpv6Packet,
  Icmpv6Type,
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  icmpv4Packet,
  icmpv6Packet,
  ipv4Packet,
  ipv6Packet,
  replyToEcho,
  TcpSegment,
  tcpSegment,
  UdpDatagram,
  udpDatagram,
} from 'tuntap-native/packet';
import { dissect, hasTcpdump } from './tcpdump.ts';

const source = '192.0.2.1';
const hop = '198.51.100.9';
const end = '198.51.100.2';
const sourceV6 = '2001:db8::1';
const hopV6 = '2001:db8::c8';
const endV6 = '2001:db8:9::2';
const ports = { sourcePort: 40000, destinationPort: 40001 };
const payload = Buffer.from('odd');

interface Route {
  readonly name: string;
  /** IPv4 options, or a routing header from its routing type on. */
  readonly hex: string;
  readonly final: string;
  /** tcpdump reads it, and reads it as the RFC has it. */
  readonly known?: boolean;
}

const A = 'c6336401'; // 198.51.100.1
const B = 'c6336402'; // 198.51.100.2

const ipv4Routes: readonly Route[] = [
  { name: 'loose', hex: `830704${B}00`, final: end, known: true },
  { name: 'strict', hex: `890704${B}01`, final: end, known: true },
  { name: 'behind padding', hex: `01830704${B}`, final: end, known: true },
  { name: 'behind another option', hex: `94040000830704${B}00`, final: end, known: true },
  { name: 'two hops', hex: `830b04${A}${B}00`, final: end, known: true },
  { name: 'the second of two hops', hex: `830b08${A}${B}00`, final: end, known: true },
  { name: 'nine hops', hex: `832724${A.repeat(8)}${B}00`, final: end, known: true },
  { name: 'at its end', hex: `830708${B}00`, final: hop },
  { name: 'at the end of two hops', hex: `890b0c${A}${B}00`, final: hop },
  { name: 'behind the end of the list', hex: `00830704${B}`, final: hop },
  { name: 'no address', hex: '83030401', final: hop },
  { name: 'half an address', hex: '830504c633010101', final: hop },
  { name: 'a pointer before the addresses', hex: `830703${B}00`, final: hop },
  { name: 'longer than the header', hex: `830b04${B}00`, final: hop },
  { name: 'cut off', hex: '01010183', final: hop },
  { name: 'behind an option of length 0', hex: `0700830704${B}000000`, final: hop },
  { name: 'record route, which is none', hex: `070704${B}00`, final: hop },
  { name: 'none', hex: '', final: hop, known: true },
];

const one = '20010db8000900000000000000000001';
const two = '20010db8000900000000000000000002';

const ipv6Routes: readonly Route[] = [
  { name: 'type 0', hex: `000100000000${two}`, final: endV6, known: true },
  { name: 'type 0, two hops', hex: `000200000000${one}${two}`, final: endV6, known: true },
  { name: 'type 0, the second of two hops', hex: `000100000000${one}${two}`, final: endV6, known: true },
  { name: 'type 0, at its end', hex: `000000000000${one}${two}`, final: hopV6 },
  { name: 'type 0, more left than there are', hex: `000300000000${one}${two}`, final: hopV6 },
  { name: 'type 0, no address', hex: '000100000000', final: hopV6 },
  { name: 'type 2', hex: `020100000000${two}`, final: endV6, known: true },
  { name: 'type 2, at its end', hex: `020000000000${two}`, final: hopV6 },
  { name: 'RPL', hex: '0303ee2000000001000207080000', final: '2001:db8::708' },
  { name: 'RPL, at its end', hex: '0300ee2000000001000207080000', final: hopV6 },
  { name: 'RPL, more left than there are', hex: '0304ee2000000001000207080000', final: hopV6 },
  { name: 'RPL, the last one longer', hex: '0303ec0000000001000200000708', final: '2001:db8::708' },
  { name: 'RPL, an odd number of bytes', hex: '0308ff0000000102030405060708', final: '2001:db8::8' },
  { name: 'RPL, whole addresses', hex: `030200000000${one}${two}`, final: endV6 },
  { name: 'RPL, padding longer than the header', hex: '030100f00000', final: hopV6 },
  { name: 'segments', hex: `040101000000${two}${one}`, final: endV6, known: true },
  { name: 'segments, two left', hex: `040201000000${two}${one}`, final: endV6, known: true },
  { name: 'segments, with options', hex: `040101000000${two}${one}0506000000000000`, final: endV6 },
  { name: 'segments, at their end', hex: `040001000000${two}${one}`, final: hopV6 },
  { name: 'an unknown type', hex: `fa0100000000${one}${two}`, final: hopV6 },
];

function packetV4(route: Route, protocol: number, bytes: Uint8Array): Buffer {
  const options = Buffer.from(route.hex, 'hex');
  return ipv4Packet({ source, destination: hop, protocol, options, payload: bytes });
}

function packetV6(route: Route, nextHeader: number, bytes: Uint8Array): Buffer {
  const body = Buffer.from(route.hex, 'hex');
  const header = Buffer.concat([Uint8Array.of(0, (body.length + 2) / 8 - 1), body]);
  const extensionHeaders = [{ type: IpProtocol.ROUTING, bytes: header }];
  return ipv6Packet({ source: sourceV6, destination: hopV6, nextHeader, extensionHeaders, payload: bytes });
}

describe('packets with source routes', () => {
  for (const [version, routes, from, build, View] of [
    [4, ipv4Routes, source, packetV4, Ipv4Packet],
    [6, ipv6Routes, sourceV6, packetV6, Ipv6Packet],
  ] as const) {
    for (const route of routes) {
      it(`have checksums over the final destination: IPv${version}, ${route.name}`, () => {
        const ends = { source: from, destination: route.final, ...ports, payload };
        const tcp = new View(build(route, IpProtocol.TCP, tcpSegment({ ...ends, sequenceNumber: 1 })));
        const udp = new View(build(route, IpProtocol.UDP, udpDatagram(ends)));
        for (const [packet, upper] of [
          [tcp, new TcpSegment(tcp.payload)],
          [udp, new UdpDatagram(udp.payload)],
        ] as const) {
          assert.equal(formatIp(packet.finalDestinationBytes), route.final);
          assert.equal(upper.verifyChecksum(packet), true);
          const { checksum } = upper;
          upper.checksum = 1;
          assert.equal(upper.verifyChecksum(packet), false);
          upper.fillChecksum(packet);
          assert.equal(upper.checksum, checksum);
        }
        if (!route.known || !hasTcpdump) return;
        assert.match(dissect(tcp.bytes, 'raw'), /\(correct\)/);
        assert.match(dissect(udp.bytes, 'raw'), /\[udp sum ok\]/);
      });
    }
  }

  for (const route of ipv6Routes) {
    it(`have ICMPv6 checksums over it, and only the last host answers: ${route.name}`, () => {
      const ends = { source: sourceV6, destination: route.final };
      const echo = icmpv6Packet({ ...ends, type: Icmpv6Type.ECHO_REQUEST, identifier: 7, sequence: 1 });
      const packet = new Ipv6Packet(packetV6(route, IpProtocol.ICMPV6, echo));
      const message = new Icmpv6Packet(packet.payload);
      assert.equal(message.verifyChecksum(packet), true);
      message.fillChecksum(packet);
      assert.deepEqual(message.bytes, echo);
      const reply = replyToEcho(packet.bytes);
      if (route.final !== hopV6) {
        assert.equal(reply, undefined);
        return;
      }
      const answer = new Ipv6Packet(reply ?? Buffer.alloc(0));
      assert.deepEqual([answer.source, answer.destination], [hopV6, sourceV6]);
      assert.equal(new Icmpv6Packet(answer.payload).verifyChecksum(answer), true);
    });
  }

  it('are answered over IPv4 by the last host only', () => {
    const echo = icmpv4Packet({ type: Icmpv4Type.ECHO_REQUEST, identifier: 7, sequence: 1 });
    for (const route of ipv4Routes) {
      const reply = replyToEcho(packetV4(route, IpProtocol.ICMP, echo));
      assert.equal(reply && new Ipv4Packet(reply).source, route.final === hop ? hop : undefined, route.name);
    }
  });

  it('may have two routing headers: the last one decides', () => {
    const headers = [`00020001000000 00${one}`, `00020201000000 00${two}`].map((hex) => ({
      type: IpProtocol.ROUTING,
      bytes: Buffer.from(hex.replace(' ', ''), 'hex'),
    }));
    const bytes = ipv6Packet({
      source: sourceV6,
      destination: hopV6,
      nextHeader: IpProtocol.NONE,
      extensionHeaders: headers,
      payload: Buffer.alloc(0),
    });
    assert.equal(formatIp(new Ipv6Packet(bytes).finalDestinationBytes), endV6);
  });
});

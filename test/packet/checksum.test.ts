import assert from 'node:assert/strict';
import {
  decrementTtl,
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  internetChecksum,
  pseudoHeaderSum,
  TcpSegment,
  UdpDatagram,
  updateChecksum16,
} from 'tuntap-native/packet';
import { seededRandom } from './random.ts';
import { packetOf } from './samples.ts';

/** RFC 1071 section 1, word by word. */
function naiveChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += bytes[at] * 256 + (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

describe('Internet checksum', () => {
  it('gives the sum of the example of RFC 1071 section 3', () => {
    assert.equal(internetChecksum(Buffer.from('0001f203f4f5f6f7', 'hex')), ~0xddf2 & 0xffff);
  });

  it('is the naive sum at every length from 0 to 300 and every alignment', () => {
    const random = seededRandom(1071);
    for (let length = 0; length <= 300; length++) {
      for (let alignment = 0; alignment < 8; alignment++) {
        const around = Buffer.from(Array.from({ length: length + 16 }, () => random(256)));
        const bytes = around.subarray(alignment, alignment + length);
        assert.equal(
          internetChecksum(bytes),
          naiveChecksum(bytes),
          `length ${length}, alignment ${alignment}`,
        );
      }
    }
  });

  it('does not overflow on the largest packet', () => {
    for (const length of [65534, 65535]) {
      const bytes = Buffer.alloc(length, 0xff);
      assert.equal(internetChecksum(bytes), naiveChecksum(bytes));
    }
  });

  it('goes on from an initial sum', () => {
    const bytes = packetOf('tcpSyn');
    const initial = 0xffff - internetChecksum(bytes.subarray(0, 20));
    assert.equal(internetChecksum(bytes.subarray(20), initial), internetChecksum(bytes));
  });

  it('is 0 over bytes that hold a right checksum', () => {
    assert.equal(internetChecksum(packetOf('echoRequest').subarray(0, 20)), 0);
  });

  it('covers the pseudo header of IPv4 and IPv6', () => {
    const tcp = new Ipv4Packet(packetOf('tcpSyn'));
    const tcpSum = pseudoHeaderSum(tcp.sourceBytes, tcp.destinationBytes, IpProtocol.TCP, tcp.payload.length);
    assert.equal(internetChecksum(tcp.payload, tcpSum), 0);
    const udp = new Ipv6Packet(packetOf('udpV6'));
    const udpSum = pseudoHeaderSum(udp.sourceBytes, udp.destinationBytes, IpProtocol.UDP, udp.payload.length);
    assert.equal(internetChecksum(udp.payload, udpSum), 0);
  });
});

describe('incremental checksum', () => {
  it('gives the result of the example of RFC 1624 section 4', () => {
    assert.equal(updateChecksum16(0xdd2f, 0x5555, 0x3285), 0x0000);
  });

  it('is what a computation anew gives', () => {
    const random = seededRandom(1624);
    const edges = [0, 1, 0x7fff, 0x8000, 0xfffe, 0xffff];
    const word = () => (random(3) === 0 ? edges[random(edges.length)] : random(0x10000));
    for (let round = 0; round < 20_000; round++) {
      const bytes = Buffer.alloc(2 * (1 + random(12)));
      for (let at = 0; at < bytes.length; at += 2) bytes.writeUInt16BE(word(), at);
      const checksum = internetChecksum(bytes);
      const at = 2 * random(bytes.length / 2);
      const oldValue = bytes.readUInt16BE(at);
      const newValue = word();
      bytes.writeUInt16BE(newValue, at);
      // Of bytes that are all zero the sum has two forms; no header is all zero (RFC 1624 section 3).
      if (bytes.every((byte) => byte === 0)) continue;
      assert.equal(updateChecksum16(checksum, oldValue, newValue), internetChecksum(bytes));
    }
  });

  it('takes 0xffff, the other form of 0, for the same checksum', () => {
    for (const [oldValue, newValue] of [
      [0, 0],
      [0, 1],
      [0xffff, 0],
      [0x1234, 0x4321],
    ]) {
      const [one, other] = [0xffff, 0].map((zero) => updateChecksum16(zero, oldValue, newValue));
      assert.equal(one % 0xffff, other % 0xffff);
    }
  });
});

describe('decrementTtl', () => {
  it('takes one from every TTL above 1 and keeps the checksum right', () => {
    for (let ttl = 2; ttl <= 255; ttl++) {
      const packet = new Ipv4Packet(packetOf('echoRequest'));
      packet.ttl = ttl;
      packet.fillChecksum();
      assert.equal(decrementTtl(packet), true);
      assert.equal(packet.ttl, ttl - 1);
      assert.ok(packet.checksumValid);
    }
  });

  it('keeps the checksum right for every value that it can have', () => {
    const packet = new Ipv4Packet(packetOf('echoRequest'));
    for (let identification = 0; identification <= 0xffff; identification++) {
      packet.ttl = 64;
      packet.identification = identification;
      packet.fillChecksum();
      decrementTtl(packet);
      const { checksum } = packet;
      packet.fillChecksum();
      assert.equal(checksum, packet.checksum);
    }
  });

  it('refuses a packet whose TTL would reach 0 and leaves it as it was', () => {
    for (const ttl of [0, 1]) {
      const packet = new Ipv4Packet(packetOf('echoRequest'));
      packet.ttl = ttl;
      packet.fillChecksum();
      const before = Buffer.from(packet.bytes);
      assert.equal(decrementTtl(packet), false);
      assert.deepEqual(packet.bytes, before);
    }
  });
});

describe('checksums after a change of addresses', () => {
  it('are made right again by fillChecksum', () => {
    const packet = new Ipv4Packet(packetOf('tcpData'));
    const segment = new TcpSegment(packet.payload);
    packet.source = '198.51.100.7';
    segment.sourcePort = 61000;
    assert.equal(packet.checksumValid, false);
    assert.equal(segment.verifyChecksum(packet), false);
    packet.fillChecksum();
    segment.fillChecksum(packet);
    assert.ok(packet.checksumValid);
    assert.ok(segment.verifyChecksum(packet));
  });

  it('of UDP are never stored as 0, which means none', () => {
    const packet = new Ipv6Packet(packetOf('udpV6'));
    const datagram = new UdpDatagram(packet.payload);
    // A source port that takes the place of the checksum makes the sum come out as 0.
    datagram.sourcePort = 0;
    datagram.fillChecksum(packet);
    datagram.sourcePort = datagram.checksum;
    datagram.fillChecksum(packet);
    assert.equal(datagram.checksum, 0xffff);
    assert.ok(datagram.verifyChecksum(packet));
  });

  it('of UDP may be missing over IPv4 and not over IPv6', () => {
    const overIpv4 = new Ipv4Packet(packetOf('udp'));
    const overIpv6 = new Ipv6Packet(packetOf('udpV6'));
    for (const [packet, valid] of [
      [overIpv4, true],
      [overIpv6, false],
    ] as const) {
      const datagram = new UdpDatagram(packet.payload);
      datagram.checksum = 0;
      assert.equal(datagram.verifyChecksum(packet), valid);
    }
  });
});

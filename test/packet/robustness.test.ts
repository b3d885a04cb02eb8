import assert from 'node:assert/strict';
import {
  ArpPacket,
  describe as describePacket,
  EthernetFrame,
  Icmpv4Packet,
  Icmpv4Type,
  Icmpv6Packet,
  Ipv4Packet,
  Ipv6Packet,
  icmpv4Error,
  NeighborMessage,
  replyToArp,
  replyToEcho,
  replyToNeighborSolicitation,
  TcpSegment,
  UdpDatagram,
} from 'tuntap-native/packet';
import { seededRandom } from './random.ts';
import { samples } from './samples.ts';

const views = [
  EthernetFrame,
  ArpPacket,
  Ipv4Packet,
  Ipv6Packet,
  Icmpv4Packet,
  Icmpv6Packet,
  NeighborMessage,
  UdpDatagram,
  TcpSegment,
];

/** Addresses for the checksums, as an IP view has them. */
const addresses = { sourceBytes: Buffer.alloc(16, 1), destinationBytes: Buffer.alloc(16, 2) };

/** The same bytes; to read one that is not there is an error, where a Uint8Array gives undefined. */
function guarded(bytes: Buffer): Buffer {
  return new Proxy(bytes, {
    get(target, key) {
      if (typeof key === 'string' && /^-?\d+$/.test(key)) {
        assert.ok(
          Number(key) >= 0 && Number(key) < target.length,
          `byte ${key} of ${target.length} was read`,
        );
      }
      if (key === 'subarray') return (start: number, end?: number) => guarded(target.subarray(start, end));
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Reads every property, drains every iterator, verifies the checksum; returns how much there was to read. */
function readAll(view: object): number {
  let count = 0;
  for (let prototype = view; prototype !== Object.prototype; prototype = Object.getPrototypeOf(prototype)) {
    for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (descriptor.get !== undefined) {
        const value: unknown = descriptor.get.call(view);
        if (typeof value === 'number') assert.ok(Number.isSafeInteger(value), `${name} is ${value}`);
        count += 1;
      }
    }
  }
  if (view instanceof Ipv6Packet) count += [...view.extensionHeaders()].length;
  if (view instanceof TcpSegment || view instanceof NeighborMessage) count += [...view.eachOption()].length;
  if (view instanceof TcpSegment || view instanceof UdpDatagram || view instanceof Icmpv6Packet) {
    view.verifyChecksum(addresses);
  }
  return count;
}

/** Gives the bytes to every view and to all that reads packets; returns how many views took them. */
function readAsEverything(bytes: Buffer): number {
  let taken = 0;
  for (const View of views) {
    const view = View.parse(guarded(bytes));
    assert.equal(view === undefined, View.check(bytes) !== undefined);
    if (view === undefined) continue;
    assert.ok(readAll(view) > 0);
    taken += 1;
  }
  for (const kind of ['tun', 'tap'] as const) assert.match(describePacket(guarded(bytes), kind), /^[ -~]+$/);
  replyToEcho(bytes);
  replyToArp(bytes, { mac: '02:00:00:00:00:0b', address: '192.0.2.2' });
  replyToNeighborSolicitation(bytes, { mac: '02:00:00:00:00:0b', address: '2001:db8::2' });
  icmpv4Error(bytes, { type: Icmpv4Type.TIME_EXCEEDED, code: 0, source: '192.0.2.9' });
  return taken;
}

/** Where headers begin in the samples: the frame, the packet, what follows an IPv4 and an IPv6 header. */
const starts = [0, 14, 34, 54];

describe('packets from the network', () => {
  for (const [name, frame] of Object.entries(samples)) {
    it(`${name}, truncated at every length, are read within their bounds`, () => {
      for (const start of starts) {
        for (let end = start; end <= frame.length; end++) readAsEverything(frame.subarray(start, end));
      }
    });
  }

  it('mutated 20,000 times are read within their bounds', () => {
    const random = seededRandom(20_000);
    const frames = Object.values(samples);
    const edges = [0x00, 0x01, 0x3c, 0x40, 0x60, 0x7f, 0x80, 0xff];
    let taken = 0;
    for (let round = 0; round < 20_000; round++) {
      const bytes = Buffer.from(frames[random(frames.length)].subarray(starts[random(starts.length)]));
      for (let change = random(4); change >= 0 && bytes.length > 0; change--) {
        // Headers, where the lengths are, are hit more often than data.
        const at = random(2) === 0 ? random(bytes.length) : random(Math.min(bytes.length, 24));
        bytes[at] = random(2) === 0 ? edges[random(edges.length)] : random(256);
      }
      const length = random(3) === 0 ? random(bytes.length + 1) : bytes.length;
      taken += readAsEverything(bytes.subarray(0, length));
    }
    assert.ok(taken > 20_000, `only ${taken} views were made: the mutations are too coarse`);
  });

  it('of random bytes are read within their bounds', () => {
    const random = seededRandom(4711);
    for (let round = 0; round < 3000; round++) {
      const bytes = Buffer.from(Array.from({ length: random(100) }, () => random(256)));
      if (bytes.length > 0 && random(2) === 0) bytes[0] = random(2) === 0 ? 0x45 : 0x60;
      readAsEverything(bytes);
    }
  });

  it('with the longest possible chain of extension headers are refused in no time', () => {
    const bytes = Buffer.alloc(40 + 65528);
    bytes.set([0x60, 0, 0, 0, 0xff, 0xf8, 60]);
    for (let at = 40; at < bytes.length; at += 8) bytes[at] = 60;
    const begin = performance.now();
    for (let round = 0; round < 1000; round++) assert.ok(Ipv6Packet.check(bytes));
    assert.ok(performance.now() - begin < 1000);
  });

  it('a view never reaches outside the bytes it was given', () => {
    for (const frame of Object.values(samples)) {
      for (const start of starts.slice(0, 3)) {
        const slab = Buffer.alloc(frame.length + 64, 0xee);
        const bytes = slab.subarray(32, 32 + frame.length - start);
        bytes.set(frame.subarray(start));
        for (const View of views) {
          const view = View.parse(bytes);
          for (const part of view === undefined ? [] : buffersOf(view)) {
            assert.ok(part.length === 0 || part.byteOffset >= bytes.byteOffset);
            assert.ok(part.byteOffset + part.length <= bytes.byteOffset + bytes.length);
          }
        }
      }
    }
  });
});

function buffersOf(view: object): Buffer[] {
  const names = Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(view)));
  const values = ['bytes', ...names].map((name) => (view as Record<string, unknown>)[name]);
  const parts = view instanceof TcpSegment || view instanceof NeighborMessage ? [...view.eachOption()] : [];
  return [...values.filter(Buffer.isBuffer), ...parts.map(({ data }) => data)];
}

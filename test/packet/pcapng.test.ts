import assert from 'node:assert/strict';
import { type PcapngInterface, PcapngWriter } from 'tuntap-native/packet';
import { skip } from '../support.ts';
import { packetOf, samples } from './samples.ts';
import { hasTcpdump, readCapture } from './tcpdump.ts';

interface Block {
  readonly type: number;
  readonly body: Buffer;
}

/** Splits a capture into blocks, with the two lengths of each checked. */
function blocksOf(capture: Buffer): Block[] {
  const blocks: Block[] = [];
  for (let at = 0; at < capture.length; ) {
    const length = capture.readUInt32LE(at + 4);
    assert.equal(length % 4, 0);
    assert.equal(capture.readUInt32LE(at + length - 4), length);
    blocks.push({ type: capture.readUInt32LE(at), body: capture.subarray(at + 8, at + length - 4) });
    at += length;
  }
  return blocks;
}

/** Options as [code, bytes as hex], up to and without the end, which must be the last. */
function optionsOf(bytes: Buffer): [number, string][] {
  const options: [number, string][] = [];
  for (let at = 0; at < bytes.length; ) {
    const [code, length] = [bytes.readUInt16LE(at), bytes.readUInt16LE(at + 2)];
    if (code === 0) {
      assert.equal(at + 4, bytes.length);
      return options;
    }
    options.push([code, bytes.subarray(at + 4, at + 4 + length).toString('hex')]);
    at += 4 + Math.ceil(length / 4) * 4;
  }
  assert.equal(options.length, 0, 'options without an end');
  return options;
}

function capture(description: PcapngInterface, fill: (writer: PcapngWriter) => void = () => {}): Buffer {
  const blocks: Buffer[] = [];
  fill(new PcapngWriter((block) => blocks.push(block), description));
  return Buffer.concat(blocks);
}

const tun: PcapngInterface = { linkType: 'raw', name: 'tun0' };
const tap: PcapngInterface = { linkType: 'ethernet', name: 'tap-é' };

describe('PcapngWriter', () => {
  it('begins with a section header and an interface description', () => {
    const [section, device, ...others] = blocksOf(capture({ ...tap, snapLength: 96 }));
    assert.equal(section.type, 0x0a0d0d0a);
    assert.equal(section.body.toString('hex'), '4d3c2b1a01000000ffffffffffffffff');
    assert.equal(device.type, 1);
    assert.equal(device.body.subarray(0, 8).toString('hex'), '0100000060000000');
    assert.deepEqual(optionsOf(device.body.subarray(8)), [
      [2, Buffer.from('tap-é').toString('hex')],
      [9, '09'],
    ]);
    assert.equal(others.length, 0);
  });

  it('names the link type of raw IP', () => {
    assert.equal(blocksOf(capture(tun))[1].body.readUInt16LE(0), 101);
  });

  it('writes a packet with its time and direction', () => {
    const bytes = packetOf('udp');
    const timestamp = 1_700_000_000_123_456_789n;
    for (const [direction, flags] of [
      ['inbound', '01000000'],
      ['outbound', '02000000'],
    ] as const) {
      const [, , { type, body }] = blocksOf(
        capture(tun, (writer) => writer.packet(bytes, { direction, timestamp })),
      );
      assert.equal(type, 6);
      assert.equal(body.readUInt32LE(0), 0);
      assert.equal((BigInt(body.readUInt32LE(4)) << 32n) | BigInt(body.readUInt32LE(8)), timestamp);
      assert.deepEqual([body.readUInt32LE(12), body.readUInt32LE(16)], [bytes.length, bytes.length]);
      assert.deepEqual(body.subarray(20, 20 + bytes.length), bytes);
      assert.deepEqual(optionsOf(body.subarray(20 + Math.ceil(bytes.length / 4) * 4)), [[2, flags]]);
    }
  });

  it('writes packets of any length, an empty one too', () => {
    for (let length = 0; length < 9; length++) {
      const bytes = Buffer.alloc(length, 0xab);
      const [, , { body }] = blocksOf(capture(tun, (writer) => writer.packet(bytes)));
      assert.deepEqual(body.subarray(20), Buffer.concat([bytes, Buffer.alloc((4 - (length % 4)) % 4)]));
    }
  });

  it('stamps a packet with the time of day if not told', () => {
    const before = BigInt(Date.now()) * 1_000_000n;
    const [, , { body }] = blocksOf(capture(tun, (writer) => writer.packet(packetOf('udp'))));
    const timestamp = (BigInt(body.readUInt32LE(4)) << 32n) | BigInt(body.readUInt32LE(8));
    const difference = timestamp - before;
    assert.ok(difference > -1_000_000_000n && difference < 1_000_000_000n, `${difference} ns off`);
  });

  it('cuts packets to the snap length and keeps the original length', () => {
    const [, , { body }] = blocksOf(
      capture({ ...tun, snapLength: 21 }, (writer) => writer.packet(packetOf('tcpSyn'))),
    );
    assert.deepEqual([body.readUInt32LE(12), body.readUInt32LE(16)], [21, 60]);
    assert.deepEqual(body.subarray(20, 41), packetOf('tcpSyn').subarray(0, 21));
    assert.equal(body.length, 20 + 24);
  });

  it('writes statistics', () => {
    const statistics = { received: 7, dropped: 2n ** 64n - 1n, timestamp: 2n ** 64n - 1n };
    const [, , { type, body }] = blocksOf(capture(tun, (writer) => writer.statistics(statistics)));
    assert.equal(type, 5);
    assert.equal(body.subarray(0, 12).toString('hex'), '00000000ffffffffffffffff');
    assert.deepEqual(optionsOf(body.subarray(12)), [
      [4, '0700000000000000'],
      [5, 'ffffffffffffffff'],
    ]);
  });

  it('does not keep the bytes of a packet', () => {
    const bytes = packetOf('udp');
    const blocks: Buffer[] = [];
    new PcapngWriter((block) => blocks.push(block), tun).packet(bytes);
    bytes.fill(0);
    assert.notEqual(blocks[2][28], 0);
  });

  it('refuses wrong arguments before anything is written', () => {
    const write = () => assert.fail('a block was written');
    const make = (description: object) => () => new PcapngWriter(write, description as PcapngInterface);
    assert.throws(make({ ...tun, linkType: 'wifi' }), { code: 'ERR_INVALID_ARG_VALUE' });
    assert.throws(make({ ...tun, linkType: 'toString' }), { code: 'ERR_INVALID_ARG_VALUE' });
    assert.throws(make({ linkType: 'raw' }), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(make({ ...tun, name: 'x'.repeat(65536) }), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(make({ ...tun, snapLength: -1 }), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => new PcapngWriter(undefined as unknown as () => void, tun), {
      code: 'ERR_INVALID_ARG_TYPE',
    });

    const writer = new PcapngWriter(() => {}, tun);
    const packet = packetOf('udp');
    assert.throws(() => writer.packet('text' as unknown as Buffer), { code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => writer.packet(packet, { direction: 'in' as 'inbound' }), {
      code: 'ERR_INVALID_ARG_VALUE',
    });
    assert.throws(() => writer.packet(packet, { timestamp: -1n }), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => writer.packet(packet, { timestamp: 1 as unknown as bigint }), {
      code: 'ERR_INVALID_ARG_TYPE',
    });
    assert.throws(() => writer.statistics({ received: -1, dropped: 0 }), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => writer.statistics({ received: 0.5, dropped: 0 }), { code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => writer.statistics({ received: 0, dropped: 2n ** 64n }), { code: 'ERR_OUT_OF_RANGE' });
  });
});

describe('a capture', () => {
  it('is read by tcpdump: link type, time, direction, lengths (needs tcpdump)', function () {
    if (!hasTcpdump) skip(this, 'needs the program tcpdump');
    const timestamp = 1_700_000_000_123_456_789n;
    const raw = capture({ ...tun, snapLength: 40 }, (writer) => {
      writer.packet(packetOf('echoRequest'), { direction: 'outbound', timestamp });
      writer.packet(packetOf('echoReplyV6'), { direction: 'inbound', timestamp: timestamp + 1_000n });
      writer.statistics({ received: 2, dropped: 0 });
    });
    const printed = readCapture(raw, '-tt', '--nano').trimEnd().split('\n');
    assert.equal(printed.length, 2);
    assert.equal(
      printed[0],
      '1700000000.123456789 IP 192.0.2.1 > 192.0.2.2: ICMP echo request, id 3569, seq 1, length 24',
    );
    assert.match(printed[1], /^1700000000\.123457789 IP6 2001:db8::2 > 2001:db8::1: /);
  });

  it('of Ethernet frames is read by tcpdump (needs tcpdump)', function () {
    if (!hasTcpdump) skip(this, 'needs the program tcpdump');
    const frames = capture(tap, (writer) => {
      for (const frame of Object.values(samples)) writer.packet(frame);
    });
    const printed = readCapture(frames, '-t', '-e').trimEnd().split('\n');
    assert.equal(printed.length, Object.keys(samples).length);
    assert.match(
      printed[0],
      /^02:00:00:00:00:0a > ff:ff:ff:ff:ff:ff, ethertype ARP .* who-has 192\.0\.2\.2 tell 192\.0\.2\.1/,
    );
  });
});

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { decodeAnswer, encodeQuestion } from '#dist/net/namespace/dns-message.js';
import { AttributeTable, attribute } from '#dist/net/netlink/attributes.js';
import * as codecs from '#dist/net/netlink/codecs.js';
import { decodeMessages, encodeMessage, NetlinkMessage } from '#dist/net/netlink/message.js';
import { nothing, PendingRequest } from '#dist/net/netlink/request.js';
// The codec is internal: tested by its compiled modules, beside the package's entry points.
import { decodeAddress } from '#dist/net/rtnetlink/address.js';
import { decodeFdbEntry } from '#dist/net/rtnetlink/fdb.js';
import { decodeLink } from '#dist/net/rtnetlink/link-info.js';
import { linkTable } from '#dist/net/rtnetlink/link-message.js';
import { decodeNeighbor } from '#dist/net/rtnetlink/neighbor.js';
import { newLinkValues } from '#dist/net/rtnetlink/new-link.js';
import { listQdiscsRequest } from '#dist/net/rtnetlink/qdisc.js';
import { decodeRoute } from '#dist/net/rtnetlink/route.js';
import { routeRequest } from '#dist/net/rtnetlink/route-requests.js';
import { listRulesRequest } from '#dist/net/rtnetlink/rule.js';
import { skip } from '../support.ts';

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

const inner = new AttributeTable({ number: attribute(1, 'INNER_NUMBER', codecs.u32) });
const table = new AttributeTable({
  byte: attribute(1, 'T_BYTE', codecs.u8),
  short: attribute(2, 'T_SHORT', codecs.u16),
  port: attribute(3, 'T_PORT', codecs.u16be),
  text: attribute(4, 'T_TEXT', codecs.text),
  address: attribute(5, 'T_ADDRESS', codecs.ip),
  mac: attribute(6, 'T_MAC', codecs.linkLayerAddress),
  nest: attribute(7, 'T_NEST', codecs.nested(inner)),
  signed: attribute(8, 'T_SIGNED', codecs.i32),
  wide: attribute(9, 'T_WIDE', codecs.u64),
  time: attribute(10, 'T_TIME', codecs.clockTime),
});

describe('netlink attributes', () => {
  const known: readonly [string, Parameters<typeof table.encode>[0], string][] = [
    ['a byte, padded', { byte: 7 }, '0500010007000000'],
    ['a number in network order', { port: 4789 }, '0600030012b50000'],
    ['a text with its NUL', { text: 'lo' }, '070004006c6f0000'],
    ['an IPv4 address', { address: '192.0.2.1' }, '08000500c0000201'],
    ['an IPv6 address', { address: '2001:db8::1' }, '1400050020010db8000000000000000000000001'],
    ['an Ethernet address', { mac: '02:00:00:00:00:01' }, '0a0006000200000000010000'],
    ['a nest with its flag', { nest: { number: 5 } }, '0c0007800800010005000000'],
    ['a negative number', { signed: -1 }, '08000800ffffffff'],
    ['64 bits', { wide: 2 ** 40 }, '0c0009000000000000010000'],
    ['a time in hundredths', { time: 12.34 }, '08000a00d2040000'],
    ['two, in the order of the table', { short: 258, byte: 1 }, '05000100010000000600020002010000'],
  ];
  for (const [name, values, hex] of known) {
    it(`write and read ${name}`, function () {
      if (!littleEndian) skip(this, 'the corpus is little-endian');
      const bytes = table.encode(values);
      assert.equal(bytes.toString('hex'), hex);
      assert.deepEqual({ ...table.decode(bytes) }, values);
    });
  }

  it('keep what they do not know, and what has the wrong length', () => {
    const bytes = Buffer.from('0500630009000000050002000a000000', 'hex');
    assert.deepEqual(table.decode(bytes).unknown, [
      { type: 99, value: Buffer.of(9) },
      { type: 2, value: Buffer.of(10) },
    ]);
  });

  it('leave out what follows a length that can not be true', () => {
    for (const hex of ['0300010007000000', 'ff00010007000000', '00000100', '050001']) {
      assert.deepEqual(table.decode(Buffer.from(hex, 'hex')), {});
    }
  });

  it('are named by their place in a request', () => {
    const bytes = Buffer.concat([Buffer.alloc(20), table.encode({ byte: 1, nest: { number: 5 } })]);
    assert.equal(table.nameAt(bytes, 20, 20), 'T_BYTE');
    assert.equal(table.nameAt(bytes, 28, 20), 'T_NEST');
    assert.equal(table.nameAt(bytes, 32, 20), 'INNER_NUMBER');
    assert.equal(table.nameAt(bytes, 999, 20), undefined);
  });

  const wrong: readonly [string, Parameters<typeof table.encode>[0]][] = [
    ['a byte above 255', { byte: 256 }],
    ['a fraction', { short: 1.5 }],
    ['a text with a NUL', { text: 'a\0b' }],
    ['an address that is none', { address: '1.2.3' }],
    ['a MAC that is none', { mac: 'xx' }],
    ['a number below zero', { nest: { number: -1 } }],
  ];
  for (const [name, values] of wrong) {
    it(`refuse ${name}`, () =>
      assert.throws(() => table.encode(values), { code: /^ERR_(OUT_OF_RANGE|INVALID_ARG)/ }));
  }
});

describe('an exchange', () => {
  const request = {
    operation: 'list',
    headerSize: 0,
    table,
    type: 18,
    flags: 0x300,
    body: Buffer.alloc(4),
    decode: () => 1,
  };
  const message = (type: number, flags: number, payload: Buffer, sequence = 5): NetlinkMessage =>
    new NetlinkMessage(type, flags, sequence, payload);
  const ok = Buffer.alloc(4);

  for (const [where, part, end] of [
    ['in a part', 0x12, 2],
    ['at its end', 2, 0x12],
  ] as const) {
    it(`sees NLM_F_DUMP_INTR ${where}`, () => {
      const exchange = new PendingRequest(request, 5);
      exchange.take(message(16, part, ok));
      exchange.take(message(16, 2, ok));
      exchange.take(message(3, end, ok));
      assert.deepEqual([exchange.done, exchange.interrupted], [true, true]);
    });
  }

  it('takes no messages of others, and none after its end', () => {
    const exchange = new PendingRequest(request, 5);
    exchange.take(message(16, 2, ok, 4));
    exchange.take(message(16, 2, ok));
    exchange.take(message(3, 2, ok));
    exchange.take(message(16, 2, ok));
    assert.deepEqual(exchange.results(), [1]);
  });

  it("reads the end's errno and words, and an acknowledgement's, capped or not", () => {
    const errno = Buffer.alloc(4);
    errno.writeInt32LE(-22);
    const words = Buffer.from('0700010068690000', 'hex'); // NLMSGERR_ATTR_MSG "hi"
    const sent = new PendingRequest({ ...request, decode: nothing }, 5).bytes;
    for (const [type, flags, payload] of [
      [3, 0x202, Buffer.concat([errno, words])],
      [2, 0x300, Buffer.concat([errno, sent.subarray(0, 16), words])],
      [2, 0x200, Buffer.concat([errno, sent, words])],
    ] as const) {
      const exchange = new PendingRequest(request, 5);
      exchange.take(message(type, flags, payload));
      assert.throws(() => exchange.results(), { code: 'EINVAL', extendedAck: 'hi', operation: 'list' });
    }
  });
});

const CORPUS = join(import.meta.dirname, '..', '..', '..', 'test', 'net', 'corpus');

const retyped = ({ payload }: NetlinkMessage, type: number): NetlinkMessage =>
  new NetlinkMessage(type, 0, 1, payload);

/** Everything that reads what a kernel sent. */
function decodeAll(datagram: Buffer): number {
  let read = 0;
  for (const message of decodeMessages(datagram)) {
    for (const decode of [
      decodeLink,
      decodeAddress,
      decodeRoute,
      decodeNeighbor,
      decodeFdbEntry,
      (each: NetlinkMessage) => listRulesRequest(0).decode(retyped(each, 32)),
      (each: NetlinkMessage) => listQdiscsRequest().decode(retyped(each, 36)),
    ]) {
      if (decode(message) !== undefined) read++;
    }
    const exchange = new PendingRequest({ ...listQdiscsRequest() }, message.sequence);
    exchange.take(message);
    try {
      exchange.results();
    } catch (error) {
      assert.ok(typeof (error as { code: unknown }).code === 'string', String(error));
    }
  }
  return read;
}

describe('attributes without a name', () => {
  const hop = { type: 77, value: Buffer.of(1, 2, 3, 4) };
  const own = { type: 60, value: Buffer.of(5) };
  const nested = { type: 61, value: Buffer.of(6, 0, 0, 0), nested: true } as const;
  const metric = { type: 40, value: Buffer.of(7, 0, 0, 0) };
  const route = {
    destination: '198.51.100.0/24',
    nexthops: [
      { device: 1, unknown: [hop] },
      { device: 1, via: '192.0.2.9' },
    ],
    mtu: 1400,
    locked: ['mtu', 'congestion'],
    unknown: [own, nested],
    unknownMetrics: [metric],
  } as const;

  it('of a route, its metrics and its next hops stay apart, and are written back', () => {
    const decode = (body: Buffer) => decodeRoute(new NetlinkMessage(24, 0, 1, body));
    const first = decode(routeRequest('add', route, () => 1).body);
    assert.deepEqual(first?.unknown, [own, nested]);
    assert.deepEqual(first?.unknownMetrics, [metric]);
    assert.deepEqual(first?.nexthops?.[0].unknown, [hop]);
    assert.deepEqual([first?.mtu, first?.locked], [1400, ['mtu', 'congestion']]);
    const nexthops = first?.nexthops?.map((each) => ({ ...each, device: 1 }));
    const again = { ...first, destination: route.destination, nexthops };
    assert.deepEqual(decode(routeRequest('replace', again, () => 1).body), first);
  });
});

describe('a VLAN link, which this kernel may lack', () => {
  it('is made with the flags that it was listed with', () => {
    for (const flags of [[], ['reorder_hdr'], ['gvrp', 'loose_binding', 'bridge_binding']] as const) {
      const details = { kind: 'vlan', id: 7, protocol: '802.1ad', flags } as const;
      const listed = { kind: 'vlan', name: 'x', link: 'eth0', details };
      const values = newLinkValues(listed as never, () => 9);
      const { info, linkIndex } = linkTable.decode(linkTable.encode(values));
      assert.deepEqual(info, { kind: 'vlan', data: { id: 7, protocol: '802.1ad', flags } });
      assert.equal(linkIndex, 9);
    }
  });
});

describe('the decoder', () => {
  const corpus = readdirSync(CORPUS).flatMap((file) =>
    readFileSync(join(CORPUS, file), 'utf8')
      .trim()
      .split('\n')
      .map((line) => Buffer.from(line, 'hex')),
  );

  it('reads the kept dumps', function () {
    if (!littleEndian) skip(this, 'the corpus is little-endian');
    assert.ok(corpus.reduce((sum, datagram) => sum + decodeAll(datagram), 0) > 100);
  });

  it('survives dumps with bytes changed and cut off', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.constantFrom(...corpus),
        fc.array(change, { maxLength: 20 }),
        fc.nat(),
        (datagram, changes, cut) => {
          const bytes = Buffer.from(datagram);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          decodeAll(bytes.subarray(0, bytes.length - (cut % 3 === 0 ? cut % bytes.length : 0)));
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('survives random attributes in every kind of message', () => {
    const payload = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(
        fc.constantFrom(2, 3, 16, 20, 24, 28, 32, 36),
        fc.nat(0xffff),
        fc.constantFrom(2, 7, 10, 0),
        payload,
        (type, flags, family, body) => {
          body[0] = family;
          decodeAll(encodeMessage(type, flags, 1, body));
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('survives random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        decodeAll(Buffer.from(bytes));
      }),
      { numRuns: 2000 },
    );
  });

  it('reads back every table value that it writes', () => {
    const values = fc.record(
      {
        byte: fc.integer({ min: 0, max: 255 }),
        short: fc.integer({ min: 0, max: 65535 }),
        port: fc.integer({ min: 0, max: 65535 }),
        signed: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        wide: fc.maxSafeNat(),
        address: fc.ipV4(),
        nest: fc.record({ number: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }, { noNullPrototype: true }),
      },
      { requiredKeys: [], noNullPrototype: true },
    );
    fc.assert(
      fc.property(values, (value) => {
        assert.deepEqual({ ...table.decode(table.encode(value)) }, value);
      }),
    );
  });
});

describe('answers of name servers', () => {
  const question = encodeQuestion(0x1234, 'host.example', 'A');
  const reply = (count: number, records: Buffer) => {
    const head = Buffer.from(question);
    head.writeUInt16BE(0x8180, 2);
    head.writeUInt16BE(count, 6);
    return Buffer.concat([head, records]);
  };
  const record = (owner: Buffer, type: number, data: Buffer) =>
    Buffer.concat([owner, Buffer.of(0, type, 0, 1, 0, 0, 0, 0, 0, data.length), data]);
  const asked = Buffer.of(0xc0, 12);
  const alias = Buffer.from('\x05other\x00', 'latin1');
  const address = Buffer.of(192, 0, 2, 1);

  it('lead through aliases to addresses, whatever the order', () => {
    const records = [record(alias, 1, address), record(asked, 5, alias)];
    for (const both of [records, [...records].reverse()]) {
      assert.deepEqual(decodeAnswer(reply(2, Buffer.concat(both)), question, 'A')?.addresses, ['192.0.2.1']);
    }
    assert.deepEqual(decodeAnswer(reply(1, record(alias, 1, address)), question, 'A')?.addresses, []);
  });

  it('are none if they are malformed, and a loop of names or aliases ends', () => {
    const self = record(asked, 5, asked);
    assert.deepEqual(decodeAnswer(reply(1, self), question, 'A')?.addresses, []);
    const loop = Buffer.of(0x01, 0x61, 0xc0, question.length);
    assert.equal(decodeAnswer(reply(1, record(loop, 1, address)), question, 'A'), undefined);
    const long = record(asked, 1, address);
    long.writeUInt16BE(400, long.length - 6);
    assert.equal(decodeAnswer(reply(1, long), question, 'A'), undefined);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(4), (bytes, count) => {
        const answer = decodeAnswer(reply(count, Buffer.from(bytes)), question, 'A');
        for (const found of answer?.addresses ?? []) assert.match(found, /^\d+\.\d+\.\d+\.\d+$/);
        decodeAnswer(Buffer.from(bytes), question, 'A');
      }),
    );
  });
});

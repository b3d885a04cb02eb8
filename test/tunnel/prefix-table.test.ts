import assert from 'node:assert/strict';
import { PacketBatch } from 'tuntap-native';
import { icmpv4Packet, ipv4Packet, ipv6Packet, parseCidr, parseIp } from 'tuntap-native/packet';
import { PacketRuns, PrefixTable } from 'tuntap-native/tunnel';
import { seededRandom } from '../packet/random.ts';

const packet4 = (destination: string, tos = 0, source = '192.0.2.1'): Buffer => {
  const packet = ipv4Packet({ source, destination, protocol: 59, payload: Buffer.alloc(4) });
  packet[1] = tos;
  return packet;
};
const packet6 = (destination: string, trafficClass = 0): Buffer => {
  const packet = ipv6Packet({
    source: '2001:db8::1',
    destination,
    nextHeader: 59,
    payload: Buffer.alloc(4),
  });
  packet.writeUInt32BE(((6 << 28) | (trafficClass << 20)) >>> 0, 0);
  return packet;
};

describe('PrefixTable', () => {
  it('finds the longest prefix that an address lies in', () => {
    const table = new PrefixTable();
    table.set('10.0.0.0/8', 1);
    table.set('10.1.0.0/16', 2);
    table.set('10.1.2.3/32', 3);
    table.set('2001:db8::/32', 4);
    table.set('2001:db8:1::/48', 5);
    for (const [address, value] of [
      ['10.9.9.9', 1],
      ['10.1.9.9', 2],
      ['10.1.2.3', 3],
      ['10.1.2.4', 2],
      ['11.0.0.0', undefined],
      ['2001:db8::1', 4],
      ['2001:db8:1::1', 5],
      ['2001:db9::', undefined],
      ['::ffff:10.1.2.3', undefined],
    ] as const) {
      assert.equal(table.lookup(address), value, address);
    }
    assert.equal(table.size, 5);
  });

  it('keeps default routes of both families apart, and 0 as a number', () => {
    const table = new PrefixTable();
    table.set('0.0.0.0/0', 0);
    assert.equal(table.lookup('255.255.255.255'), 0);
    assert.equal(table.lookup('::1'), undefined);
    table.set('::/0', 7);
    assert.equal(table.lookup('::1'), 7);
    assert.equal(table.delete('0.0.0.0/0'), 0);
    assert.equal(table.lookup('0.0.0.0'), undefined);
    assert.equal(table.lookup('ffff::'), 7);
  });

  it('ignores host bits, moves a prefix to its new number, and tells the old one', () => {
    const table = new PrefixTable();
    assert.equal(table.set('192.0.2.77/24', 1), undefined);
    assert.equal(table.set('192.0.2.1/24', 2), 1);
    assert.equal(table.size, 1);
    assert.equal(table.lookup('192.0.2.200'), 2);
    assert.equal(table.delete('192.0.2.0/25'), undefined);
    assert.equal(table.delete('192.0.2.0/24'), 2);
    assert.equal(table.delete('192.0.2.0/24'), undefined);
    assert.equal(table.size, 0);
  });

  it('agrees with a search through all prefixes, on random walks of both families', () => {
    for (const family of [4, 6] as const) {
      const random = seededRandom(family);
      const address = (): string => {
        // Few distinct bits, so that prefixes lie around each other.
        const low = random(8);
        const high = random(4) * 64;
        return family === 4 ? `10.${high}.0.${low}` : `2001:db8:${high}::${low}`;
      };
      const bits = family === 4 ? 32 : 128;
      const table = new PrefixTable();
      const known = new Map<string, number>();
      const masked = (text: string): string => {
        const { address: bytes, prefixLength } = parseCidr(text);
        const number = BigInt(`0x${bytes.toString('hex')}`) >> BigInt(bits - prefixLength);
        return `${number}/${prefixLength}`;
      };
      for (let step = 0; step < 3000; step++) {
        const prefix = `${address()}/${random(bits + 1)}`;
        const key = masked(prefix);
        if (random(5) < 2) {
          assert.equal(table.delete(prefix), known.get(key));
          known.delete(key);
        } else {
          const value = random(100);
          assert.equal(table.set(prefix, value), known.get(key));
          known.set(key, value);
        }
        assert.equal(table.size, known.size);
        const text = address();
        const number = BigInt(`0x${parseIp(text).toString('hex')}`);
        let expected: number | undefined;
        for (let length = bits; length >= 0 && expected === undefined; length--) {
          expected = known.get(`${number >> BigInt(bits - length)}/${length}`);
        }
        assert.equal(table.lookup(text), expected, text);
      }
    }
  });

  it('parts a batch into runs of one number and one ECN field', () => {
    const table = new PrefixTable();
    table.set('10.0.0.0/8', 5);
    table.set('2001:db8::/32', 6);
    const batch = new PacketBatch();
    const runs = new PacketRuns();
    const packets: [Buffer, number, number][] = [
      [packet4('10.0.0.1'), 5, 0],
      [packet4('10.0.0.2'), 5, 0],
      [packet4('10.0.0.2', 2), 5, 2],
      [packet4('10.0.0.2', 0xfe), 5, 2],
      [packet6('2001:db8::2', 3), 6, 3],
      [packet4('192.0.2.9'), -1, 0],
      [Buffer.from([0x45, 0, 0]), -1, 0],
      [Buffer.alloc(0), -1, 0],
      [packet4('10.0.0.1').fill(0xff, 2, 4), -1, 0],
      [icmpv4Packet({ type: 8, code: 0, payload: Buffer.alloc(40) }), -1, 0],
      [packet6('2001:db8::3'), 6, 0],
    ];
    for (const [packet] of packets) batch.push(packet);
    table.runsByDestination(batch, runs);
    const seen: [number, number][] = [];
    for (let run = 0; run < runs.length; run++) {
      for (let i = runs.start(run); i < runs.end(run); i++) seen[i] = [runs.value(run), runs.ecn(run)];
    }
    assert.deepEqual(
      seen,
      packets.map(([, value, ecn]) => [value, ecn]),
    );
    assert.equal(runs.length, 5);
    table.runsByDestination(batch, runs, 2, 4);
    assert.deepEqual([runs.length, runs.start(0), runs.end(0), runs.value(0)], [1, 2, 4, 5]);
    table.runsByDestination(batch, runs, 3, 3);
    assert.equal(runs.length, 0);
  });

  it('refuses what it can’t take', () => {
    const table = new PrefixTable();
    const batch = new PacketBatch();
    for (let i = 0; i < 3; i++) batch.push(packet4('10.0.0.1'));
    for (const [code, action] of [
      ['ERR_INVALID_ARG_VALUE', () => table.set('10.0.0', 1)],
      ['ERR_INVALID_ARG_VALUE', () => table.set('10.0.0.0/33', 1)],
      ['ERR_INVALID_ARG_TYPE', () => table.set(10 as never, 1)],
      ['ERR_OUT_OF_RANGE', () => table.set('10.0.0.0/8', -1)],
      ['ERR_OUT_OF_RANGE', () => table.set('10.0.0.0/8', 2 ** 31)],
      ['ERR_INVALID_ARG_TYPE', () => table.set('10.0.0.0/8', undefined as never)],
      ['ERR_INVALID_ARG_VALUE', () => table.lookup('10.0.0.0/8')],
      ['ERR_OUT_OF_RANGE', () => table.runsByDestination(batch, new PacketRuns(2))],
      ['ERR_OUT_OF_RANGE', () => table.runsByDestination(batch, new PacketRuns(), 4)],
      ['ERR_INVALID_ARG_TYPE', () => table.runsByDestination([] as never, new PacketRuns())],
      ['ERR_INVALID_ARG_TYPE', () => table.runsByDestination(batch, [] as never)],
      ['ERR_OUT_OF_RANGE', () => new PacketRuns().start(0)],
      ['ERR_OUT_OF_RANGE', () => new PacketRuns(0)],
    ] as const) {
      assert.throws(action, { code }, String(action));
    }
    assert.equal(table.size, 0);
  });
});

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { PacketBatch } from 'tuntap-native';
import { Ipv4Packet, ipv4Packet, ipv6Packet } from 'tuntap-native/packet';
import { Aead, bootTime, DatagramTable, PacketRuns, PrefixTable, SessionTable } from 'tuntap-native/tunnel';

// WireGuard's data message.
const LAYOUT = { headerLength: 16, counterOffset: 8, associatedDataLength: 0 } as const;
const SESSIONS = { ...LAYOUT, indexOffset: 4, type: 4 } as const;
const CIPHER = 'chacha20-poly1305';

const ip = (source: string, size = 40): Buffer =>
  source.includes(':')
    ? ipv6Packet({ source, destination: '2001:db8::9', nextHeader: 59, payload: Buffer.alloc(size, 1) })
    : ipv4Packet({ source, destination: '192.0.2.9', protocol: 59, payload: Buffer.alloc(size, 1) });

class Sender {
  readonly key = randomBytes(32);
  readonly #aead = new Aead(CIPHER, this.key, LAYOUT);
  readonly #header = Buffer.alloc(16);

  constructor(index: number) {
    this.#header.writeUInt32LE(4, 0);
    this.#header.writeUInt32LE(index, 4);
  }

  seal(...packets: Uint8Array[]): Buffer[] {
    const batch = new PacketBatch({ headroom: 16, tailroom: 32 });
    for (const packet of packets) batch.push(packet);
    this.#aead.sealBatch(batch, this.#header, 0, undefined, { multiple: 16, limit: 1420 });
    return [...batch].map((packet) => Buffer.from(packet));
  }
}

const batchOf = (datagrams: readonly Uint8Array[]): PacketBatch => {
  const batch = new PacketBatch();
  for (const datagram of datagrams) batch.push(datagram);
  return batch;
};

const peers = new PrefixTable();
peers.set('10.0.1.0/24', 1);
peers.set('2001:db8:1::/48', 1);
peers.set('10.0.2.0/24', 2);

describe('SessionTable', () => {
  it('leaves the packets of a session alone once its time is over', () => {
    const sessions = new SessionTable(CIPHER, SESSIONS);
    const sender = new Sender(7);
    const [before, after] = sender.seal(ip('10.0.1.1'), ip('10.0.1.1'));
    const runs = new PacketRuns();
    sessions.set(7, sender.key, 1, bootTime() + 60_000);
    sessions.openBatch(batchOf([before]), runs);
    assert.deepEqual([runs.value(0), runs.packets(0)], [1, 1]);
    sessions.set(7, sender.key, 1, bootTime());
    const late = batchOf([after]);
    sessions.openBatch(late, runs);
    assert.deepEqual([runs.value(0), runs.sessionIndex(0)], [-1, 7]);
    assert.deepEqual(late.at(0), after);
    assert.throws(() => sessions.set(7, sender.key, 1, Number.NaN), { code: 'ERR_INVALID_ARG_TYPE' });
  });

  it('opens each packet by the session that it names, and cuts padding off', () => {
    const sessions = new SessionTable(CIPHER, SESSIONS);
    const [one, two] = [new Sender(0x11111111), new Sender(0xfffffff2)];
    sessions.set(0x11111111, one.key, 1);
    sessions.set(0xfffffff2, two.key, 2);
    const packets = [ip('10.0.1.1', 3), ip('2001:db8:1::7', 999), ip('10.0.2.5', 41)];
    const datagrams = [...one.seal(packets[0], packets[1]), ...two.seal(packets[2])];
    for (const { length } of datagrams) assert.equal(length % 16, 0);
    const batch = batchOf(datagrams);
    const runs = new PacketRuns();
    sessions.openBatch(batch, runs, { sources: peers });
    assert.deepEqual([...batch].map(String), packets.map(String));
    assert.equal(runs.length, 2);
    const row = (run: number) => ({
      start: runs.start(run),
      end: runs.end(run),
      value: runs.value(run),
      index: runs.sessionIndex(run),
      packets: runs.packets(run),
      data: runs.dataPackets(run),
      bytes: runs.bytes(run),
      last: runs.lastPacket(run),
    });
    const bytes = datagrams.map(({ length }) => length);
    assert.deepEqual(row(0), {
      ...{ start: 0, end: 2, value: 1, index: 0x11111111, packets: 2, data: 2 },
      ...{ bytes: bytes[0] + bytes[1], last: 1 },
    });
    assert.deepEqual(row(1), {
      ...{ start: 2, end: 3, value: 2, index: 0xfffffff2, packets: 1, data: 1, bytes: bytes[2], last: 2 },
    });
  });

  it('refuses forgeries, repetitions, foreign sources and what is no IP packet, and says which', () => {
    const sessions = new SessionTable(CIPHER, SESSIONS);
    const sender = new Sender(7);
    sessions.set(7, sender.key, 1);
    const [good, foreign, unknown, nonsense, cut, keepalive, changed] = sender.seal(
      ip('10.0.1.1'),
      ip('10.0.2.1'),
      ip('203.0.113.1'),
      Buffer.from('no IP packet'),
      ip('10.0.1.1').fill(0xff, 2, 4),
      Buffer.alloc(0),
      ip('10.0.1.1'),
    );
    changed[30] ^= 1;
    const batch = batchOf([good, foreign, unknown, nonsense, cut, keepalive, changed, good, keepalive]);
    const runs = new PacketRuns();
    sessions.openBatch(batch, runs, { sources: peers });
    const statuses = Array.from({ length: batch.length }, (_, i) => batch.status(i));
    assert.deepEqual(statuses, [0, -13, -13, -42, -42, 0, -74, -114, -114]);
    const dropped = statuses.map((_, i) => batch.isDropped(i));
    assert.deepEqual(
      dropped,
      statuses.map((status) => status !== 0),
    );
    assert.equal(batch.lengthOf(5), 0);
    assert.deepEqual([runs.length, runs.packets(0), runs.dataPackets(0), runs.lastPacket(0)], [1, 6, 5, 5]);
    assert.equal(runs.bytes(0), good.length * 2 + unknown.length + nonsense.length + cut.length + 32);
  });

  it('leaves other datagrams and those of unknown sessions alone', () => {
    const sessions = new SessionTable(CIPHER, SESSIONS);
    const sender = new Sender(7);
    sessions.set(7, sender.key, 1);
    const [own] = sender.seal(ip('10.0.1.1'));
    const [stranger] = new Sender(8).seal(ip('10.0.1.1'));
    const handshake = Buffer.alloc(148, 1);
    handshake.writeUInt32LE(1, 0);
    const short = own.subarray(0, 31);
    const others = [handshake, stranger, short, Buffer.alloc(0), Buffer.from([4])];
    const batch = batchOf([...others, own]);
    const runs = new PacketRuns();
    sessions.openBatch(batch, runs);
    assert.deepEqual(
      [...batch].slice(0, -1).map(String),
      others.map((datagram) => Buffer.from(datagram).toString()),
    );
    let rest = 0;
    for (let run = 0; run < runs.length; run++)
      if (runs.value(run) === -1) rest += runs.end(run) - runs.start(run);
    assert.equal(rest, others.length);
    assert.equal(runs.value(runs.length - 1), 1);
  });

  it('forgets a session that was deleted, and the counters of one that was replaced', () => {
    const sessions = new SessionTable(CIPHER, SESSIONS);
    const sender = new Sender(7);
    const runs = new PacketRuns();
    const [datagram] = sender.seal(ip('10.0.1.1'));
    const opened = (): number => {
      sessions.openBatch(batchOf([datagram]), runs);
      return runs.value(0) < 0 ? -1 : runs.packets(0);
    };
    sessions.set(7, sender.key, 1);
    assert.deepEqual([opened(), opened()], [1, 0]);
    sessions.set(7, sender.key, 1);
    assert.equal(opened(), 1);
    assert.equal(sessions.size, 1);
    assert.equal(sessions.delete(7), true);
    assert.equal(sessions.delete(7), false);
    assert.equal(opened(), -1);
    sessions.set(7, sender.key, 1);
    sessions.dispose();
    assert.deepEqual([sessions.size, opened()], [0, -1]);
  });

  it('accepts 8,128 counters behind the highest, and no more', () => {
    const sessions = new SessionTable(CIPHER, SESSIONS);
    const sender = new Sender(7);
    sessions.set(7, sender.key, 1);
    const datagrams: Buffer[] = [];
    for (let i = 0; i < 8130 / 30; i++) datagrams.push(...sender.seal(...Array(30).fill(ip('10.0.1.1', 1))));
    const runs = new PacketRuns();
    const status = (i: number): number => {
      const batch = batchOf([datagrams[i]]);
      sessions.openBatch(batch, runs);
      return batch.status(0);
    };
    assert.equal(status(8129), 0);
    assert.equal(status(1), -114);
    assert.equal(status(2), 0);
    assert.equal(status(2), -114);
    assert.equal(status(8128), 0);
  });

  it('refuses counters from its limit on', () => {
    const sessions = new SessionTable(CIPHER, { ...SESSIONS, counterLimit: 2 });
    const sender = new Sender(7);
    sessions.set(7, sender.key, 1);
    const batch = batchOf(sender.seal(ip('10.0.1.1'), ip('10.0.1.1'), ip('10.0.1.1')));
    sessions.openBatch(batch, new PacketRuns());
    assert.deepEqual([batch.status(0), batch.status(1), batch.status(2)], [0, 0, -74]);
  });

  it('marks congestion of the outer header in the inner one, where its transport understands that', () => {
    const sessions = new SessionTable(CIPHER, SESSIONS);
    const sender = new Sender(7);
    sessions.set(7, sender.key, 1);
    for (const [inner, outer, expected] of [
      [0, 3, 0],
      [1, 3, 3],
      [2, 3, 3],
      [3, 3, 3],
      [2, 2, 2],
      [2, 0, 2],
      [0xfd, 3, 0xff],
    ]) {
      const packet = new Ipv4Packet(ip('10.0.1.1'));
      packet.bytes[1] = inner;
      packet.fillChecksum();
      const six = ip('2001:db8:1::1');
      six.writeUInt32BE(((6 << 28) | (inner << 20)) >>> 0, 0);
      const batch = batchOf(sender.seal(packet.bytes, six));
      const datagrams = new DatagramTable();
      datagrams.setTos(0, outer);
      datagrams.setTos(1, outer);
      sessions.openBatch(batch, new PacketRuns(), { sources: peers, datagrams });
      const opened = new Ipv4Packet(batch.at(0));
      assert.equal(opened.bytes[1], expected);
      assert.equal(opened.checksumValid, true);
      assert.equal((batch.readUInt32BE(1, 0) >>> 20) & 0xff, expected);
    }
  });

  it('refuses what it can’t take', () => {
    const sessions = new SessionTable(CIPHER, SESSIONS);
    const batch = batchOf([Buffer.alloc(40), Buffer.alloc(40)]);
    const runs = new PacketRuns();
    for (const [code, action] of [
      ['ERR_INVALID_ARG_VALUE', () => new SessionTable('rot13' as never, SESSIONS)],
      ['ERR_INVALID_ARG_TYPE', () => new SessionTable(CIPHER, undefined as never)],
      ['ERR_OUT_OF_RANGE', () => new SessionTable(CIPHER, { ...SESSIONS, indexOffset: 13 })],
      ['ERR_OUT_OF_RANGE', () => new SessionTable(CIPHER, { ...SESSIONS, type: -1 })],
      ['ERR_OUT_OF_RANGE', () => sessions.set(2 ** 32, randomBytes(32), 0)],
      ['ERR_OUT_OF_RANGE', () => sessions.set(1, randomBytes(31), 0)],
      ['ERR_INVALID_ARG_TYPE', () => sessions.set(1, 'key' as never, 0)],
      ['ERR_OUT_OF_RANGE', () => sessions.set(1, randomBytes(32), -1)],
      ['ERR_OUT_OF_RANGE', () => sessions.openBatch(batch, new PacketRuns(1))],
      ['ERR_INVALID_ARG_TYPE', () => sessions.openBatch(batch, runs, { sources: {} as never })],
      ['ERR_INVALID_ARG_TYPE', () => sessions.openBatch(batch, runs, { datagrams: {} as never })],
      ['ERR_OUT_OF_RANGE', () => sessions.openBatch(batch, runs, { datagrams: new DatagramTable(1) })],
      ['ERR_OUT_OF_RANGE', () => sessions.openBatch(batch, runs, { start: 1, end: 3 })],
    ] as const) {
      assert.throws(action, { code }, String(action));
    }
  });
});

describe('Aead: padding', () => {
  it('pads with zeros up to a multiple, but not beyond the limit', () => {
    const key = randomBytes(32);
    for (const [length, limit, padded] of [
      [0, 1420, 0],
      [1, 1420, 16],
      [16, 1420, 16],
      [17, 1420, 32],
      [1410, 1420, 1420],
      [1420, 1420, 1420],
      [1421, 1420, 1436],
      [2840, 1420, 2840],
      [1410, 0, 1424],
      [1410, undefined, 1424],
    ] as const) {
      const batch = new PacketBatch({ headroom: 8, tailroom: 32 });
      batch.push(Buffer.alloc(length, 0xee));
      const padding = { multiple: 16, limit };
      assert.equal(new Aead(CIPHER, key).sealBatch(batch, undefined, 0, undefined, padding), 1);
      assert.equal(batch.lengthOf(0), 8 + padded + 16, `${length} in ${limit}`);
      new Aead(CIPHER, key).openBatch(batch);
      const expected = Buffer.concat([Buffer.alloc(length, 0xee), Buffer.alloc(padded - length)]);
      assert.deepEqual(Buffer.from(batch.at(0)), expected);
    }
  });

  it('drops a packet whose padding has no room', () => {
    const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
    batch.push(Buffer.alloc(8));
    batch.push(Buffer.alloc(9));
    batch.push(Buffer.alloc(16));
    const padding = { multiple: 256 };
    assert.equal(new Aead(CIPHER, randomBytes(32)).sealBatch(batch, undefined, 0, 2, padding), 0);
    assert.deepEqual([batch.status(0), batch.isDropped(0)], [-105, true]);
  });

  it('refuses a padding that it can’t take', () => {
    const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
    const aead = new Aead(CIPHER, randomBytes(32));
    for (const padding of [{ multiple: 0 }, { multiple: 257 }, { multiple: 16, limit: -1 }]) {
      assert.throws(() => aead.sealBatch(batch, undefined, 0, 0, padding), { code: 'ERR_OUT_OF_RANGE' });
    }
  });
});

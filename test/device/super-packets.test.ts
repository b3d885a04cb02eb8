/** The kernel's own segmentation says what splitting and coalescing must come to. */

import assert from 'node:assert/strict';
import { PacketBatch } from 'tuntap-native';
import { seededRandom } from '../packet/random.ts';
import { inNamespace, needs } from '../support.ts';
import {
  batchedToLast,
  HEADER,
  hex,
  KINDS,
  type Kind,
  lastPacket,
  ordinaryPacket,
  type Parts,
  packetsToLast,
  pattern,
  silence,
  unfinishedPacket,
  wire,
} from './super-packets.ts';
import { shell } from './traffic.ts';

const HOP_BY_HOP = { type: 0, bytes: Buffer.from([0, 0, 5, 2, 0, 0, 1, 0]) }; // router alert (RFC 2711)
const DESTINATION = { type: 60, bytes: Buffer.from([0, 1, 1, 12, ...new Array(12).fill(0)]) };
const TIMESTAMPS = Buffer.from([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);

/** Super-packets whose splitting is the kernel's to say. */
function superPackets(kind: Kind): Parts[] {
  const supers: Parts[] = [];
  for (const version of [4, 6] as const) {
    for (const udp of [false, true]) {
      const base = { kind, version, udp };
      for (const [length, gsoSize] of [
        [1001, 1000], // a tail of one byte
        [4000, 1000],
        [4000, 1360],
        [500, 1000], // fits into one
        [64 * 48, 48],
        [65 * 48, 48],
        [128 * 48, 48],
        [60_000, 1400],
      ]) {
        supers.push({ ...base, payload: pattern(length), gsoSize });
      }
      // No segmentation, but a checksum to complete.
      for (const length of [0, 1, 2, 3, 1399]) supers.push({ ...base, payload: pattern(length, length) });
      if (udp) continue;
      supers.push({ ...base, payload: pattern(129 * 48), gsoSize: 48 });
      supers.push({ ...base, payload: pattern(500 * 48 + 1), gsoSize: 48 });
      for (const tcp of [
        { fin: true, psh: true },
        { ece: true },
        { options: TIMESTAMPS },
        { sequenceNumber: 0xffff_ffff - 1500 },
      ]) {
        supers.push({ ...base, payload: pattern(3500), gsoSize: 1000, tcp });
      }
    }
  }
  const payload = pattern(5000);
  for (const udp of [false, true]) {
    const base = { kind, udp, payload, gsoSize: 1000 };
    supers.push({ ...base, identification: 0xfffe });
    supers.push({ ...base, identification: 7, dontFragment: false });
    supers.push({ ...base, ipOptions: Buffer.from([0x94, 4, 0, 0]) }); // router alert (RFC 2113)
    supers.push({ ...base, ipOptions: Buffer.alloc(40, 1) });
    supers.push({ ...base, version: 6, extensionHeaders: [HOP_BY_HOP] });
    supers.push({ ...base, version: 6, extensionHeaders: [HOP_BY_HOP, DESTINATION] });
  }
  return supers;
}

/** TCP and UDP packets of several flows as a sender would interleave them, most of them neighbours in sequence. */
function randomFlows(seed: number, kind: Kind, count: number): Buffer[] {
  const random = seededRandom(seed);
  const flows = Array.from({ length: 6 }, (_, i) => ({
    version: i % 2 ? (6 as const) : (4 as const),
    udp: i % 3 === 0,
    size: [1, 100, 536, 1000, 1400, 48][i],
    sequenceNumber: random(2 ** 31),
    identification: random(0x10000),
  }));
  const packets: Buffer[] = [];
  let flow = flows[0];
  while (packets.length < count) {
    if (random(8) === 0) flow = flows[random(flows.length)];
    const size = random(10) === 0 ? 1 + random(flow.size) : flow.size;
    const { version, udp, sequenceNumber, identification } = flow;
    const tcp = { sequenceNumber, psh: random(10) === 0, options: random(50) === 0 ? TIMESTAMPS : undefined };
    packets.push(
      ordinaryPacket({
        kind,
        version,
        udp,
        tcp,
        identification,
        sourcePort: 5000 + flows.indexOf(flow),
        payload: pattern(size, random(256)),
      }),
    );
    flow.sequenceNumber = (sequenceNumber + size) >>> 0;
    flow.identification = (identification + 1) & 0xffff;
  }
  return packets;
}

/** The packets by flow, which has a source port of its own here, in order within each. */
function byFlow(packets: readonly Buffer[], kind: Kind): string[] {
  const ip = kind === 'tun' ? 0 : kind === 'tap' ? 14 : 18;
  const portOf = (packet: Buffer) => packet.readUInt16BE(packet[ip] >> 4 === 4 ? ip + 20 : ip + 40);
  const ports = [...new Set(packets.map(portOf))].sort();
  return ports.flatMap((port) => hex(packets.filter((packet) => portOf(packet) === port)));
}

function batchOf(packets: readonly Buffer[]): PacketBatch {
  const batch = new PacketBatch({ capacity: 4096, size: 2 ** 22 });
  for (const packet of packets) assert.ok(batch.push(packet));
  return batch;
}

for (const kind of Object.keys(KINDS) as Kind[]) {
  const open = KINDS[kind];

  describe(`super-packets of a ${kind} device`, () => {
    before(function () {
      needs(this, 'ip', 'tc');
    });

    for (const [way, readAll] of [
      ['stream', packetsToLast],
      ['batches', batchedToLast],
    ] as const) {
      it(`are split by ${way} into the packets that the kernel makes of them`, () =>
        inNamespace(async (namespace) => {
          await silence(namespace);
          const options = { namespace, up: true, txQueueLength: 20_000 };
          await using sender = open('dev0', { ...options, offload: 'raw' });
          await using device = open('dev1', options);
          await using oracle = open('dev2', { ...options, offload: false });
          await wire(namespace, sender, device, oracle);
          const supers = superPackets(kind);
          const read = [readAll(device), packetsToLast(oracle)];
          for (const parts of supers) sender.write(unfinishedPacket(parts));
          sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket(kind)]));
          const [split, expected] = await Promise.all(read);
          assert.deepEqual(sender.counters.refused, {});
          assert.ok(expected.length > supers.length + 2000);
          assert.deepEqual(hex(split), hex(expected));
          assert.equal(device.counters.malformed, 0);
          // It was the package that split: the kernel gave fewer.
          const [{ stats64 }] = JSON.parse(await shell(namespace, 'ip -j -s link show dev dev1'));
          assert.equal(stats64.tx.packets, supers.length + 1);
        }));
    }

    it('are what the kernel gets where neighbours of a flow are written, and gives back apart', () =>
      inNamespace(async (namespace) => {
        await silence(namespace);
        const options = { namespace, up: true, txQueueLength: 20_000 };
        await using sender = open('dev0', options);
        await using whole = open('dev1', { ...options, offload: 'raw' });
        await using device = open('dev2', { ...options, offload: false });
        await wire(namespace, sender, whole, device);
        const read = Promise.all([packetsToLast(whole), packetsToLast(device)]);
        const written: Buffer[] = [];
        for (let seed = 1; seed <= 12; seed++) {
          const packets = randomFlows(seed, kind, 150);
          written.push(...packets);
          if (seed % 2) assert.equal(sender.writeBatch(batchOf(packets)), packets.length);
          else for (const packet of packets) sender.write(packet);
          await new Promise((resolve) => setImmediate(resolve));
        }
        sender.write(lastPacket(kind));
        const [merged, apart] = await read;
        assert.deepEqual(byFlow(apart, kind), byFlow(written, kind));
        assert.ok(merged.length < written.length * 0.6, `${merged.length} of ${written.length}`);
        assert.deepEqual(sender.counters.refused, {});
      }));
  });
}

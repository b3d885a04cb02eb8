import assert from 'node:assert/strict';
import {
  type OffloadOption,
  type Offloads,
  openTap,
  openTun,
  PacketBatch,
  type TunTapDevice,
} from 'tuntap-native';
import { seededRandom } from '../packet/random.ts';
import { fdNumbers, inNamespace, needs, nodeProgram, run } from '../support.ts';
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

const TCP = ['tx-tcp-segmentation', 'tx-tcp6-segmentation', 'tx-tcp-ecn-segmentation'];
const UDP = 'tx-udp-segmentation';
const CHECKSUM = 'tx-checksum-ip-generic';

/** The offloads of a link as `ethtool -k` tells them. */
async function features(namespace: Parameters<typeof run>[0], name: string): Promise<Partial<Offloads>> {
  const { stdout } = await run(namespace, 'ethtool', '-k', name);
  const on = (feature: string) => new RegExp(`${feature}: on`).test(stdout);
  return {
    checksum: on(CHECKSUM),
    tso4: on(TCP[0]),
    tso6: on(TCP[1]),
    tsoEcn: on(TCP[2]),
    uso4: on(UDP),
    uso6: on(UDP),
  };
}

/** What a device says of itself, without the mode. */
function told({ offloads: { mode: _, ...rest } }: TunTapDevice): Partial<Offloads> {
  return rest;
}

describe('the offload option', () => {
  before(function () {
    needs(this, 'ip', 'ethtool');
  });

  const table: [OffloadOption | undefined, Offloads['mode'], tcp: boolean, udp: boolean][] = [
    [undefined, 'split', true, true],
    [true, 'split', true, true],
    ['raw', 'raw', true, true],
    [false, 'off', false, false],
    [{}, 'split', true, true],
    [{ udp: false }, 'split', true, false],
    [{ tcp: false }, 'split', false, true],
    [{ tcp: false, udp: false }, 'off', false, false],
  ];
  for (const [kind, open] of [
    ['tun', openTun],
    ['tap', openTap],
  ] as const) {
    it(`gives a ${kind} device the offloads that ethtool -k shows`, () =>
      inNamespace(async (namespace) => {
        for (const [offload, mode, tcp, udp] of table) {
          await using device = open('dev0', { namespace, offload });
          const label = JSON.stringify(offload);
          assert.equal(device.offloads.mode, mode, label);
          assert.deepEqual(told(device), await features(namespace, 'dev0'), label);
          assert.deepEqual([device.offloads.tso4, device.offloads.uso4], [tcp, udp], label);
        }
      }));

    it(`leaves nothing on at a persistent ${kind} device that is opened again without`, () =>
      inNamespace(async (namespace) => {
        await open('dev0', { namespace, persist: true }).close();
        assert.equal((await features(namespace, 'dev0')).tso4, true);
        await using device = open('dev0', { namespace, offload: false, persist: false });
        assert.equal(device.offloads.mode, 'off');
        assert.deepEqual(await features(namespace, 'dev0'), told(device));
      }));
  }

  it('of one more queue can be off: no queue gets super-packets then, and each reads its packets', () =>
    inNamespace(async (namespace) => {
      await silence(namespace);
      await using sender = openTun('tun0', { namespace, offload: 'raw', up: true });
      await using device = openTun('tun1', { namespace, multiQueue: true, up: true });
      await using queue = openTun('tun1', { namespace, multiQueue: true, offload: false });
      assert.equal((await features(namespace, 'tun1')).tso4, false);
      assert.deepEqual(told(queue), await features(namespace, 'tun1'));
      await wire(namespace, sender, device);
      const packets: Buffer[] = [];
      const all = new Promise<void>((resolve) => {
        for (const reader of [device, queue]) {
          reader.on('data', (packet: Buffer) => packets.push(packet) === 4 * 10 && resolve());
        }
      });
      for (let i = 0; i < 10; i++) {
        const payload = pattern(4000, i);
        sender.write(unfinishedPacket({ payload, gsoSize: 1000, sourcePort: 6000 + i }));
      }
      await all;
      for (const packet of packets) assert.equal(packet.length, 1040);
    }));
});

describe('an fd that is adopted', () => {
  before(function () {
    needs(this, 'ip', 'ping', 'ethtool');
  });

  for (const [opened, adopted, expected] of [
    ['raw', true, 'split'],
    ['raw', 'raw', 'raw'],
    ['raw', false, 'split'],
    [true, true, 'split'],
    [false, true, 'off'],
    [false, false, 'off'],
    [false, 'raw', 'ERR_INVALID_ARG_VALUE'],
  ] as const) {
    it(`opened with offload: ${opened}, adopted with ${adopted}: ${expected}`, () =>
      inNamespace(async (namespace) => {
        const parent = openTun('tun0', { namespace, offload: opened, addresses: ['192.0.2.1/24'], up: true });
        // Answers ping, whatever stands before each packet.
        const [program, ...args] = nodeProgram(`
          let tun;
          try {
            tun = openTun(undefined, { fd: 3, offload: ${JSON.stringify(adopted)} });
          } catch ({ code }) {
            process.send({ code });
            process.exit();
          }
          const prefix = tun.offloads.mode === 'raw' ? ${HEADER} : 0;
          tun.on('data', (packet) => {
            const reply = replyToEcho(packet.subarray(prefix));
            if (reply) tun.write(Buffer.concat([Buffer.alloc(prefix), reply]));
          });
          process.send({ offloads: tun.offloads });`);
        const child = namespace.spawn(program, args, {
          stdio: ['ignore', 'inherit', 'inherit', parent.fd, 'ipc'],
        });
        try {
          const message = await new Promise<{ offloads: Offloads; code?: string }>((resolve, reject) => {
            child.once('message', (value) => resolve(value as { offloads: Offloads }));
            child.once('exit', (status) => reject(new Error(`exited with ${status}`)));
          });
          await parent.close();
          if (message.code !== undefined) {
            assert.equal(message.code, expected);
            return;
          }
          const { mode, ...rest } = message.offloads;
          assert.equal(mode, expected);
          assert.deepEqual(rest, await features(namespace, 'tun0'));
          assert.equal(rest.tso4, adopted !== false && opened !== false);
          assert.equal((await run(namespace, 'ping', '-c1', '-W5', '192.0.2.2')).status, 0);
        } finally {
          child.kill('SIGKILL');
        }
      }));
  }
});

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

/** The packets by flow, in order within each: the first nine bytes of the IP header never tell flows apart. */
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

describe('a super-packet of more packets than a batch holds', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  const payload = pattern(1000 * 48);
  const expected = Array.from({ length: 1000 }, (_, i) =>
    ordinaryPacket({
      payload: payload.subarray(48 * i, 48 * (i + 1)),
      tcp: { sequenceNumber: 1000 + 48 * i },
      identification: i,
    }),
  );

  /** Runs `body` with a device for which such a packet waits. */
  function withOne(
    body: (device: TunTapDevice, sender: TunTapDevice) => Promise<void>,
    options: { headroom?: number; tailroom?: number } = {},
  ): Promise<void> {
    return inNamespace(async (namespace) => {
      await silence(namespace);
      await using sender = openTun('tun0', { namespace, offload: 'raw', up: true });
      await using device = openTun('tun1', { namespace, up: true, ...options });
      await wire(namespace, sender, device);
      sender.write(unfinishedPacket({ payload, gsoSize: 48 }));
      await body(device, sender);
    });
  }

  it('is carried on in the next ones', () =>
    withOne(async (device, sender) => {
      sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket('tun')]));
      const lengths: number[] = [];
      const packets: Buffer[] = [];
      for await (const batch of device.batches()) {
        lengths.push(batch.length);
        packets.push(...[...batch].map((packet) => Buffer.from(packet)));
        if (packets.length > 1000) break;
      }
      assert.deepEqual(hex(packets.slice(0, 1000)), hex(expected));
      assert.deepEqual(lengths.slice(0, 3), [256, 256, 256]);
    }));

  it('is carried on by the stream where a loop over batches was left', () =>
    withOne(async (device, sender) => {
      sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket('tun')]));
      const packets: Buffer[] = [];
      for await (const batch of device.batches()) {
        packets.push(...[...batch].map((packet) => Buffer.from(packet)));
        break;
      }
      packets.push(...(await packetsToLast(device)));
      assert.deepEqual(hex(packets), hex(expected));
    }));

  for (const way of ['stream', 'batches']) {
    it(`does not hinder a close in its midst, read by ${way}`, () =>
      inNamespace(async (namespace) => {
        const fds = fdNumbers();
        await silence(namespace);
        await using sender = openTun('tun0', { namespace, offload: 'raw', up: true });
        const device = openTun('tun1', { namespace, up: true });
        await wire(namespace, sender, device);
        sender.write(unfinishedPacket({ payload, gsoSize: 48 }));
        if (way === 'stream') {
          await new Promise((resolve) => device.once('data', resolve));
          await device.close();
        } else {
          const iterator = device.batches();
          assert.equal((await iterator.next()).value.length, 256);
          const waiting = iterator.next();
          await device.close();
          assert.equal((await waiting).done, true);
          assert.equal((await iterator.next()).done, true);
        }
        assert.equal(device.fd, -1);
        await sender.close();
        assert.deepEqual(fdNumbers(), fds);
      }));
  }

  it('passes through a forwarder that fills the room around each packet with 0xFF', () =>
    withOne(
      async (device, sender) =>
        inNamespace(async (namespace) => {
          await silence(namespace);
          const options = { namespace, up: true, txQueueLength: 5000 };
          await using out = openTun('tun0', options);
          await using oracle = openTun('tun1', { ...options, offload: false });
          await wire(namespace, out, oracle);
          const read = packetsToLast(oracle);
          sender.write(unfinishedPacket({ udp: true, payload, gsoSize: 1000 }));
          sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket('tun')]));
          const forwarded: Buffer[] = [];
          for await (const batch of device.batches()) {
            for (let i = 0; i < batch.length; i++) {
              forwarded.push(Buffer.from(batch.at(i)));
              batch.resize(i, 64, 16);
              const around = batch.at(i);
              around.fill(0xff, 0, 64);
              around.fill(0xff, around.length - 16);
              batch.resize(i, -64, -16);
            }
            assert.equal(out.writeBatch(batch), batch.length);
            if (forwarded.length === 1000 + 48 + 1) break;
          }
          assert.deepEqual(hex(forwarded.slice(0, 1000)), hex(expected));
          assert.deepEqual(hex(await read), hex(forwarded.slice(0, -1)));
        }),
      { headroom: 64, tailroom: 16 },
    ));
});

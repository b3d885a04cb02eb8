import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setImmediate } from 'node:timers/promises';
import { openTun, PacketBatch, type TunDevice, type TunOptions } from 'tuntap-native';
import { inNamespace, needs, run } from '../support.ts';
import { numberedPacket, numberOf, numbersUntil, packetsUntil, slowWire, upTo, write } from './traffic.ts';

const COUNT = 200;
const EAGAIN = -11;

/** Runs `body` with a device whose packets wait in a slow wire, a few of them at a time, and its far end. */
function withSlowWire(
  body: (device: TunDevice, far: TunDevice) => Promise<void>,
  options: TunOptions = {},
): Promise<void> {
  return inNamespace(async (namespace) => {
    await using device = openTun('tun0', { ...options, namespace, up: true, sendBuffer: 8192 });
    await using far = openTun('tun1', { namespace, up: true, txQueueLength: 2 * COUNT });
    await slowWire(namespace, device, far);
    await body(device, far);
  });
}

function batchOf(numbers: readonly number[]): PacketBatch {
  const batch = new PacketBatch();
  for (const number of numbers) assert.ok(batch.push(numberedPacket(number)));
  return batch;
}

describe('a full send buffer', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  it("tells a batch's first unsent packet; the rest goes after 'drain', each packet once and in order", () =>
    withSlowWire(async (device, far) => {
      const arrived = numbersUntil(far, COUNT - 1);
      const batch = batchOf(upTo(COUNT));
      let sent = device.writeBatch(batch);
      assert.ok(sent > 0 && sent < COUNT, `${sent} sent at once`);
      assert.equal(batch.firstUnsent, sent);
      assert.deepEqual(
        [batch.status(sent - 1), batch.status(sent), batch.status(COUNT - 1)],
        [0, EAGAIN, EAGAIN],
      );
      while (batch.firstUnsent < batch.length) {
        await once(device, 'drain');
        sent += device.writeBatch(batch, batch.firstUnsent);
      }
      assert.equal(sent, COUNT);
      assert.deepEqual(await arrived, upTo(COUNT));
      const { packetsWritten, bytesWritten, refused } = device.counters;
      assert.deepEqual(
        { packetsWritten, bytesWritten, refused },
        {
          packetsWritten: COUNT,
          bytesWritten: COUNT * 1000,
          refused: {},
        },
      );
    }));

  it('counts a refused packet of such a batch once', () =>
    withSlowWire(async (device) => {
      const batch = new PacketBatch();
      batch.push(Buffer.alloc(30, 0xff));
      for (const number of upTo(COUNT)) batch.push(numberedPacket(number));
      device.writeBatch(batch);
      assert.equal(batch.status(0), -22);
      assert.equal(batch.status(COUNT), EAGAIN);
      assert.ok(batch.firstUnsent > 1);
      await once(device, 'drain');
      device.writeBatch(batch, batch.firstUnsent);
      assert.deepEqual(device.counters.refused, { EINVAL: 1 });
    }));

  it("makes write() return false; every callback comes in order, and 'drain' when all have gone", () =>
    withSlowWire(async (device, far) => {
      const arrived = numbersUntil(far, COUNT - 1);
      const taken: number[] = [];
      let accepted = true;
      for (const number of upTo(COUNT)) {
        accepted = device.write(numberedPacket(number), (error) => {
          assert.equal(error ?? undefined, undefined);
          taken.push(number);
        });
      }
      assert.equal(accepted, false);
      assert.ok(device.writableLength > 0 && device.writableLength < COUNT);
      await once(device, 'drain');
      assert.equal(device.writableLength, 0);
      assert.deepEqual(taken, upTo(COUNT));
      assert.deepEqual(await arrived, upTo(COUNT));
      assert.equal(device.counters.packetsWritten, COUNT);
    }));

  it('serves write() and writeBatch() beside each other, each packet once', () =>
    withSlowWire(async (device, far) => {
      const seen = new Set<number>();
      const all = packetsUntil(far, (packet) => {
        const number = numberOf(packet);
        if (number !== undefined) {
          assert.ok(!seen.has(number), `${number} came twice`);
          seen.add(number);
        }
        return seen.size === COUNT;
      });
      const batch = batchOf(upTo(COUNT / 2));
      device.writeBatch(batch);
      const written = upTo(COUNT / 2).map((i) => write(device, numberedPacket(COUNT / 2 + i)));
      while (batch.firstUnsent < batch.length) {
        await once(device, 'drain');
        device.writeBatch(batch, batch.firstUnsent);
      }
      assert.ok((await Promise.all(written)).every((code) => code === undefined));
      await all;
      assert.equal(device.counters.packetsWritten, COUNT);
    }));

  it('closing gives the writes that wait an error, and the device none', () =>
    withSlowWire(async (device) => {
      device.on('error', assert.fail);
      const codes = upTo(COUNT).map((number) => write(device, numberedPacket(number)));
      await device.close();
      const failed = (await Promise.all(codes)).filter((code) => code !== undefined);
      assert.equal(failed.length, COUNT - device.counters.packetsWritten);
      assert.ok(failed.length > 0);
      assert.equal(failed[0], 'ECANCELED');
    }));

  it('destroying with an error gives that error to the write that waits', () =>
    withSlowWire(async (device) => {
      const reason = Object.assign(new Error('enough'), { code: 'ENOUGH' });
      const codes = upTo(COUNT).map((number) => write(device, numberedPacket(number)));
      const failed = once(device, 'error');
      device.destroy(reason);
      assert.deepEqual(await failed, [reason]);
      assert.equal(
        (await Promise.all(codes)).find((code) => code !== undefined),
        'ENOUGH',
      );
    }));

  it('a deleted device gives EBADFD to the write that waits', () =>
    inNamespace(async (namespace) => {
      await using device = openTun('tun0', { namespace, up: true, sendBuffer: 8192 });
      await using far = openTun('tun1', { namespace, up: true });
      await slowWire(namespace, device, far, '1mbit');
      const failed = once(device, 'error');
      const codes = upTo(COUNT).map((number) => write(device, numberedPacket(number)));
      await run(namespace, 'ip', 'link', 'delete', 'tun0');
      assert.equal(((await failed)[0] as NodeJS.ErrnoException).code, 'EBADFD');
      assert.equal(
        (await Promise.all(codes)).find((code) => code !== undefined),
        'EBADFD',
      );
    }));
});

describe('a device that is not read', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  const QUEUE = 100;
  const SENT = 30_000;

  /** Sends numbered packets, SENT in all, from the same memory; a reader could read between any two batches. */
  async function flood(sender: TunDevice): Promise<void> {
    const batch = batchOf(upTo(COUNT));
    for (let first = 0; first < SENT; first += COUNT) {
      for (let i = 0; i < COUNT; i++) batch.at(i).writeUInt32BE(first + i, 20);
      assert.equal(sender.writeBatch(batch), COUNT);
      await setImmediate();
    }
  }

  /** A sender, and a device with a short queue that gets what it sends, as fast as may be. */
  async function withWire(
    options: TunOptions,
    body: (sender: TunDevice, device: TunDevice, dropped: () => Promise<number>) => Promise<void>,
  ): Promise<void> {
    await inNamespace(async (namespace) => {
      await using sender = openTun('tun0', { namespace, up: true });
      await using device = openTun('tun1', { namespace, up: true, txQueueLength: QUEUE, ...options });
      await slowWire(namespace, sender, device);
      assert.equal((await run(namespace, 'tc', 'qdisc', 'del', 'dev', 'tun1', 'root')).status, 0);
      await body(sender, device, async () => {
        const { stdout } = await run(namespace, 'ip', '-j', '-s', 'link', 'show', 'tun1');
        return JSON.parse(stdout)[0].stats64.tx.dropped;
      });
    });
  }

  it('leaves its packets to the kernel, which drops what its queue does not hold; the memory does not grow', () =>
    withWire({}, async (sender, device, dropped) => {
      const wanted = (packet: Buffer) => numberOf(packet) !== undefined;
      // Read to here, then no more.
      const first = packetsUntil(device, (packet) => numberOf(packet) === 9, wanted);
      sender.writeBatch(batchOf(upTo(10)));
      await first;
      const before = {
        read: device.counters.packetsRead,
        rss: process.memoryUsage.rss(),
        drops: await dropped(),
      };
      await flood(sender);
      const read = device.counters.packetsRead - before.read;
      assert.ok(read <= 64 + 128, `${read} packets read`);
      const drops = (await dropped()) - before.drops;
      assert.ok(drops >= SENT - read - QUEUE && drops <= SENT, `${drops} dropped`);
      const grown = process.memoryUsage.rss() - before.rss;
      assert.ok(grown < (SENT * 1000) / 2, `${grown} bytes more memory`);
      // What was not dropped is there, in order.
      const numbers: number[] = [];
      await packetsUntil(device, (packet) => numbers.push(numberOf(packet) as number) === SENT - drops);
      assert.equal(numbers[0], 0);
      assert.ok(numbers.every((number, i) => i === 0 || number > numbers[i - 1]));
    }));

  it('never reads when there is no reader', () =>
    withWire({}, async (sender, device, dropped) => {
      await flood(sender);
      assert.ok((await dropped()) >= SENT - QUEUE);
      assert.equal(device.counters.packetsRead, 0);
    }));
});

describe('a pipe into a device with a full send buffer', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  // A pipe that somebody else listens beside goes packet by packet, any other by batches.
  for (const listener of [true, false]) {
    it(`${listener ? 'beside a listener ' : ''}reads no faster than that device sends, and every packet arrives once and in order`, () =>
      inNamespace((near) =>
        withSlowWire(
          async (target, far) => {
            await using sender = openTun('tun0', { namespace: near, up: true });
            await using source = openTun('tun1', { namespace: near, up: true, txQueueLength: 2 * COUNT });
            await slowWire(near, sender, source, '10gbit');
            const arrived = numbersUntil(far, COUNT - 1);
            let pauses = 0;
            let longest = 0;
            source.on('pause', () => pauses++);
            if (listener) {
              source.on('data', () => {
                longest = Math.max(longest, target.writableLength);
              });
            }
            source.pipe(target);
            sender.writeBatch(batchOf(upTo(COUNT)));
            assert.deepEqual(await arrived, upTo(COUNT));
            assert.ok(pauses > 0);
            assert.ok(longest <= target.writableHighWaterMark, `${longest} packets waited`);
            // With offloads a batch more waits inside the device.
          },
          { offload: false },
        ),
      ));
  }
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { openTun, PacketBatch, type TunDevice } from 'tuntap-native';
import { code, inNamespace, needs } from '../support.ts';
import { detach, numberedPacket, numberOf, numbersUntil, slowWire, upTo } from './traffic.ts';

const COUNT = 1024;

/** Runs `body` with a sender and a device that can be read what it sends. */
function withWire(body: (sender: TunDevice, device: TunDevice) => Promise<void>): Promise<void> {
  return inNamespace(async (namespace) => {
    await using sender = openTun('tun0', { namespace, up: true });
    await using device = openTun('tun1', { namespace, up: true, txQueueLength: 4 * COUNT });
    await slowWire(namespace, sender, device, '10gbit');
    await body(sender, device);
  });
}

function send(sender: TunDevice, numbers: readonly number[]): void {
  const batch = new PacketBatch({ capacity: 4096, size: 2 ** 22 });
  for (const number of numbers) assert.ok(batch.push(numberedPacket(number)));
  assert.equal(sender.writeBatch(batch), numbers.length);
}

describe('batches()', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  it('gives packets in order, the same PacketBatch each turn, valid until the next', () =>
    withWire(async (sender, device) => {
      send(sender, upTo(COUNT));
      const numbers: (number | undefined)[] = [];
      const batches = new Set<PacketBatch>();
      for await (const batch of device.batches()) {
        batches.add(batch);
        const before = batch.length;
        await setImmediate();
        assert.equal(batch.length, before);
        numbers.push(...[...batch].map(numberOf).filter((number) => number !== undefined));
        if (numbers.at(-1) === COUNT - 1) break;
      }
      assert.deepEqual(numbers, upTo(COUNT));
      assert.equal(batches.size, 1);
    }));

  it('can be left and taken up again, by either reader, and loses nothing', () =>
    withWire(async (sender, device) => {
      send(sender, upTo(COUNT));
      const numbers: (number | undefined)[] = [];
      for (let loops = 0; loops < 2; loops++) {
        for await (const batch of device.batches()) {
          numbers.push(...[...batch].map(numberOf).filter((number) => number !== undefined));
          if (numbers.length > 0) break;
        }
      }
      assert.ok(numbers.length < COUNT);
      assert.equal(device.destroyed, false);
      assert.deepEqual([...numbers, ...(await numbersUntil(device, COUNT - 1))], upTo(COUNT));
    }));

  it('return() ends a next() that waits, and the iterator stays ended', () =>
    withWire(async (sender, device) => {
      const iterator = device.batches();
      const done = { value: undefined, done: true };
      const waiting = iterator.next();
      assert.deepEqual(await iterator.return?.(), done);
      assert.deepEqual(await waiting, done);
      send(sender, [7]);
      assert.deepEqual(await iterator.next(), done);
      assert.deepEqual(await iterator.return?.(), done);
      // The packet is another reader's.
      assert.deepEqual(await numbersUntil(device, 7), [7]);
    }));

  it('an error thrown in the loop leaves it, and the device open', () =>
    withWire(async (sender, device) => {
      send(sender, [1]);
      const loop = async () => {
        for await (const batch of device.batches()) throw new Error(`${batch.length}`);
      };
      await assert.rejects(loop, { message: /^\d+$/ });
      send(sender, [2]);
      assert.equal((await numbersUntil(device, 2)).at(-1), 2);
    }));

  it('next() after close() is done, and so is the one that waits', () =>
    withWire(async (_sender, device) => {
      const iterator = device.batches();
      const waiting = iterator.next();
      await device.close();
      for (const result of [await waiting, await iterator.next(), await iterator.return?.()]) {
        assert.deepEqual(result, { value: undefined, done: true });
      }
    }));

  it('reads by one reader at a time: ERR_TUNTAP_READING', () =>
    withWire(async (_sender, device) => {
      const iterator = device.batches();
      assert.equal(
        code(() => device.batches()),
        'ERR_TUNTAP_READING',
      );
      const first = iterator.next();
      await assert.rejects(iterator.next(), { code: 'ERR_TUNTAP_READING' });
      await iterator.return?.();
      assert.equal((await first).done, true);
      device.resume();
      await setImmediate();
      assert.throws(() => device.batches(), { code: 'ERR_TUNTAP_READING', message: /as a stream/ });
    }));

  const streamReaders: [string, (device: TunDevice) => unknown][] = [
    ["on('data')", (device) => device.on('data', assert.fail)],
    ["addListener('data')", (device) => device.addListener('data', assert.fail)],
    ["prependListener('data')", (device) => device.prependListener('data', assert.fail)],
    ["once('data')", (device) => once(device, 'data')],
    ["on('readable')", (device) => device.on('readable', assert.fail)],
    ['resume()', (device) => device.resume()],
    ['read()', (device) => device.read()],
    ['pipe()', (device) => device.pipe(new PassThrough({ objectMode: true }))],
    ['pipeline()', (device) => pipeline(device, new PassThrough({ objectMode: true }))],
    ['for await', (device) => device[Symbol.asyncIterator]().next()],
    ['toArray()', (device) => device.toArray()],
  ];
  for (const [what, read] of streamReaders) {
    it(`${what} beside a loop over batches is refused, and the loop goes on`, () =>
      withWire(async (sender, device) => {
        const batches = device.batches();
        let waiting = batches.next();
        await assert.rejects(async () => read(device), { code: 'ERR_TUNTAP_READING', message: /in batches/ });
        await setImmediate();
        send(sender, [1]);
        while (![...(await waiting).value].map(numberOf).includes(1)) waiting = batches.next();
        assert.equal(device.destroyed, false);
        assert.deepEqual([device.listenerCount('data'), device.listenerCount('readable')], [0, 0]);
      }));
  }

  for (const [what, read] of [
    ["a 'data' listener", (device) => device.on('data', () => undefined)],
    ["a 'readable' listener", (device) => device.on('readable', () => undefined)],
    ['resume()', (device) => device.resume()],
    ['a pipe', (device) => device.pipe(new PassThrough({ objectMode: true }))],
    [
      'a stream loop',
      (device) =>
        void device[Symbol.asyncIterator]()
          .next()
          .catch(() => undefined),
    ],
  ] as [string, (device: TunDevice) => unknown][]) {
    it(`batches() beside ${what} is refused, and that goes on`, () =>
      withWire(async (sender, device) => {
        read(device);
        assert.throws(() => device.batches(), { code: 'ERR_TUNTAP_READING', message: /as a stream/ });
        send(sender, upTo(10));
        for (let i = 0; device.counters.packetsRead < 10 && i < 1000; i++) await setTimeout(1);
        assert.ok(device.counters.packetsRead >= 10);
        assert.equal(device.destroyed, false);
      }));
  }

  it('takes over from a stream that was paused, unpiped or left, and gives back; no packet is lost', () =>
    withWire(async (sender, device) => {
      const numbers: (number | undefined)[] = [];
      const add = (packets: Iterable<Buffer>): void => {
        numbers.push(...[...packets].map(numberOf).filter((number) => number !== undefined));
      };
      const readBatches = async (count: number): Promise<void> => {
        for await (const batch of device.batches()) {
          add(batch);
          if (numbers.length >= count) break;
        }
      };
      send(sender, upTo(COUNT));
      // Within a listener, while the other packets of one read are given out.
      await new Promise<void>((resolve) => {
        device.on('data', function first(packet: Buffer) {
          add([packet]);
          device.off('data', first);
          device.pause();
          resolve(readBatches(300));
        });
      });
      for await (const packet of device.iterator({ destroyOnReturn: false })) {
        add([packet]);
        if (numbers.length >= 400) break;
      }
      await readBatches(500);
      const sink = new PassThrough({ objectMode: true, highWaterMark: 4096 });
      const passed = once(sink, 'readable');
      device.pipe(sink);
      await passed;
      device.unpipe(sink);
      for (let packet = sink.read(); packet !== null; packet = sink.read()) add([packet]);
      if (numbers.length < COUNT) await readBatches(COUNT);
      device.on('data', (packet: Buffer) => add([packet]));
      device.resume();
      send(sender, [COUNT]);
      for (let i = 0; numbers.at(-1) !== COUNT && i < 1000; i++) await setTimeout(1);
      assert.deepEqual(numbers, upTo(COUNT + 1));
    }));

  it('reads on after the end of the stream', () =>
    withWire(async (sender, device) => {
      device.push(null);
      await once(device.resume(), 'end');
      const batches = device.batches();
      send(sender, [1]);
      let waiting = batches.next();
      while (![...(await waiting).value].map(numberOf).includes(1)) waiting = batches.next();
    }));

  it('turns two busy devices in turn', () =>
    withWire(async (sender, device) =>
      withWire(async (otherSender, other) => {
        send(sender, upTo(2 * COUNT));
        send(otherSender, upTo(2 * COUNT));
        const turns: string[] = [];
        const read = async (from: TunDevice, name: string) => {
          for await (const batch of from.batches()) {
            turns.push(name);
            if (numberOf(batch.at(batch.length - 1)) === 2 * COUNT - 1) break;
          }
        };
        await Promise.all([read(device, 'a'), read(other, 'b')]);
        assert.ok(turns.length >= 16, turns.join(''));
        // Neither takes more than two batches while the other's packets wait.
        const together = turns.slice(0, Math.min(turns.lastIndexOf('a'), turns.lastIndexOf('b')));
        assert.doesNotMatch(together.join(''), /aaa|bbb/);
      }),
    ));

  it('memory that was detached is an error for the one who reads into it or writes from it, not a crash', () =>
    withWire(async (sender, device) => {
      const written = new PacketBatch();
      written.push(numberedPacket(1));
      if (!detach(written.at(0).buffer)) {
        assert.equal(sender.writeBatch(written), 1); // from Node.js 24 on, nobody can detach it
        return;
      }
      assert.throws(() => sender.writeBatch(written), { code: 'EFAULT', syscall: 'write' });
      assert.equal(sender.destroyed, false);
      const failed = once(device, 'error');
      const iterator = device.batches();
      send(sender, [1]);
      const { value } = await iterator.next();
      detach(value.at(0).buffer);
      send(sender, [2]);
      await assert.rejects(iterator.next(), { code: 'EFAULT', syscall: 'read' });
      assert.equal((await failed)[0].code, 'EFAULT');
    }));
});

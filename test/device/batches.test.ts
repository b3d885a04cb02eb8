import assert from 'node:assert/strict';
import { once } from 'node:events';
import { openTun, PacketBatch, type TunDevice } from 'tuntap-native';
import { code, inNamespace, needs } from '../support.ts';
import { numberedPacket, numberOf, numbersUntil, slowWire, upTo } from './traffic.ts';

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
        await new Promise((resolve) => setImmediate(resolve));
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
      await new Promise((resolve) => setImmediate(resolve));
      assert.throws(() => device.batches(), { code: 'ERR_TUNTAP_READING', message: /as a stream/ });
    }));

  it('a stream that begins beside a loop over batches is an error, told to both', () =>
    withWire(async (_sender, device) => {
      const waiting = assert.rejects(device.batches().next(), { code: 'ERR_TUNTAP_READING' });
      const failed = once(device, 'error');
      device.resume();
      assert.equal((await failed)[0].code, 'ERR_TUNTAP_READING');
      await waiting;
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

  it('reading into memory that was transferred away is an error, not a crash, and so is writing from it', () =>
    withWire(async (sender, device) => {
      const written = new PacketBatch();
      written.push(numberedPacket(1));
      structuredClone(null, { transfer: [written.at(0).buffer as ArrayBuffer] });
      assert.throws(() => sender.writeBatch(written), { code: 'EFAULT', syscall: 'write' });
      assert.equal(sender.destroyed, false);
      const failed = once(device, 'error');
      const iterator = device.batches();
      send(sender, [1]);
      const { value } = await iterator.next();
      structuredClone(null, { transfer: [value.at(0).buffer] });
      send(sender, [2]);
      await assert.rejects(iterator.next(), { code: 'EFAULT', syscall: 'read' });
      assert.equal((await failed)[0].code, 'EFAULT');
    }));
});

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { PacketBatch } from 'tuntap-native';
import { Aead, ReplayWindow } from 'tuntap-native/tunnel';
import { code } from '../support.ts';

const EALREADY = -114;
const EBADMSG = -74;

describe('ReplayWindow', () => {
  // RFC 6479's cases: [counter, whether it is new], in order, on a window of 96 (three words and one of slack).
  const tables: Readonly<Record<string, readonly (readonly [number, boolean])[]>> = {
    'the first counter, once': [
      [0, true],
      [0, false],
    ],
    'any first counter': [
      [1_000_000, true],
      [1_000_000, false],
      [999_999, true],
    ],
    'counters out of order': [
      [5, true],
      [3, true],
      [4, true],
      [3, false],
      [0, true],
      [0, false],
    ],
    'the edge of the window': [
      [96, true],
      [1, true],
      [0, false],
      [97, true],
      [1, false],
      [2, true],
    ],
    'a step to the next word': [
      [31, true],
      [32, true],
      [31, false],
      [32, false],
      [63, true],
      [64, true],
      [63, false],
    ],
    'a jump over the whole window': [
      [10, true],
      [10_000, true],
      [10, false],
      [9_905, true],
      [9_904, false],
      [10_000, false],
    ],
    'a jump by the bitmap’s length, whose bits must not stay': [
      [5, true],
      [133, true],
      [132, true],
      [5 + 256, true],
      [133, false],
      [5 + 256 - 95, true],
    ],
    'counters beyond 32 bits': [
      [2 ** 32 - 1, true],
      [2 ** 32, true],
      [2 ** 32 - 1, false],
      [2 ** 32 + 95, true],
      [2 ** 32, false],
      [2 ** 53 - 1, true],
      [2 ** 53 - 1, false],
      [2 ** 53 - 2, true],
    ],
    'what is no counter': [
      [-1, false],
      [0.5, false],
      [Number.NaN, false],
      [2 ** 53, false],
      [Number.POSITIVE_INFINITY, false],
      [0, true],
    ],
  };
  for (const [name, steps] of Object.entries(tables)) {
    it(`takes ${name}`, () => {
      const window = new ReplayWindow(96);
      assert.equal(window.size, 96);
      for (const [counter, fresh] of steps) assert.equal(window.check(counter), fresh, String(counter));
    });
  }

  it('agrees with a set, on random walks', () => {
    for (const size of [32, 96, 224, 992, 8160]) {
      const window = new ReplayWindow(size);
      assert.equal(window.size, size);
      const seen = new Set<number>();
      let highest = -1;
      for (let i = 0; i < 20_000; i++) {
        const jump = randomInt(0, 100) === 0 ? randomInt(0, 3 * size) : randomInt(0, 4);
        const counter = Math.max(0, highest + jump - randomInt(0, Math.ceil(size * 1.1)) * randomInt(0, 2));
        const tooOld = highest - counter >= size;
        assert.equal(window.check(counter), !tooOld && !seen.has(counter), `${counter} after ${highest}`);
        seen.add(counter);
        highest = Math.max(highest, counter);
      }
    }
  });

  it('rounds its size up, and refuses one that it can’t have', () => {
    assert.equal(new ReplayWindow(33).size, 96);
    assert.equal(new ReplayWindow().size, 8160);
    for (const size of [0, 31, 2 ** 20 + 1, 64.5]) {
      assert.equal(
        code(() => new ReplayWindow(size)),
        'ERR_OUT_OF_RANGE',
      );
    }
  });

  it('forgets by reset', () => {
    const window = new ReplayWindow(32);
    assert.ok(window.check(1000) && !window.check(1000));
    window.reset();
    assert.ok(window.check(3) && window.check(1000));
  });

  it('takes in a whole batch behind Aead, and drops what came again', () => {
    const key = Buffer.alloc(32, 1);
    using aead = new Aead('chacha20-poly1305', key, { headerLength: 16, counter: 2 ** 32 - 2 });
    const batch = new PacketBatch({ headroom: 16, tailroom: 16 });
    for (let i = 0; i < 5; i++) batch.push(Buffer.alloc(30, i));
    aead.sealBatch(batch);
    const wire = [0, 1, 2, 2, 4, 3, 1].map((i) => Buffer.from(batch.at(i)));
    wire[4][20] ^= 1;
    const received = new PacketBatch();
    for (const packet of wire) received.push(packet);
    aead.openBatch(received);
    const window = new ReplayWindow();
    assert.equal(window.checkBatch(received, -8), 4);
    assert.deepEqual(
      wire.map((_, i) => received.status(i)),
      [0, 0, 0, EALREADY, EBADMSG, 0, EALREADY],
    );
    assert.deepEqual(
      wire.map((_, i) => received.lengthOf(i)),
      [30, 30, 30, 0, 0, 30, 0],
    );
    // What was forged has not used the counter up.
    assert.equal(window.check(2 ** 32 + 2), true);
  });

  it('refuses an offset that is outside of the packet and its room', () => {
    const batch = new PacketBatch({ headroom: 4 });
    batch.push(Buffer.alloc(8));
    const window = new ReplayWindow();
    for (const offset of [-5, 9, 1.5, Number.NaN]) {
      assert.equal(
        code(() => window.checkBatch(batch, offset)),
        'ERR_OUT_OF_RANGE',
      );
    }
    assert.equal(window.checkBatch(batch, 0), 1);
  });
});

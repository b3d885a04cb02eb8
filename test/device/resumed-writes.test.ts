import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { join } from 'node:path';
import { seededRandom } from '../packet/random.ts';
import { runPreloaded } from '../preload.ts';
import { needs } from '../support.ts';

const PROGRAM = join(import.meta.dirname, 'resumed-writes.js');
const { EAGAIN, EINVAL, ENOBUFS } = constants.errno;

interface Result {
  readonly statuses: number[];
  readonly arrivals: number[];
  readonly strangers: number;
  readonly refused: Record<string, number>;
}

function run(plan: readonly number[], ...args: readonly (number | string)[]): Result {
  const output = runPreloaded('device/faulty-kernel', [PROGRAM, ...args.map(String)], {
    FAIL_PLAN: plan.join(),
  });
  return JSON.parse(output);
}

describe('a batch whose write the kernel cuts short', () => {
  before(function () {
    needs(this, 'ip', 'tc', 'cc');
  });

  for (const refusal of [EINVAL, ENOBUFS]) {
    it(`sends each of two segments in reverse order once, the super-packet being refused (${refusal})`, () => {
      // The super-packet, entry 1, entry 0, and what is left.
      const { arrivals, statuses } = run([refusal, 0, EAGAIN], 'batch', 0, 1, 2, 'reversed');
      assert.deepEqual(
        [arrivals, statuses],
        [
          [1, 1],
          [0, 0],
        ],
      );
    });
  }

  it('goes on where it stopped twice', () => {
    const { arrivals } = run([ENOBUFS, 0, EAGAIN, EAGAIN, EAGAIN], 'batch', 0, 1, 3, 'reversed');
    assert.deepEqual(arrivals, [1, 1, 1]);
  });

  it('sends all of it again if it is written again after it was sent', () => {
    const { arrivals } = run([ENOBUFS, 0, EAGAIN], 'twice', 0, 1, 2, 'reversed');
    assert.deepEqual(arrivals, [2, 2]);
  });

  it('is written to another device from any packet on, whatever the first one has sent', () => {
    // Flows 0 and 1 in turn: of the first device, flow 0 goes out, and flow 1 is left.
    const { arrivals } = run([0, EAGAIN], 'other', 0, 2, 6, 'straight');
    assert.deepEqual(arrivals, [1, 1, 2, 1, 2, 1]);
  });

  for (const seed of [1, 2, 3]) {
    const random = seededRandom(seed);
    const plan = Array.from({ length: 60 }, () => [0, 0, EAGAIN, ENOBUFS][random(4)]);
    const flows = 1 + random(5);
    it(`loses and doubles nothing in ${flows} flows, refused at random (${seed})`, () => {
      const { arrivals, statuses, strangers } = run(plan, 'batch', seed, flows, 40, 'random');
      assert.deepEqual(
        arrivals,
        statuses.map((status) => (status === 0 ? 1 : 0)),
      );
      assert.deepEqual(
        [...new Set(statuses)].filter((status) => ![0, -ENOBUFS].includes(status)),
        [],
      );
      assert.equal(strangers, 0);
    });

    for (const [way, how] of [
      ['one by one', 'stream'],
      ["by another device's listener", 'listener'],
    ]) {
      it(`nor written ${way} (${seed})`, () => {
        const { arrivals, refused, strangers } = run(plan, how, seed, flows, 40, 'random');
        const [first, ...others] = arrivals;
        assert.ok(first <= 2 && others.every((times) => times <= 1), arrivals.join());
        const sum = arrivals.reduce((total, times) => total + times, 0);
        assert.equal(sum + (refused.ENOBUFS ?? 0), 41);
        assert.equal(strangers, 0);
      });
    }
  }
});

import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { join } from 'node:path';
import { runPreloaded } from '../preload.ts';
import { needs } from '../support.ts';

const PROGRAM = join(import.meta.dirname, 'faulty-kernel.js');
const { EINVAL, ENOBUFS, EIO } = constants.errno;

interface Outcome {
  readonly sent: number[];
  readonly refused: Record<string, number>;
  readonly statuses: number[];
  readonly lost: number;
  readonly inOrder: boolean;
  readonly writes: number;
  readonly split: number;
  readonly malformed: number;
}

function run(faults: Record<string, string>): Outcome {
  return JSON.parse(runPreloaded('device/faulty-kernel', [PROGRAM], faults));
}

describe('offloads where the kernel is at fault', () => {
  before(function () {
    needs(this, 'ip', 'tc', 'cc');
  });

  it('the kernel without fault takes 120 packets in four writes', () => {
    assert.deepEqual(run({}), {
      sent: [30, 60, 30],
      refused: {},
      statuses: [0],
      lost: 0,
      inOrder: true,
      writes: 4,
      split: 120,
      malformed: 0,
    });
  });

  it('a kernel that refuses every super-packet with EINVAL gets ordinary packets, and nothing is lost', () => {
    const { writes, ...rest } = run({ FAIL_WRITES: `${EINVAL}` });
    assert.equal(writes, 120);
    assert.deepEqual(rest, {
      sent: [30, 60, 30],
      refused: {},
      statuses: [0],
      lost: 0,
      inOrder: true,
      split: 120,
      malformed: 0,
    });
  });

  it('a super-packet that is refused with EINVAL is the last of its protocol', () => {
    const { writes, lost, inOrder } = run({ FAIL_WRITES: `${EINVAL}`, FAIL_COUNT: '1' });
    // The first batch is TCP, one by one; the second has its other 30, and 30 of UDP in one.
    assert.deepEqual({ writes, lost, inOrder }, { writes: 30 + 30 + 1 + 1, lost: 0, inOrder: true });
  });

  it('ENOBUFS for a super-packet splits that one, and the next is whole again', () => {
    const { writes, lost, inOrder, refused } = run({ FAIL_WRITES: `${ENOBUFS}`, FAIL_COUNT: '1' });
    assert.deepEqual(
      { writes, lost, inOrder, refused },
      { writes: 30 + 3, lost: 0, inOrder: true, refused: {} },
    );
  });

  it('ENOBUFS for everything is counted packet by packet, and what comes after it is sent', () => {
    // The first super-packet of 30, its first 9 packets.
    const outcome = run({ FAIL_WRITES: `${ENOBUFS}`, FAIL_ALL: '1', FAIL_COUNT: '10' });
    assert.deepEqual(outcome.refused, { ENOBUFS: 9 });
    assert.deepEqual(outcome.sent, [21, 60, 30]);
    assert.deepEqual(outcome.statuses, [-ENOBUFS, 0]);
    assert.deepEqual([outcome.lost, outcome.inOrder], [9, true]);
  });

  it('EIO, the link being down, is not tried again packet by packet', () => {
    const outcome = run({ FAIL_WRITES: `${EIO}`, FAIL_COUNT: '1' });
    assert.deepEqual(outcome.refused, { EIO: 30 });
    assert.deepEqual(outcome.sent, [0, 60, 30]);
  });

  it('a header that lies drops its super-packet, which is counted, and the rest is read', () => {
    const outcome = run({ LIE_IN_READS: '1' });
    assert.deepEqual([outcome.split, outcome.malformed], [0, 4]);
    assert.deepEqual([outcome.lost, outcome.inOrder], [0, true]);
  });
});

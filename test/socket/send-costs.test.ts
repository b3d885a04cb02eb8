import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { runPreloaded } from '../preload.ts';
import { needs } from '../support.ts';

const { EACCES, EHOSTUNREACH, EINVAL, EIO, ENETUNREACH } = constants.errno;
const COUNT = 20;
const REACHABLE = ['192.0.2.7', 0] as const;

interface Result {
  readonly statuses: number[];
  readonly refused: Record<string, number>;
  /** Calls of sendmmsg(2), sendmsg(2), recvmsg(2) and getsockopt(2). */
  readonly calls: number;
}

function send(how: string, targets: readonly string[]): Result {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-test-'));
  const file = join(folder, 'calls');
  try {
    const program = [join(import.meta.dirname, 'unreachable.js'), how, targets.join()];
    const output = runPreloaded('socket/fail-sends', program, { COUNT_CALLS: file });
    return { ...JSON.parse(output), calls: Number(readFileSync(file, 'utf8')) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('UdpBatchSocket: what a datagram costs that the kernel refuses', () => {
  let idle = 0;

  before(function () {
    needs(this, 'ip', 'cc');
    idle = send('batch', []).calls;
  });

  for (const [name, address, errno] of [
    ['no route', (i: number) => `198.18.0.${i}`, ENETUNREACH],
    ['an unreachable route', (i: number) => `198.51.100.${i}`, EHOSTUNREACH],
    ['a prohibited route', (i: number) => `203.0.113.${i}`, EACCES],
    ['a blackhole', (i: number) => `203.0.113.${200 + i}`, EINVAL],
    ['no route for IPv6', (i: number) => `2001:db8:1::${i}`, ENETUNREACH],
  ] as const) {
    for (const how of ['batch', 'unsegmented', 'send']) {
      it(`is at most two calls for ${name} (${how})`, () => {
        const { statuses, calls } = send(
          how,
          Array.from({ length: COUNT }, (_, i) => address(i + 1)),
        );
        assert.deepEqual(statuses, Array(COUNT).fill(-errno));
        assert.ok(calls - idle <= 45, `${calls - idle}`);
      });
    }
  }

  it('is less for datagrams to one peer', () => {
    for (const [how, most] of [
      ['batch', 5],
      ['unsegmented', 5],
      ['send', COUNT + 5],
    ] as const) {
      const { statuses, calls } = send(how, Array(COUNT).fill('198.18.0.1'));
      assert.deepEqual(statuses, Array(COUNT).fill(-ENETUNREACH));
      assert.ok(calls - idle <= most, `${how}: ${calls - idle}`);
    }
  });

  it('and tells exactly which of them it was', () => {
    const kinds = [
      REACHABLE,
      ['198.18.0.1', -ENETUNREACH],
      ['198.51.100.9', -EHOSTUNREACH],
      REACHABLE,
      REACHABLE,
      ['203.0.113.9', -EACCES],
      ['203.0.113.9', -EACCES],
      ['203.0.113.250', -EINVAL],
      ['2001:db8::7', 0],
      ['2001:db8:1::7', -ENETUNREACH],
      REACHABLE,
    ] as const;
    for (const how of ['batch', 'unsegmented', 'send']) {
      const { statuses, refused } = send(
        how,
        kinds.map(([address]) => address),
      );
      assert.deepEqual(
        statuses,
        kinds.map(([, status]) => status),
      );
      assert.deepEqual(refused, { ENETUNREACH: 2, EHOSTUNREACH: 1, EACCES: 2, EINVAL: 1 });
    }
  });
});

describe('UdpBatchSocket: a route that can’t segment', () => {
  const refuse = (environment: Record<string, string>) =>
    JSON.parse(
      runPreloaded('socket/fail-sends', [join(import.meta.dirname, 'refused-routes.js')], {
        FAIL_SENDS: `${EIO}`,
        FAIL_PORT: '47811',
        ...environment,
      }),
    );

  before(function () {
    needs(this, 'cc');
  });

  it('is tried again later, and does not keep runs to other peers from leaving as one', () => {
    const { segmented, offloads, refused } = refuse({ FAIL_COUNT: '2' });
    assert.deepEqual(segmented.slice(0, 2), [1, 1]);
    assert.equal(segmented.at(-1), 2);
    assert.deepEqual([offloads.gso, refused], [true, {}]);
  });
});

/** The tables of the protocol: indices, deadlines, rates. */

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseIp } from 'tuntap-native/packet';
import { DeadlineQueue } from '#dist/wireguard/deadline-queue.js';
import { IndexTable } from '#dist/wireguard/index-table.js';
import { RateLimiter } from '#dist/wireguard/rate-limiter.js';

describe('the index table', () => {
  it('takes random bytes as an index, little-endian, and others if it is in use', () => {
    const bytes = ['01020384', '01020384', '01020384', '00000000'].map((hex) => Buffer.from(hex, 'hex'));
    const table = new IndexTable<string>(() => bytes.shift() as Buffer);
    assert.equal(table.add('one'), 0x84030201);
    assert.equal(table.add('other'), 0);
    assert.deepEqual([table.get(0x84030201), table.get(0), table.get(1)], ['one', 'other', undefined]);
    table.replace(0, 'another');
    table.delete(0x84030201);
    assert.deepEqual([table.get(0x84030201), table.get(0), table.size], [undefined, 'another', 1]);
  });
});

describe('the queue of deadlines', () => {
  it('tells what is first, as sorting would', () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('require'), item: fc.nat(12), time: fc.nat(50) }),
      fc.record({ kind: fc.constant('delete'), item: fc.nat(12), time: fc.nat(50) }),
      fc.record({ kind: fc.constant('take'), item: fc.nat(12), time: fc.nat(50) }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 100 }), (commands) => {
        const queue = new DeadlineQueue<number>();
        const model = new Map<number, number>();
        for (const { kind, item, time } of commands) {
          if (kind === 'require') {
            queue.require(item, time);
            model.set(item, Math.min(time, model.get(item) ?? time));
          } else if (kind === 'delete') {
            queue.delete(item);
            model.delete(item);
          } else {
            const taken = queue.take(time);
            const least = Math.min(...model.values());
            if (taken === undefined) assert.ok(least > time);
            else assert.equal(model.get(taken), least);
            if (taken !== undefined) model.delete(taken);
          }
          assert.equal(queue.next, Math.min(...model.values()));
        }
      }),
    );
  });

  it('holds nothing for an infinite time', () => {
    const queue = new DeadlineQueue<string>();
    queue.require('never', Number.POSITIVE_INFINITY);
    assert.equal(queue.next, Number.POSITIVE_INFINITY);
    assert.equal(queue.take(1e12), undefined);
  });
});

describe('the rate limiter', () => {
  const allowed = (limiter: RateLimiter, address: string, now: number, count: number) =>
    Array.from({ length: count }, () => limiter.allow(parseIp(address), now)).filter(Boolean).length;

  it('lets a burst of 5 through, then 20 a second, for each address', () => {
    const limiter = new RateLimiter();
    assert.equal(allowed(limiter, '192.0.2.1', 0, 10), 5);
    assert.equal(allowed(limiter, '192.0.2.1', 49, 1), 0);
    assert.equal(allowed(limiter, '192.0.2.1', 50, 10), 1);
    assert.equal(allowed(limiter, '192.0.2.2', 50, 10), 5);
    assert.equal(allowed(limiter, '192.0.2.1', 150, 10), 2);
    let through = 0;
    for (let now = 200; now < 10_200; now += 5) through += allowed(limiter, '192.0.2.1', now, 1);
    assert.ok(through >= 199 && through <= 206, `${through}`);
  });

  it('has all tokens after a pause', () => {
    const limiter = new RateLimiter();
    allowed(limiter, '192.0.2.1', 0, 10);
    assert.equal(allowed(limiter, '192.0.2.1', 900, 10), 5);
    assert.equal(allowed(limiter, '192.0.2.1', 2000, 10), 5);
  });

  it('counts a network of IPv6 as one, 64 bits, and an IPv4 address in IPv6 as the IPv4 address', () => {
    const limiter = new RateLimiter();
    assert.equal(allowed(limiter, '2001:db8::1', 0, 3), 3);
    assert.equal(allowed(limiter, '2001:db8::ffff:1', 0, 3), 2);
    assert.equal(allowed(limiter, '2001:db8:0:1::1', 0, 9), 5);
    assert.equal(allowed(limiter, '192.0.2.1', 0, 3), 3);
    assert.equal(allowed(limiter, '::ffff:192.0.2.1', 0, 9), 2);
    assert.equal(allowed(limiter, '::ffff:192.0.2.2', 0, 9), 5);
  });

  it('remembers 8,192 addresses at most, each for a second', () => {
    const limiter = new RateLimiter();
    const address = (i: number) => Buffer.of(10, i >> 16, i >> 8, i);
    let through = 0;
    for (let i = 0; i < 20_000; i++) if (limiter.allow(address(i), 0)) through++;
    assert.deepEqual([through, limiter.size], [8192, 8192]);
    assert.ok(limiter.allow(address(5), 1), 'one that is remembered goes on');
    assert.ok(limiter.allow(address(9000), 1000.5));
    assert.equal(limiter.size, 2);
  });
});

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { nextTai64n, tai64n } from '#dist/wireguard/tai64n.js';

describe('TAI64N', () => {
  const cases: [string, number, string][] = [
    ['the Unix epoch', 0, '400000000000000a00000000'],
    ['November 2023', 1700000000000, '400000006553f10a00000000'],
    ['16 ms, which round down to nothing', 16, '400000000000000a00000000'],
    ['17 ms', 17, '400000000000000a01000000'],
    ['999 ms', 999, '400000000000000a3b000000'],
    ['before 1970', -1, '40000000000000093b000000'],
    ['after 2106', 4294967296000, '400000010000000a00000000'],
  ];
  for (const [what, milliseconds, hex] of cases) {
    it(`of ${what}`, () => assert.equal(tai64n(milliseconds).toString('hex'), hex));
  }

  it('never tells the exact time', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 4e12, noNaN: true }), (milliseconds) => {
        const label = tai64n(milliseconds);
        assert.equal(label.readUInt32BE(8) & 0xffffff, 0);
        assert.ok(label.readUInt32BE(8) < 1e9);
      }),
    );
  });

  it('grows whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1e12, max: 4e12 }), { maxLength: 50 }), (times) => {
        let last: Buffer | undefined;
        for (const time of times) {
          const label = nextTai64n(time, last);
          assert.ok(!last || label.compare(last) > 0);
          assert.ok(label.compare(tai64n(time)) >= 0);
          assert.ok(label.readUInt32BE(8) < 1e9);
          last = label;
        }
      }),
    );
  });

  it('is 2^24 ns after the last one where the clock stands still, over the end of a second', () => {
    let last = tai64n(959);
    assert.equal(last.toString('hex'), '400000000000000a39000000');
    const labels = Array.from({ length: 4 }, () => {
      last = nextTai64n(0, last);
      return last.toString('hex');
    });
    assert.deepEqual(labels, [
      '400000000000000a3a000000',
      '400000000000000a3b000000',
      '400000000000000b00000000',
      '400000000000000b01000000',
    ]);
  });
});

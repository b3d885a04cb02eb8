/**
 * The C++ of the offloads, which knows neither devices nor Node: its test programs and the fuzz targets' kept corpus,
 * built with the address and undefined-behaviour sanitizers where the compiler has them.
 */

import assert from 'node:assert/strict';
import { nativePrograms } from './programs.ts';

const UNITS = ['checksum', 'segmentation', 'coalescing', 'coalescing_rules'];
// The number of cases that the round trip tries, and where it begins: the seed that a failure prints.
const SEED = process.env.ROUND_TRIP_SEED ?? '1';
const CASES = process.env.ROUND_TRIP_CASES ?? '20000';

describe('offloads in C++', function () {
  this.timeout(180_000);
  const programs = nativePrograms(UNITS.map((unit) => `offload/${unit}.cc`));

  for (const [program, title] of [
    ['checksum', 'sums every length at every alignment as RFC 1071 does'],
    ['segmentation', 'splits super-packets into the packets they stand for and refuses headers that lie'],
    ['coalescing', 'merges what the rules allow, and nothing else'],
  ] as const) {
    it(title, async () => {
      assert.match(await programs.run([`test/native/${program}.cc`]), /passed/);
    });
  }

  it('gives back by splitting what it coalesced, for random flows', async () => {
    assert.match(await programs.run(['test/native/round_trip.cc'], [SEED, CASES]), /passed/);
  });

  for (const target of ['checksum', 'segmentation', 'coalescing']) {
    it(`finds nothing in the kept corpus of the fuzz target ${target}`, () => programs.replay(target));
  }
});

/**
 * The C++ of the offloads, which knows neither devices nor Node: its test programs and the fuzz targets' kept corpus,
 * built with the address and undefined-behaviour sanitizers where the compiler has them.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { skip } from '../support.ts';

const ROOT = join(fileURLToPath(import.meta.url), '..', '..', '..', '..');
const COMPILER = process.env.CXX ?? 'c++';
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
const UNITS = ['checksum', 'segmentation', 'coalescing', 'coalescing_rules'];
// The number of cases that the round trip tries, and where it begins: the seed that a failure prints.
const SEED = process.env.ROUND_TRIP_SEED ?? '1';
const CASES = process.env.ROUND_TRIP_CASES ?? '20000';

function start(command: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, ASAN_OPTIONS: 'abort_on_error=1', UBSAN_OPTIONS: 'abort_on_error=1' };
  return new Promise((resolve, reject) => {
    execFile(command, args, { env, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${error.message.slice(0, 500)}\n${stderr.slice(-4000)}`));
    });
  });
}

describe('offloads in C++', function () {
  this.timeout(180_000);
  const built = mkdtempSync(join(tmpdir(), 'tuntap-offload-'));
  let flags = [
    '-std=c++17',
    '-O1',
    '-g1',
    '-Wall',
    '-Wextra',
    '-Werror',
    `-I${join(ROOT, 'src-cpp')}`,
    ...SANITIZERS,
  ];
  const objects = UNITS.map((unit) => join(built, `${unit}.o`));

  const link = (name: string, ...sources: string[]) =>
    start(COMPILER, [...flags, '-o', join(built, name), ...sources, ...objects]);

  async function sanitizersAreMissing(): Promise<boolean> {
    const probe = join(built, 'probe.cc');
    writeFileSync(probe, 'int main() {}\n');
    return start(COMPILER, [...SANITIZERS, '-o', join(built, 'probe'), probe]).then(
      () => false,
      () => true,
    );
  }

  before(async function () {
    try {
      await start(COMPILER, ['--version']);
    } catch {
      skip(this, `no compiler ${COMPILER}`);
    }
    if (await sanitizersAreMissing()) flags = flags.filter((flag) => !SANITIZERS.includes(flag));
    await Promise.all(
      UNITS.map((unit, index) =>
        start(COMPILER, [
          ...flags,
          '-c',
          '-o',
          objects[index],
          join(ROOT, 'src-cpp', 'offload', `${unit}.cc`),
        ]),
      ),
    );
  });

  after(() => rmSync(built, { recursive: true }));

  for (const [program, title] of [
    ['checksum', 'sums every length at every alignment as RFC 1071 does'],
    ['segmentation', 'splits super-packets into the packets they stand for and refuses headers that lie'],
    ['coalescing', 'merges what the rules allow, and nothing else'],
  ] as const) {
    it(title, async () => {
      await link(program, join(ROOT, 'test', 'native', `${program}.cc`));
      assert.match(await start(join(built, program), []), /passed/);
    });
  }

  it('gives back by splitting what it coalesced, for random flows', async () => {
    await link('round_trip', join(ROOT, 'test', 'native', 'round_trip.cc'));
    assert.match(await start(join(built, 'round_trip'), [SEED, CASES]), /passed/);
  });

  for (const target of ['checksum', 'segmentation', 'coalescing']) {
    it(`finds nothing in the kept corpus of the fuzz target ${target}`, async () => {
      const corpus = join(ROOT, 'test', 'fuzz', 'corpus', target);
      const program = `fuzz-${target}`;
      await link(
        program,
        join(ROOT, 'test', 'fuzz', `${target}.cc`),
        join(ROOT, 'test', 'fuzz', 'replay.cc'),
      );
      const output = await start(join(built, program), [corpus]);
      assert.equal(output, `${readdirSync(corpus).length} inputs\n`);
    });
  }
});

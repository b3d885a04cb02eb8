/** Builds test programs of C++ that knows neither devices nor Node, with sanitizers where the compiler has them. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { skip } from '../support.ts';

const ROOT = join(fileURLToPath(import.meta.url), '..', '..', '..', '..');
const COMPILER = process.env.CXX ?? 'c++';
const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

function start(command: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, ASAN_OPTIONS: 'abort_on_error=1', UBSAN_OPTIONS: 'abort_on_error=1' };
  return new Promise((resolve, reject) => {
    // Compilers take all the time there is, which tests that wait for packets must not lack.
    execFile('nice', ['-n', '10', command, ...args], { env, maxBuffer: 1 << 24 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${error.message.slice(0, 500)}\n${stderr.slice(-4000)}`));
    });
  });
}

export interface NativePrograms {
  /** Builds a program of these files, paths in the repository, and runs it. Returns its output. */
  run(sources: readonly string[], args?: readonly string[]): Promise<string>;
  /** Builds a fuzz target of test/fuzz, and gives it all that its corpus keeps. */
  replay(target: string): Promise<void>;
}

/**
 * For the suite around the call.
 * @param units the files that all programs need, paths in src-cpp/
 */
export function nativePrograms(units: readonly string[]): NativePrograms {
  let built: string;
  let objects: readonly string[];
  let flags = ['-std=c++17', '-O1', '-g1', '-Wall', '-Wextra', '-Werror', `-I${join(ROOT, 'src-cpp')}`];

  before(async function () {
    await start(COMPILER, ['--version']).catch(() => skip(this, `no compiler ${COMPILER}`));
    built = mkdtempSync(join(tmpdir(), 'tuntap-native-'));
    objects = units.map((unit) => join(built, `${basename(unit, '.cc')}.o`));
    const probe = join(built, 'probe.cc');
    writeFileSync(probe, 'int main() {}\n');
    await start(COMPILER, [...SANITIZERS, '-o', join(built, 'probe'), probe]).then(
      () => {
        flags = [...flags, ...SANITIZERS];
      },
      () => {},
    );
    const waiting = units.map((unit, i) => ['-c', '-o', objects[i], join(ROOT, 'src-cpp', unit)]);
    const compile = async (): Promise<void> => {
      for (let args = waiting.shift(); args; args = waiting.shift())
        await start(COMPILER, [...flags, ...args]);
    };
    await Promise.all([compile(), compile()]);
  });

  after(() => built && rmSync(built, { recursive: true }));

  const run: NativePrograms['run'] = async (sources, args = []) => {
    const program = join(built, basename(sources[0], '.cc'));
    const files = sources.map((source) => join(ROOT, source));
    await start(COMPILER, [...flags, '-o', program, ...files, ...objects]);
    return start(program, args);
  };
  return {
    run,
    async replay(target) {
      const corpus = join(ROOT, 'test', 'fuzz', 'corpus', target);
      const output = await run([`test/fuzz/${target}.cc`, 'test/fuzz/replay.cc'], [corpus]);
      assert.equal(output, `${readdirSync(corpus).length} inputs\n`);
    },
  };
}

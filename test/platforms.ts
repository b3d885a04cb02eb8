/**
 * Runs tests in the runtime that runs this program: `bun out/test/platforms.js out/test/device/stream.test.js`. Leaves out
 * those that platforms.json lists with what the runtime or the engine lacks, and nothing else: a test that is skipped, or a
 * name in the list that no test of these files has, is a failure. The last line is for test/each-file.ts.
 */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import Mocha from 'mocha';

type Lacks = Readonly<Record<string, string>>;

const listed = JSON.parse(
  readFileSync(new URL('../../test/platforms.json', import.meta.url), 'utf8'),
) as Record<string, Readonly<Record<string, Lacks>>>;

const platform =
  ['bun', 'deno'].find((name) => process.versions[name] !== undefined) ?? process.env.TUNTAP_ENGINE ?? 'node';
const files = process.argv.slice(2);
const missing: Lacks = Object.assign({}, ...files.map((file) => listed[platform]?.[shortName(file)] ?? {}));

/** `device/stream` of out/test/device/stream.test.js. */
function shortName(file: string): string {
  return file.replace(/^.*\bout\/test\//, '').replace(/\.test\.js$/, '');
}

const mocha = new Mocha({ timeout: 120_000, reporter: 'dot', forbidPending: process.getuid?.() === 0 });
// A whole file is left out before it is loaded: some ask for what the runtime lacks when they are.
const WHOLE_FILE = '*';
if (missing[WHOLE_FILE] === undefined) {
  for (const file of files) mocha.addFile(resolve(file));
  await mocha.loadFilesAsync();
}

const unseen = new Set(Object.keys(missing));
unseen.delete(WHOLE_FILE);
function leaveOut(suite: Mocha.Suite): void {
  for (const test of suite.tests) unseen.delete(test.fullTitle());
  suite.tests = suite.tests.filter((test) => !(test.fullTitle() in missing));
  for (const child of suite.suites) leaveOut(child);
}
leaveOut(mocha.suite);

const left = Object.keys(missing).length - unseen.size;
for (const title of unseen) console.error(`test/platforms.json lists a test that is not there: ${title}`);
const runner = mocha.run((failures) => {
  const failed = failures + unseen.size;
  const { passes = 0 } = runner.stats ?? {};
  console.log(`\n${passes} passed, ${failed} failed, ${left} left out`);
  process.exit(failed > 0 ? 1 : 0);
});

/**
 * Runs test files of a platform, each in a process of its own, which may crash or hang, as many at a time as there are
 * processors and one more. Prints the sums last, and what a file printed only if it failed.
 *   node out/test/each-file.js PLATFORM COMMAND... -- FILE...
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

const FILE_MS = 600_000;
const RUN = fileURLToPath(new URL('platforms.js', import.meta.url));
const [platform, ...rest] = process.argv.slice(2);
const [command, ...options] = rest.slice(0, rest.indexOf('--'));
const files = rest.slice(rest.indexOf('--') + 1);

interface Outcome {
  readonly ended: string;
  readonly output: string;
}

/** Runs a test file with all that it starts, in a group of their own, so that nothing of it stays. */
function run(file: string): Promise<Outcome> {
  const child = spawn(command, [...options, RUN, file], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data;
    });
  }
  return new Promise((resolve, reject) => {
    let ended = '';
    const stop = (): void => {
      ended = `did not end in ${FILE_MS / 1000} seconds`;
      kill(child);
    };
    const timer = setTimeout(stop, FILE_MS);
    child.on('error', reject);
    child.on('exit', (status, signal) => {
      clearTimeout(timer);
      kill(child);
      running.delete(child);
      ended ||= status === 0 ? '' : `ended with ${signal ?? status}`;
      // What it left running may keep its pipes.
      setTimeout(() => resolve({ ended, output }), 100);
    });
  });
}

const sums = { passed: 0, failed: 0, 'left out': 0 };
const failing: string[] = [];
const waiting = [...files];
const running = new Set<ChildProcess>();

/** Ends a program and all that it started. */
function kill({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {} // all have ended
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    for (const child of running) kill(child);
    process.exit(1);
  });
}

async function worker(): Promise<void> {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
    const { ended, output } = await run(file);
    const line = /^(\d+) passed, (\d+) failed, (\d+) left out$/m.exec(output);
    const counts = (line ?? ['', 0, 1, 0]).slice(1).map(Number);
    // A file that crashed once all its tests had passed failed as well.
    if (ended && counts[1] === 0) counts[1] = 1;
    sums.passed += counts[0];
    sums.failed += counts[1];
    sums['left out'] += counts[2];
    if (counts[1] > 0) {
      failing.push(file);
      console.log(output);
    }
    const said = `${counts[0]} passed, ${counts[1]} failed, ${counts[2]} left out`;
    console.log(`${platform} ${file}: ${said}${ended && `; ${ended}`}`);
  }
}

await Promise.all(Array.from({ length: availableParallelism() + 1 }, worker));
for (const file of failing) console.log(`${platform} failed: ${file}`);
const text = Object.entries(sums).map(([name, count]) => `${count} ${name}`);
console.log(`${platform}: ${text.join(', ')} in ${files.length} files`);
// What a test left running does not keep this program.
process.exit(failing.length > 0 || files.length === 0 ? 1 : 0);

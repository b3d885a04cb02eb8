/** Runs a program in a process of its own that a small library written in C was preloaded into. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCES = join(import.meta.dirname, '..', '..', '..', 'test', 'tunnel');

/** @param library a C file of this folder, without its extension. @returns what node printed */
export function runPreloaded(
  library: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): string {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-test-'));
  try {
    const built = join(folder, `${library}.so`);
    execFileSync('cc', ['-shared', '-fPIC', '-o', built, join(SOURCES, `${library}.c`), '-ldl']);
    return execFileSync(process.execPath, args, {
      env: { ...process.env, LD_PRELOAD: built, ...environment },
      encoding: 'utf8',
      timeout: 10_000,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs a program in a process of its own that a small library written in C was preloaded into. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCES = join(import.meta.dirname, '..', '..', 'test');

/** @param library a C file below test/, without its extension. @returns what node printed */
export function runPreloaded(
  library: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): string {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-test-'));
  try {
    const built = join(folder, 'preloaded.so');
    execFileSync('cc', ['-shared', '-fPIC', '-o', built, join(SOURCES, `${library}.c`), '-ldl']);
    // Behind what is preloaded already: a sanitizer has to come first.
    const LD_PRELOAD = [process.env.LD_PRELOAD, built].filter(Boolean).join(':');
    return execFileSync(process.execPath, args, {
      env: { ...process.env, LD_PRELOAD, ...environment },
      encoding: 'utf8',
      timeout: 10_000,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

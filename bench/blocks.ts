/** Puts what a benchmark measured into the documentation. */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './measure.ts';

/** Whether this run writes into the documentation: `--write`. */
export const WRITE = process.argv.includes('--write');

/**
 * Prints a text, and with `--write` puts it into each file between `<!-- NAME -->` and `<!-- end of NAME -->`.
 * @throws Error if a file has no such place
 */
export function publish(name: string, text: string, ...files: string[]): void {
  console.log(`${text}\n`);
  if (!WRITE) return;
  for (const file of files) {
    const path = join(ROOT, file);
    const old = readFileSync(path, 'utf8');
    const place = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- end of ${name} -->)`);
    if (!place.test(old)) throw new Error(`${file} has no place for ${name}`);
    writeFileSync(
      path,
      old.replace(place, (_, begin, end) => `${begin}${text}\n${end}`),
    );
  }
}

/** What a program prints about its version: the first number with dots. */
export function version(command: string, ...args: string[]): string {
  const text = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  return text.match(/\d+(\.\d+)+[^\s,;]*/)?.[0] ?? 'of unknown version';
}

/** The machine and the software that all figures depend on. */
export const MACHINE = `${cpus().length} cores (${cpus()[0]?.model.trim()}), Linux ${release()}, Node.js ${process.version}`;

/** Belongs below each table that has ratios. */
export const RATIOS = 'Each ratio is the median of the ratios of all rounds, not the ratio of two medians.';

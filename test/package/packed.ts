/** The package as a publisher packs it and a user installs it. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Context } from 'mocha';
import { needs, type Outcome } from '../support.ts';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
// What a fresh clone does not have.
const NOT_COPIED = new Set(['.git', 'build', 'dist', 'node_modules', 'out', 'prebuilds']);

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
  /** What `npm run build` printed. */
  readonly build: string;
  readonly tarball: string;
  /** Installs the tarball in a new folder, with install scripts off. @returns the folder */
  install(name: string): string;
}

let packed: Packed | undefined;

/** Goes a publisher's way once for all tests, from a clean clone on; only node_modules is borrowed. */
export function packedPackage(context: Context): Packed {
  needs(context, 'npm', 'npx', 'tar', 'python3', 'make', 'g++');
  packed ??= pack();
  return packed;
}

function pack(): Packed {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-package-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const tree = join(folder, 'tree');
  cpSync(ROOT, tree, { recursive: true, filter: (path) => !NOT_COPIED.has(relative(ROOT, path)) });
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  const unbuilt = outcome(tree, 'npm', 'pack');
  const build = output(tree, 'npm', 'run', 'build');
  // The file's name comes after what npm tells of the scripts.
  const said = output(tree, 'npm', 'pack', '--pack-destination', folder);
  const tarball = join(folder, said.trim().split('\n').at(-1) as string);
  const install = (name: string): string => {
    const user = join(folder, name);
    mkdirSync(user);
    writeFileSync(join(user, 'package.json'), '{ "private": true, "type": "module" }');
    output(user, 'npm', 'install', '--ignore-scripts', '--prefer-offline', tarball);
    return user;
  };
  return { folder, tree, unbuilt, build, tarball, install };
}

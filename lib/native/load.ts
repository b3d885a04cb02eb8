/** Finds and loads the addon's binary; the only file that names it. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type bindings from 'bindings';
import { codedError } from '../arguments.js';
import { layoutDifference } from './layout.js';

const WRONG_ENGINE = 'ERR_TUNTAP_ENGINE';

/**
 * Loads the addon: one that was built here, else the prebuilt binary for this architecture and libc.
 * @throws Error with code `ERR_TUNTAP_UNSUPPORTED_PLATFORM` anywhere but on Linux, `ERR_TUNTAP_ENGINE` if the environment
 * variable TUNTAP_ENGINE is wrong, and `ERR_TUNTAP_NO_BINARY`, with what to do and the `cause`, if no binary can be loaded
 */
export function loadAddon(): unknown {
  if (process.platform !== 'linux') {
    const message = `tuntap-native works on Linux only; this is ${process.platform}`;
    throw codedError('ERR_TUNTAP_UNSUPPORTED_PLATFORM', message);
  }
  // A bundler that makes CommonJS leaves no URL.
  const url: string | undefined = import.meta.url;
  const root = url && join(dirname(fileURLToPath(url)), '..', '..');
  const candidates = [
    join('build', 'Release', 'tuntap_native.node'),
    join('prebuilds', `linux-${process.arch}`, `tuntap-native.${libc()}.node`),
  ];
  try {
    // Hidden from bundlers: in a bundle, `bindings` can't require anything.
    const { createRequire } = process.getBuiltinModule('node:module');
    const load = createRequire(url)('bindings') as typeof bindings;
    // `bindings` replaces the names of its options, here `module_root`, by their values.
    const files = candidates.map((file) => ['module_root', file]);
    const addon = load({ bindings: 'tuntap_native', module_root: root, try: files });
    if (addon.engine === '') {
      throw codedError(
        WRONG_ENGINE,
        "The environment variable TUNTAP_ENGINE must be 'thread', or 'uv' in Node.js",
      );
    }
    const difference = layoutDifference(addon.layout);
    if (difference) throw new Error(`${addon.path} is of another version: ${difference}`);
    return addon;
  } catch (cause) {
    if ((cause as LoadError).code === WRONG_ENGINE) throw cause;
    const message = `tuntap-native: ${whyNot(cause as LoadError, root, candidates)}`;
    throw Object.assign(new Error(message, { cause }), { code: 'ERR_TUNTAP_NO_BINARY' });
  }
}

interface LoadError extends NodeJS.ErrnoException {
  /** What the permission model denied. */
  readonly resource?: string;
}

/** Says why no binary was loaded, and what to do. */
function whyNot({ code, message, resource }: LoadError, root: string | undefined, files: string[]): string {
  if (code === 'ERR_DLOPEN_DISABLED') {
    return (
      'Node.js is not allowed to load addons (ERR_DLOPEN_DISABLED). ' +
      'With the permission model, start it with --allow-addons, too; else leave out --no-addons.'
    );
  }
  if (code === 'ERR_ACCESS_DENIED') {
    const flag = `--allow-fs-read=${resource}`;
    return `Node.js is not allowed to read ${resource} (ERR_ACCESS_DENIED). Start it with ${flag}, too.`;
  }
  if (root === undefined || !isThisPackage(root)) {
    return (
      'this code is in a bundle, and the binary is not. Keep the package out of the bundle, for example with ' +
      'esbuild --external:tuntap-native; docs/bundlers.md says how for other bundlers.'
    );
  }
  // The first one that is there is the one that was tried.
  const tried = files.find((file) => existsSync(join(root, file)));
  const reason = tried ? `${tried} can't be loaded (${message})` : `neither ${files.join(' nor ')} is there`;
  return (
    `no binary works on linux-${process.arch} with ${libc()}: ${reason}. ` +
    `Build one with python3, make and a C++ compiler: npx node-gyp rebuild --directory=${root}\n` +
    'This tells what else the package needs here: npx tuntap-native doctor'
  );
}

function isThisPackage(root: string): boolean {
  try {
    return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).name === 'tuntap-native';
  } catch {
    return false;
  }
}

/** The C library of this process, as its memory map tells. A diagnostic report tells too, but may wait for name servers. */
export function libc(): 'glibc' | 'musl' {
  try {
    const glibc = /\/libc(\.so\.6|-2\.\d+\.so)$/m;
    return glibc.test(readFileSync('/proc/self/maps', 'latin1')) ? 'glibc' : 'musl';
  } catch {
    return 'glibc'; // Node's permission model denies the file.
  }
}

/** What `doctor` reads of the machine, without the addon. */

import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { libc } from '../native/load.js';

export interface Machine {
  readonly platform: string;
  readonly arch: string;
  readonly libc: 'glibc' | 'musl';
  /** The runtime's own, of process.versions. */
  readonly versions: Readonly<Record<string, string | undefined>>;
  /** Of the kernel, such as `6.18.44-generic`. */
  readonly release: string;
  /** The negative errno of opening /dev/net/tun, or 0. */
  readonly tunErrno: number;
  /** The text of /proc/self/status. */
  readonly status: string;
  /** The text of a file below /proc/sys, or undefined. */
  readonly sysctl: (path: string) => string | undefined;
  /** Whether `unshare --user --map-root-user` made a user namespace; undefined if there is no such program. */
  readonly hasUserNamespaces: boolean | undefined;
}

/** Reads this machine. */
export function readMachine(): Machine {
  const { platform, arch, versions } = process;
  const isLinux = platform === 'linux';
  return {
    platform,
    arch,
    libc: isLinux ? libc() : 'glibc',
    versions,
    release: release(),
    tunErrno: isLinux ? openErrno('/dev/net/tun') : 0,
    status: readText('/proc/self/status') ?? '',
    sysctl: readText,
    hasUserNamespaces: isLinux ? makesUserNamespace() : undefined,
  };
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function openErrno(path: string): number {
  try {
    closeSync(openSync(path, constants.O_RDWR));
    return 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? -1;
  }
}

function makesUserNamespace(): boolean | undefined {
  const { status, error } = spawnSync('unshare', ['-r', '-n', 'true'], { stdio: 'ignore', timeout: 5000 });
  return error === undefined ? status === 0 : undefined;
}

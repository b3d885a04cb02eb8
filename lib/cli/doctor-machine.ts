/** What `doctor` reads of the machine, without the addon. */

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
  /** The text of /proc/self/status; empty if there is none. */
  readonly status: string;
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
    status: readStatus(),
  };
}

function readStatus(): string {
  try {
    return readFileSync('/proc/self/status', 'utf8');
  } catch {
    return ''; // /proc is not mounted
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

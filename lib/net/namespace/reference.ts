/** What names a network namespace: a path, a pid, or a file under /run/netns, as ip-netns(8) makes and removes them. */

import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  statfsSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { invalidArgType, invalidArgValue } from '../../arguments.js';
import { native } from '../../native/addon.js';
import type { Descriptor } from '../../native/descriptor.js';
import { EISDIR, EPERM } from '../../native/errno.js';
import { check, systemError } from '../../system-error.js';
import { userNamespaceError } from './user-namespace.js';

export const NAMED_DIRECTORY = '/run/netns';
const NSFS_MAGIC = 0x6e736673; // linux/magic.h

function namedPath(name: string): string {
  if (typeof name !== 'string') throw invalidArgType('name', 'a string', name);
  if (!/^[^/\0]{1,255}$/.test(name) || name === '.' || name === '..') {
    throw invalidArgValue('name', name, 'must be a file name of 1 to 255 characters');
  }
  return `${NAMED_DIRECTORY}/${name}`;
}

/** Whether `path` names a namespace of any type; undefined if there is no such file, or this process can't see it. */
export function isNamespaceFile(path: string): boolean | undefined {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return undefined;
  }
}

let ownInode: number | undefined;

/** The inode of a namespace; -1 is the process's own. By a path: Deno's `fs` knows no fd that it did not open itself. */
export function inodeOf(fd: number): number {
  ownInode ??= statSync('/proc/thread-self/ns/net').ino;
  return fd < 0 ? ownInode : statSync(`/proc/self/fd/${fd}`).ino;
}

/** The namespace as native code is told to enter it: -1 for the process's own, as entering takes a privilege. */
export function fdToEnter(fd: number): number {
  return inodeOf(fd) === inodeOf(-1) ? -1 : fd;
}

export function openReference(reference: string | number): Descriptor {
  let path: string;
  if (typeof reference === 'number') {
    if (!Number.isInteger(reference) || reference < 1)
      throw invalidArgValue('namespace', reference, 'must be a pid');
    path = `/proc/${reference}/ns/net`;
  } else if (typeof reference === 'string') {
    path = reference.includes('/') ? reference : namedPath(reference);
  } else {
    throw invalidArgType('namespace', 'a NetworkNamespace, a name, a path or a pid', reference);
  }
  // What is no namespace is not opened: a FIFO would block, and opening some devices has effects.
  const isNamespace = isNamespaceFile(path);
  if (isNamespace !== false) {
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    const descriptor = check(native().openIn(-1, path, flags), 'open', path);
    if (native().isNetworkNamespace(descriptor.fd()) === 1) return descriptor;
    descriptor.close();
  }
  throw invalidArgValue('namespace', reference, 'must name a network namespace');
}

/**
 * A new namespace without a name.
 * @param user whether it belongs to a user namespace; undefined: if this process may make no other
 */
export async function createAnonymous(user: boolean | undefined): Promise<Descriptor> {
  if (!user) {
    const made = await native().newNetworkNamespace(false);
    if (user === false || made !== EPERM) return check(made, 'unshare');
  }
  const made = await native().newNetworkNamespace(true);
  if (typeof made === 'number') throw userNamespaceError(made);
  return made;
}

/** A new namespace with that name. */
export async function createNamed(name: string): Promise<Descriptor> {
  const path = namedPath(name);
  mkdirSync(NAMED_DIRECTORY, { recursive: true, mode: 0o755 });
  check(native().shareMounts(NAMED_DIRECTORY), 'mount', NAMED_DIRECTORY);
  reserve(name, path);
  try {
    const descriptor = check(await native().newNetworkNamespace(false), 'unshare', name);
    const bound = native().bindNamespace(descriptor.fd(), path);
    if (bound < 0) descriptor.close();
    check(bound, 'mount', path);
    return descriptor;
  } catch (error) {
    unlinkSync(path);
    throw error;
  }
}

/** Makes the file that the namespace is mounted on. */
function reserve(name: string, path: string): void {
  try {
    // For writing: Deno forgets O_EXCL of a file that is opened for reading.
    closeSync(openSync(path, 'wx', 0));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST' && !isNamespaceFile(path)) {
      (error as Error).message +=
        `: it is no namespace but left over; NetworkNamespace.delete('${name}') removes it`;
    }
    throw error;
  }
}

export function listNames(): readonly string[] {
  try {
    return readdirSync(NAMED_DIRECTORY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

export async function deleteName(name: string): Promise<void> {
  const path = namedPath(name);
  // Deno's unlink would remove it.
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) throw systemError(EISDIR, 'unlink', path);
  const unmounted = await native().unbindNamespace(path);
  try {
    unlinkSync(path);
  } catch (error) {
    // A namespace that could not be unmounted keeps its file busy.
    check(isNamespaceFile(path) ? unmounted : 0, 'umount2', path);
    throw error;
  }
}

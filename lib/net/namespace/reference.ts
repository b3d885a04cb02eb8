/** What names a network namespace that exists: a name under /run/netns, a path, a pid. */

import { constants, statfsSync } from 'node:fs';
import { invalidArgType, invalidArgValue } from '../../arguments.js';
import { type Descriptor, native } from '../../native/addon.js';
import { check } from '../../system-error.js';

export const NAMED_DIRECTORY = '/run/netns';
const NSFS_MAGIC = 0x6e736673; // linux/magic.h

export function namedPath(name: string): string {
  if (typeof name !== 'string') throw invalidArgType('name', 'a string', name);
  if (!/^[^/\0]{1,255}$/.test(name) || name === '.' || name === '..') {
    throw invalidArgValue('name', name, 'must be a file name of 1 to 255 characters');
  }
  return `${NAMED_DIRECTORY}/${name}`;
}

/** Whether `path` names a namespace of any type. It does not open the file, which may be a FIFO or a device. */
export function isNamespaceFile(path: string): boolean {
  return statfsSync(path).type === NSFS_MAGIC;
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
  const descriptor = check<Descriptor>(native().openIn(-1, path, constants.O_RDONLY), 'open', path);
  if (native().isNetworkNamespace(descriptor.fd())) return descriptor;
  descriptor.close();
  throw invalidArgValue('namespace', reference, 'must name a network namespace');
}

/** /dev/net/tun and TUNSETIFF. */

import { constants } from 'node:fs';
import { invalidArgValue } from '../arguments.js';
import { type Descriptor, type Interface, native } from '../native/addon.js';
import { check, systemError } from '../system-error.js';
import { type CheckedOffload, IFF_VNET_HDR, type Offloads, useOffloads } from './offload.js';

const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_TUN_EXCL = 0x8000;
const EPERM = -1;
const DEVICE_PATH = '/dev/net/tun';

export interface Attachment {
  readonly descriptor: Descriptor;
  readonly name: string;
  readonly offloads: Offloads;
}

export interface AttachOptions {
  readonly exclusive?: boolean;
  readonly multiQueue?: boolean;
  readonly offload: CheckedOffload;
}

/** Opens a device, or attaches one more queue to it, in `namespace` (an nsfs fd, or -1). */
export function attach(
  namespace: number,
  name: string,
  kind: 'tun' | 'tap',
  options: AttachOptions,
): Attachment {
  const flags =
    (kind === 'tun' ? IFF_TUN : IFF_TAP) |
    IFF_NO_PI |
    (options.multiQueue ? IFF_MULTI_QUEUE : 0) |
    (options.exclusive ? IFF_TUN_EXCL : 0) |
    (options.offload.mode === 'off' ? 0 : IFF_VNET_HDR);
  // The namespace of a device is the one that /dev/net/tun was opened in.
  const descriptor = check<Descriptor>(
    native().openIn(namespace, DEVICE_PATH, constants.O_RDWR),
    'open',
    DEVICE_PATH,
  );
  return closingOnError(descriptor, () => {
    check<Interface>(native().setInterface(descriptor.fd(), name, flags), 'ioctl TUNSETIFF', name);
    return attached(descriptor, kind, options.offload);
  });
}

/** Takes over an fd that is attached already. */
export function adopt(fd: number, name: string, kind: 'tun' | 'tap', offload: CheckedOffload): Attachment {
  const found = check<Interface>(native().getInterface(fd), 'ioctl TUNGETIFF', String(fd));
  if (!(found.flags & (kind === 'tun' ? IFF_TUN : IFF_TAP)) || !(found.flags & IFF_NO_PI)) {
    throw invalidArgValue('options.fd', fd, `is of '${found.name}', no ${kind} device opened with IFF_NO_PI`);
  }
  if (!name.includes('%') && name !== found.name) {
    throw invalidArgValue('name', name, `must be left out, or be that of the fd, '${found.name}'`);
  }
  const descriptor = check<Descriptor>(native().adopt(fd), 'fcntl', found.name);
  return closingOnError(descriptor, () => attached(descriptor, kind, offload));
}

/** A second queue, or an fd from elsewhere, need not have the flags that were asked for. */
function attached(descriptor: Descriptor, kind: 'tun' | 'tap', offload: CheckedOffload): Attachment {
  const { name, flags } = check<Interface>(native().getInterface(descriptor.fd()), 'ioctl TUNGETIFF');
  return { descriptor, name, offloads: useOffloads(descriptor, kind, flags, offload, name) };
}

/** Calls `use` with an nsfs fd of the namespace that a device is in, or -1 for the process's own. */
export function withDeviceNamespace<T>(fd: number, name: string, use: (namespace: number) => T): T {
  const descriptor = native().deviceNamespace(fd);
  if (typeof descriptor === 'number') {
    // Without CAP_NET_ADMIN the device, a persistent one, is taken to be in the process's namespace.
    if (descriptor === EPERM) return use(-1);
    throw systemError(descriptor, 'ioctl TUNGETDEVNETNS', name);
  }
  try {
    return use(descriptor.fd());
  } finally {
    descriptor.close();
  }
}

/** Returns what `use` does; closes the descriptor if it throws. */
export function closingOnError<T>(descriptor: Descriptor, use: () => T): T {
  try {
    return use();
  } catch (error) {
    descriptor.close();
    throw error;
  }
}

/** One more queue, wrapped by `wrap`. */
export function openQueue<T>(
  namespace: number,
  name: string,
  kind: 'tun' | 'tap',
  offload: CheckedOffload,
  wrap: (attachment: Attachment) => T,
): T {
  const attachment = attach(namespace, name, kind, { multiQueue: true, offload });
  return closingOnError(attachment.descriptor, () => wrap(attachment));
}

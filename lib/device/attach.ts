/** /dev/net/tun and TUNSETIFF. */

import { constants, statSync } from 'node:fs';
import { invalidArgValue } from '../arguments.js';
import { native } from '../native/addon.js';
import { closing, closingOnError, type Descriptor } from '../native/descriptor.js';
import { EBUSY, EPERM } from '../native/errno.js';
import { check, systemError } from '../system-error.js';

const IFF_TUN = 0x0001;
export const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;
const IFF_TUN_EXCL = 0x8000;
const DEVICE_PATH = '/dev/net/tun';
const DEVICE_NUMBERS = (10 << 8) | 200; // MISC_MAJOR and TUN_MINOR of linux/miscdevice.h

export type TunTapKind = 'tun' | 'tap';

/** An fd that is attached to a device. */
export interface Attachment {
  readonly descriptor: Descriptor;
  readonly kind: TunTapKind;
  readonly name: string;
  /** The device's, which may differ from those asked for if others have it open, too. */
  readonly flags: number;
  /** Whether the fd is from elsewhere. */
  readonly adopted: boolean;
}

interface AttachOptions {
  readonly exclusive?: boolean;
  readonly multiQueue?: boolean;
  readonly offload: { readonly mode: 'split' | 'raw' | 'off' };
}

/** Opens a device, or attaches one more queue to it, in `namespace` (an nsfs fd, or -1). */
export function attach(
  namespace: number,
  name: string,
  kind: TunTapKind,
  options: AttachOptions,
): Attachment {
  const wanted =
    (kind === 'tun' ? IFF_TUN : IFF_TAP) |
    IFF_NO_PI |
    (options.multiQueue ? IFF_MULTI_QUEUE : 0) |
    (options.exclusive ? IFF_TUN_EXCL : 0) |
    (options.offload.mode === 'off' ? 0 : IFF_VNET_HDR);
  // The namespace of a device is the one that /dev/net/tun was opened in.
  const descriptor = check(native().openIn(namespace, DEVICE_PATH, constants.O_RDWR), 'open', DEVICE_PATH);
  return closingOnError(descriptor, () => {
    check(native().setInterface(descriptor, name, wanted), 'ioctl TUNSETIFF', name);
    const given = check(native().getInterface(descriptor.fd()), 'ioctl TUNGETIFF', name);
    return { descriptor, kind, adopted: false, ...given };
  });
}

/** Takes an fd that is attached already. Until a device is made of it, closing its descriptor leaves the fd as it was. */
export function adopt(fd: number, name: string, kind: TunTapKind): Attachment {
  const found = check(native().getInterface(fd), 'ioctl TUNGETIFF', String(fd));
  const fits = found.flags & (kind === 'tun' ? IFF_TUN : IFF_TAP) && found.flags & IFF_NO_PI;
  // A macvtap link's character device answers TUNGETIFF, too.
  if (!fits || statSync(`/proc/self/fd/${fd}`).rdev !== DEVICE_NUMBERS) {
    throw invalidArgValue('options.fd', fd, `is of '${found.name}', no ${kind} device opened with IFF_NO_PI`);
  }
  if (!name.includes('%') && name !== found.name) {
    throw invalidArgValue('name', name, `must be left out, or be that of the fd, '${found.name}'`);
  }
  const descriptor = native().adopt(fd);
  if (descriptor === EBUSY) {
    throw invalidArgValue('options.fd', fd, `belongs to an open device of this process, '${found.name}'`);
  }
  return { descriptor: check(descriptor, 'adopt', found.name), kind, adopted: true, ...found };
}

/** Calls `use` with an nsfs fd of the namespace that the device is in, or -1 for the process's own. */
export function withDeviceNamespace<T>(fd: number, name: string, use: (namespace: number) => T): T {
  const descriptor = native().deviceNamespace(fd);
  if (typeof descriptor === 'number') {
    // Without CAP_NET_ADMIN the kernel does not tell: a persistent device is taken to be in the process's namespace.
    if (descriptor === EPERM) return use(-1);
    throw systemError(descriptor, 'ioctl TUNGETDEVNETNS', name);
  }
  return closing(descriptor, use);
}

/** /dev/net/tun and TUNSETIFF. */

import { constants } from 'node:fs';
import { type Descriptor, type Interface, native } from '../native.js';
import { check } from '../system-error.js';

const IFF_TUN = 0x0001;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_TUN_EXCL = 0x8000;
const DEVICE_PATH = '/dev/net/tun';

export interface Attachment {
  readonly descriptor: Descriptor;
  readonly name: string;
}

export interface AttachOptions {
  readonly exclusive?: boolean;
  readonly multiQueue?: boolean;
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
    (options.exclusive ? IFF_TUN_EXCL : 0);
  // The namespace of a device is the one that /dev/net/tun was opened in.
  const descriptor = check<Descriptor>(
    native().openIn(namespace, DEVICE_PATH, constants.O_RDWR),
    'open',
    DEVICE_PATH,
  );
  return closingOnError(descriptor, () => {
    const { name: given } = check<Interface>(
      native().setInterface(descriptor.fd(), name, flags),
      'ioctl TUNSETIFF',
      name,
    );
    return { descriptor, name: given };
  });
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
  wrap: (attachment: Attachment) => T,
): T {
  const attachment = attach(namespace, name, kind, { multiQueue: true });
  return closingOnError(attachment.descriptor, () => wrap(attachment));
}

/**
 * Offloads of TUN and TAP devices: packets of up to 64 KiB that stand for many, exchanged with a virtio_net_hdr
 * before each (linux/virtio_net.h, linux/if_tun.h).
 */

import { invalidArgType, invalidArgValue, requireBoolean } from '../arguments.js';
import { native } from '../native/addon.js';
import { EINVAL } from '../native/errno.js';
import type { NetlinkSocket } from '../net/netlink/socket.js';
import { check, systemError } from '../system-error.js';
import { type Attachment, IFF_VNET_HDR } from './attach.js';

/** Bytes before each packet of a device that was opened with `offload: 'raw'`. */
export const VIRTIO_HEADER_SIZE = 10;
const MAX_HEADER_SIZE = 64; // kMaxVirtioHeaderSize of src-cpp/offload/virtio_net_header.h

const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
const TUN_F_USO4 = 0x20; // USO needs Linux 6.2
const TUN_F_USO6 = 0x40;
const TCP_FEATURES = TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
const UDP_FEATURES = TUN_F_USO4 | TUN_F_USO6;

/** Which protocols are exchanged in packets of up to 64 KiB. */
export interface OffloadedProtocols {
  /** **Default:** `true` */
  readonly tcp?: boolean;
  /** **Default:** `true` */
  readonly udp?: boolean;
}

/** See {@link TunOptions.offload}. */
export type OffloadOption = boolean | 'raw' | OffloadedProtocols;

/** The offloads of a device. */
export interface Offloads {
  /**
   * `'split'`: you read and write ordinary packets, while the package and the kernel exchange larger ones. `'raw'`: you
   * read and write the larger packets, each behind its virtio_net_hdr. `'off'`: there are ordinary packets only.
   */
  readonly mode: 'split' | 'raw' | 'off';
  /** The kernel may leave checksums to the reader. */
  readonly checksum: boolean;
  /** TCP over IPv4 in packets of up to 64 KiB. */
  readonly tso4: boolean;
  /** TCP over IPv6. */
  readonly tso6: boolean;
  /** TCP with explicit congestion notification. */
  readonly tsoEcn: boolean;
  /** UDP over IPv4; Linux 6.2 and newer. */
  readonly uso4: boolean;
  /** UDP over IPv6. */
  readonly uso6: boolean;
}

export interface CheckedOffload {
  readonly mode: 'split' | 'raw' | 'off';
  readonly tcp: boolean;
  readonly udp: boolean;
}

export const NO_OFFLOADS: Offloads = offloads('off', 0);

export function checkOffload(option: OffloadOption = true): CheckedOffload {
  if (option === 'raw') return { mode: 'raw', tcp: true, udp: true };
  if (typeof option === 'boolean') return { mode: option ? 'split' : 'off', tcp: option, udp: option };
  if (typeof option !== 'object' || option === null) {
    throw invalidArgType('options.offload', "a boolean, 'raw' or an object", option);
  }
  const tcp = requireBoolean('options.offload.tcp', option.tcp ?? true);
  const udp = requireBoolean('options.offload.udp', option.udp ?? true);
  return { mode: tcp || udp ? 'split' : 'off', tcp, udp };
}

/**
 * Sets up the offloads of an attached fd, and calls `use` with them. If that throws, the device has the same ones as
 * before. While other queues are open, the size of the virtio_net_hdr stays and offloads are switched off only.
 */
export function withOffloads<T>(
  attachment: Attachment,
  socket: NetlinkSocket,
  wanted: CheckedOffload,
  use: (offloads: Offloads) => T,
): T {
  const { descriptor, name, adopted } = attachment;
  const fd = descriptor.fd();
  const shared = check<number>(native().countQueues(fd), 'RTM_GETLINK', name) > 1;
  const headerSize = check<number>(native().getVirtioHeaderSize(fd), 'ioctl TUNGETVNETHDRSZ', name);
  const features =
    shared || adopted
      ? check<number>(native().getOffload(socket.fd, name), 'ioctl SIOCETHTOOL', name)
      : undefined;
  try {
    return use(useOffloads(attachment, wanted, headerSize, shared, features));
  } catch (error) {
    if (features !== undefined) native().setOffload(fd, features);
    native().setVirtioHeaderSize(fd, headerSize);
    throw error;
  }
}

/**
 * @param shared whether other queues are open, perhaps another program's
 * @param found the offloads that are on; undefined if nobody else knows the device
 */
function useOffloads(
  { descriptor, kind, name, flags }: Attachment,
  wanted: CheckedOffload,
  headerSize: number,
  shared: boolean,
  found = 0,
): Offloads {
  const fd = descriptor.fd();
  const { mode, tcp, udp } = wanted;
  if (!(flags & IFF_VNET_HDR)) {
    if (mode === 'raw') {
      throw invalidArgValue('options.offload', 'raw', `can't be: '${name}' was opened without IFF_VNET_HDR`);
    }
    // A persistent device has the offloads of its last user, and its packets would never be split.
    if (!shared) trySetFeatures(fd, 0, name);
    return NO_OFFLOADS;
  }
  const fits = mode === 'raw' ? headerSize === VIRTIO_HEADER_SIZE : headerSize <= MAX_HEADER_SIZE;
  if (!fits && shared) {
    const reason = `can't be: other queues of '${name}' have a virtio_net_hdr of ${headerSize} bytes`;
    throw invalidArgValue('options.offload', mode, reason);
  }
  const size = fits ? headerSize : VIRTIO_HEADER_SIZE;
  if (!fits) check(native().setVirtioHeaderSize(fd, size), 'ioctl TUNSETVNETHDRSZ', name);
  const features = setFeatures(fd, wanted, shared ? found : ~0, name);
  if (mode === 'raw') return offloads('raw', features);
  check(native().useOffloads(descriptor, kind === 'tap', tcp, udp, size), 'useOffloads', name);
  return offloads('split', features);
}

/** Asks for all that is wanted and allowed, and for less if the kernel lacks some; returns what is on. */
function setFeatures(fd: number, { tcp, udp }: CheckedOffload, allowed: number, name: string): number {
  const wanted = (tcp || udp ? TUN_F_CSUM : 0) | (tcp ? TCP_FEATURES : 0) | (udp ? UDP_FEATURES : 0);
  const all = wanted & allowed;
  const withoutUdp = all & ~UDP_FEATURES;
  const choices = [all, all & ~TUN_F_TSO_ECN, withoutUdp, withoutUdp & ~TUN_F_TSO_ECN, all & TUN_F_CSUM, 0];
  return choices.find((features) => trySetFeatures(fd, features, name)) ?? 0;
}

/** Returns false if the kernel lacks one of them. */
function trySetFeatures(fd: number, features: number, name: string): boolean {
  const result = native().setOffload(fd, features);
  if (result < 0 && result !== EINVAL) throw systemError(result, 'ioctl TUNSETOFFLOAD', name);
  return result >= 0;
}

function offloads(mode: Offloads['mode'], features: number): Offloads {
  return {
    mode,
    checksum: (features & TUN_F_CSUM) !== 0,
    tso4: (features & TUN_F_TSO4) !== 0,
    tso6: (features & TUN_F_TSO6) !== 0,
    tsoEcn: (features & TUN_F_TSO_ECN) !== 0,
    uso4: (features & TUN_F_USO4) !== 0,
    uso6: (features & TUN_F_USO6) !== 0,
  };
}

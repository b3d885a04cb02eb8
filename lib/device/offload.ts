/**
 * Offloads of TUN and TAP devices: packets of up to 64 KiB that stand for many, exchanged with a virtio_net_hdr
 * before each (linux/virtio_net.h, linux/if_tun.h).
 */

import { invalidArgType, invalidArgValue, requireBoolean } from '../arguments.js';
import { type Descriptor, native } from '../native/addon.js';
import { check, systemError } from '../system-error.js';

export const IFF_VNET_HDR = 0x4000;
/** Bytes before each packet of a device that was opened with `offload: 'raw'`. */
export const VIRTIO_HEADER_SIZE = 10;

const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
const TUN_F_USO4 = 0x20; // USO needs Linux 6.2
const TUN_F_USO6 = 0x40;
const TCP_FEATURES = TUN_F_TSO4 | TUN_F_TSO6;
const UDP_FEATURES = TUN_F_USO4 | TUN_F_USO6;
const EINVAL = -22;

/** Which protocols are exchanged in packets of up to 64 KiB. */
export interface OffloadedProtocols {
  /** **Default:** `true` */
  readonly tcp?: boolean;
  /** **Default:** `true` */
  readonly udp?: boolean;
}

/** See {@link TunOptions.offload}. */
export type OffloadOption = boolean | 'raw' | OffloadedProtocols;

/** What a device's offloads are. */
export interface Offloads {
  /**
   * `'split'`: the user reads and writes ordinary packets, the package and the kernel exchange larger ones; `'raw'`:
   * the user has the larger ones, each behind its virtio_net_hdr; `'off'`: there are ordinary packets only.
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
 * Sets up an attached fd. The device may have the header though it was not asked for, or lack it, where the fd is one
 * more queue or was adopted: then that decides.
 * @param flags the device's, from TUNGETIFF
 */
export function useOffloads(
  descriptor: Descriptor,
  kind: 'tun' | 'tap',
  flags: number,
  wanted: CheckedOffload,
  name: string,
): Offloads {
  const fd = descriptor.fd();
  if (!(flags & IFF_VNET_HDR)) {
    if (wanted.mode === 'raw') {
      throw invalidArgValue('options.offload', 'raw', `can't be: '${name}' was opened without IFF_VNET_HDR`);
    }
    // A persistent device keeps what its last user asked for, and would give packets that were never split.
    const result = native().setOffload(fd, 0);
    if (result < 0 && result !== EINVAL) throw systemError(result, 'ioctl TUNSETOFFLOAD', name);
    return NO_OFFLOADS;
  }
  check(native().setVirtioHeaderSize(fd, VIRTIO_HEADER_SIZE), 'ioctl TUNSETVNETHDRSZ', name);
  const features = setFeatures(fd, wanted, name);
  if (wanted.mode === 'raw') return offloads('raw', features);
  native().useOffloads(descriptor, kind === 'tap', wanted.tcp, wanted.udp);
  return offloads('split', features);
}

/** Asks for all that is wanted, and for less where the kernel has not got it. */
function setFeatures(fd: number, { tcp, udp }: CheckedOffload, name: string): number {
  const checksum = tcp || udp ? TUN_F_CSUM : 0;
  const withTcp = checksum | (tcp ? TCP_FEATURES : 0);
  const withUdp = udp ? UDP_FEATURES : 0;
  const ecn = tcp ? TUN_F_TSO_ECN : 0;
  const choices = [withTcp | withUdp | ecn, withTcp | withUdp, withTcp | ecn, withTcp, checksum, 0];
  for (const features of choices) {
    const result = native().setOffload(fd, features);
    if (result >= 0) return features;
    if (result !== EINVAL) throw systemError(result, 'ioctl TUNSETOFFLOAD', name);
  }
  return 0;
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

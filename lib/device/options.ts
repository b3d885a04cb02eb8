import { type Cidr, checkCidr, checkMac } from '../address.js';
import {
  checkGiven,
  checkMtu,
  checkSignal,
  invalidArgType,
  invalidArgValue,
  requireObject,
} from '../arguments.js';
import type { PacketMargins } from '../io/packet-batch.js';
import type { NamespaceReference } from '../net/network-namespace.js';
import { type CheckedOffload, checkOffload, type OffloadOption } from './offload.js';

/** Options of every device. */
export interface DeviceOptions extends PacketMargins {
  /** IPv4 and IPv6 addresses with their prefix length, such as `'192.0.2.1/24'`. **Default:** none */
  readonly addresses?: readonly string[];
  /** In bytes, 68 to 65,535; IPv6 needs 1,280. **Default:** the kernel's, 1,500 */
  readonly mtu?: number;
  /** Whether to set the link up. **Default:** `false` */
  readonly up?: boolean;
  /** How many packets the kernel queues for the reader before it drops some. **Default:** the kernel's, 500 */
  readonly txQueueLength?: number;
  /** The network namespace to open the device in. **Default:** the process's own */
  readonly namespace?: NamespaceReference;
  /** While the kernel still has so many bytes of written packets, a write waits. **Default:** no limit */
  readonly sendBuffer?: number;
  /** Destroys the device with an AbortError when it aborts. */
  readonly signal?: AbortSignal;
}

/** Options of {@link openTun}. */
export interface TunOptions extends DeviceOptions {
  /** Fail with EBUSY if the device exists. **Default:** `false` */
  readonly exclusive?: boolean;
  /**
   * Whether the device stays when it is closed. The last of its queues to close leaves it without offloads, so that any
   * program can use it then; a killed process can't do that. **Default:** as it was; a new device goes
   */
  readonly persist?: boolean;
  /**
   * The uid of the user who may open the device without CAP_NET_ADMIN; with `group`, only as a member of that group.
   * **Default:** none; everybody who may open /dev/net/tun may open a persistent device with neither
   */
  readonly owner?: number;
  /** The gid of the group whose members may open it without CAP_NET_ADMIN. **Default:** none, see `owner` */
  readonly group?: number;
  /**
   * Whether the device can have several queues, see {@link TunTapDevice.queue}. All queues share the device's offloads:
   * while other queues are open, in any program, this one switches no offload on. **Default:** `false`
   */
  readonly multiQueue?: boolean;
  /** Whether the link has its carrier. **Default:** `true` */
  readonly carrier?: boolean;
  /**
   * `true`: the kernel and this package exchange packets of up to 64 KiB. The package splits and coalesces them, so that
   * you see ordinary packets; bulk TCP and UDP are several times faster. `'raw'`: you get and write the large packets,
   * each behind its virtio_net_hdr of 10 bytes. `false`: the plain device. `{ tcp, udp }`: each protocol on its own. The
   * device does without what the kernel lacks; {@link TunTapDevice.offloads} says what is on. **Default:** `true`
   */
  readonly offload?: OffloadOption;
  /**
   * An open fd of a device, from a parent process or a helper with more rights, to use instead of opening one. It is
   * closed with the device. If the call throws, the fd stays open and as it was. **Default:** none
   */
  readonly fd?: number;
}

/** Options of {@link openTap}. */
export interface TapOptions extends TunOptions {
  /** The link-layer address, a unicast one. **Default:** the kernel makes one up */
  readonly mac?: string;
}

/** Options of {@link openMacvtap}. */
export interface MacvtapOptions extends DeviceOptions {
  /** The link below, by name: a macvtap link is made on it, and removed at close. **Default:** opens one that exists */
  readonly parent?: string;
  /** How ports of one parent reach each other, see ip-link(8). **Default:** `'bridge'` */
  readonly mode?: 'private' | 'vepa' | 'bridge' | 'passthru';
  /** The link-layer address, a unicast one. **Default:** the kernel makes one up */
  readonly mac?: string;
}

/** Options checked, and addresses as bytes. */
export interface CheckedOptions extends Omit<TapOptions, 'addresses' | 'offload'> {
  readonly offload: CheckedOffload;
  readonly addresses: readonly Cidr[];
}

/** Checks all options before anything is opened, so that bad ones leave nothing behind. */
export function checkOptions(options: TapOptions): CheckedOptions {
  requireObject('options', options);
  const { addresses = [], mac, mtu, signal, offload } = options;
  if (!Array.isArray(addresses)) throw invalidArgType('options.addresses', 'an array of strings', addresses);
  const macBytes = mac === undefined ? undefined : checkMac('options.mac', mac);
  if (macBytes && (macBytes[0] & 1 || macBytes.every((byte) => byte === 0))) {
    throw invalidArgValue('options.mac', mac, 'must be a unicast address');
  }
  if (mtu !== undefined) checkMtu('options.mtu', mtu);
  checkGiven(options, ['up', 'exclusive', 'persist', 'multiQueue', 'carrier'], {
    txQueueLength: [0, 1_000_000],
    sendBuffer: [1, 0x7fffffff],
    headroom: [0, 4096],
    tailroom: [0, 4096],
    owner: [0, 0xfffffffe],
    group: [0, 0xfffffffe],
    fd: [0, 0x7fffffff],
  });
  checkSignal(signal);
  return {
    ...options,
    offload: checkOffload(offload),
    addresses: addresses.map((address) => checkCidr('options.addresses', address)),
  };
}

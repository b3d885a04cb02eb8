import { checkName, invalidArgValue, requireObject } from '../arguments.js';
import { native } from '../native/addon.js';
import { type NetlinkSocket, withNetlink } from '../net/netlink/socket.js';
import { withNamespace } from '../net/network-namespace.js';
import { addAddress, getLink, setLink } from '../net/rtnetlink/device-requests.js';
import { check } from '../system-error.js';
import { adopt, attach, closingOnError, withDeviceNamespace } from './attach.js';
import { type CheckedOptions, checkOptions, type TapOptions, type TunOptions } from './options.js';
import { TapDevice, TunDevice, type TunTapParts } from './tun-tap-device.js';

/**
 * Opens a TUN device, making it if there is none of that name; configured as the options say when it returns.
 *
 * @param name at most 15 bytes; a pattern such as `tun%d` lets the kernel choose the number
 * @returns the device; without `persist` it is gone once closed
 * @throws EPERM without CAP_NET_ADMIN (or being owner of a persistent device); EBUSY if it is in use, or exists and
 * `exclusive` is set; EINVAL if it exists as a device of another kind; ENOENT, ENXIO where /dev/net/tun is missing;
 * TypeError or RangeError with an `ERR_…` code for bad options, before anything is opened
 * @example
 * ```ts
 * const tun = openTun('tun0', { addresses: ['192.0.2.1/24'], up: true });
 * for await (const packet of tun) console.log(packet.length);
 * ```
 * @see Documentation/networking/tuntap.rst of Linux
 */
export function openTun(name = 'tun%d', options: TunOptions = {}): TunDevice {
  requireObject('options', options);
  const { mac } = options as TapOptions;
  if (mac !== undefined)
    throw invalidArgValue('options.mac', mac, 'is for TAP devices: a TUN device has no MAC address');
  return open('tun', checkName(name, true), options, (parts) => new TunDevice(parts));
}

/**
 * Opens a TAP device: as {@link openTun}, with Ethernet frames.
 * @example
 * ```ts
 * const tap = openTap('tap0', { mac: '02:00:00:00:00:01', addresses: ['192.0.2.1/24'], up: true });
 * ```
 */
export function openTap(name = 'tap%d', options: TapOptions = {}): TapDevice {
  return open('tap', checkName(name, true), options, (parts) => new TapDevice(parts));
}

function open<T>(kind: 'tun' | 'tap', name: string, options: TapOptions, wrap: (parts: TunTapParts) => T): T {
  const checked = checkOptions(options);
  const { signal, headroom, tailroom } = checked;
  return withNamespace(checked.namespace, (namespace) => {
    const attachment =
      checked.fd === undefined
        ? attach(namespace, name, kind, checked)
        : adopt(checked.fd, name, kind, checked.offload);
    const { descriptor, name: given } = attachment;
    return closingOnError(descriptor, () => {
      control(descriptor.fd(), given, checked);
      const configureIn = (home: number): number =>
        withNetlink(home, (socket) => configure(socket, given, checked));
      const index =
        checked.fd === undefined
          ? configureIn(namespace)
          : withDeviceNamespace(checked.fd, given, configureIn);
      // Last: what failed until here must not leave a device behind.
      if (checked.persist !== undefined) {
        check(native().setPersist(descriptor.fd(), Number(checked.persist)), 'ioctl TUNSETPERSIST', given);
      }
      return wrap({ ...attachment, index, headroom, tailroom, signal, offload: checked.offload });
    });
  });
}

function control(fd: number, name: string, options: CheckedOptions): void {
  const { owner, group, sendBuffer, carrier } = options;
  if (owner !== undefined) check(native().setOwner(fd, owner), 'ioctl TUNSETOWNER', name);
  if (group !== undefined) check(native().setGroup(fd, group), 'ioctl TUNSETGROUP', name);
  if (sendBuffer !== undefined) check(native().setSendBuffer(fd, sendBuffer), 'ioctl TUNSETSNDBUF', name);
  if (carrier !== undefined) check(native().setCarrier(fd, Number(carrier)), 'ioctl TUNSETCARRIER', name);
}

/** Configures the link and returns its index. */
export function configure(socket: NetlinkSocket, name: string, options: CheckedOptions): number {
  const link = getLink(socket, name);
  if (!options.configures) return link.index;
  const { mtu, mac, txQueueLength, up, addresses } = options;
  if (mtu !== undefined || mac !== undefined || txQueueLength !== undefined) {
    setLink(socket, link, { mtu, mac, txQueueLength });
  }
  for (const address of addresses) addAddress(socket, link, address);
  if (up !== undefined) setLink(socket, link, { up });
  return link.index;
}

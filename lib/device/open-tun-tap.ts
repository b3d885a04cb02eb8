import { checkName, invalidArgValue, requireObject } from '../arguments.js';
import { native } from '../native/addon.js';
import { closingOnError } from '../native/descriptor.js';
import { type NetlinkSocket, withNetlink } from '../net/netlink/socket.js';
import { withNamespace } from '../net/network-namespace.js';
import { ensureAddress, getLink } from '../net/rtnetlink/device-requests.js';
import { setLinkRequest } from '../net/rtnetlink/link-requests.js';
import { check } from '../system-error.js';
import { type Attachment, adopt, attach, type TunTapKind, withDeviceNamespace } from './attach.js';
import { withOffloads } from './offload.js';
import { type CheckedOptions, checkOptions, type TapOptions, type TunOptions } from './options.js';
import { TapDevice, TunDevice, type TunTapParts } from './tun-tap-device.js';

/**
 * Opens a TUN device, and makes it if there is none of that name. When the call returns, the device is configured as the
 * options say. The same call gives the same result any number of times: what the device has already is no error.
 *
 * @param name at most 15 bytes; a pattern such as `tun%d` lets the kernel choose the number
 * @returns the device; without `persist` the kernel removes it when it is closed
 * @throws EPERM without CAP_NET_ADMIN, unless you own the persistent device; EBUSY if it is in use, or if it exists and
 * `exclusive` is set; EINVAL if it exists as a device of another kind; EEXIST if it has an address of the options with
 * another prefix length; ENOENT or ENXIO if /dev/net/tun is missing; TypeError or RangeError with an `ERR_…` code for
 * bad options, before anything is opened
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
  return open('tun', checkName('name', name, true), options, (parts) => new TunDevice(parts));
}

/**
 * Opens a TAP device: as {@link openTun}, with Ethernet frames.
 * @example
 * ```ts
 * const tap = openTap('tap0', { mac: '02:00:00:00:00:01', addresses: ['192.0.2.1/24'], up: true });
 * ```
 */
export function openTap(name = 'tap%d', options: TapOptions = {}): TapDevice {
  return open('tap', checkName('name', name, true), options, (parts) => new TapDevice(parts));
}

function open<T>(kind: TunTapKind, name: string, options: TapOptions, wrap: (parts: TunTapParts) => T): T {
  const checked = checkOptions(options);
  const { fd, signal, headroom, tailroom, offload } = checked;
  return withNamespace(checked.namespace, (namespace) => {
    const attachment = fd === undefined ? attach(namespace, name, kind, checked) : adopt(fd, name, kind);
    return closingOnError(attachment.descriptor, () => {
      const setUp = (home: number): T =>
        withNetlink(home, (socket) =>
          withOffloads(attachment, socket, offload, (offloads) => {
            const index = configure(socket, attachment.name, checked);
            control(attachment, checked);
            return wrap({ ...attachment, index, headroom, tailroom, signal, offload, offloads });
          }),
        );
      return fd === undefined ? setUp(namespace) : withDeviceNamespace(fd, attachment.name, setUp);
    });
  });
}

function control({ descriptor, name }: Attachment, options: CheckedOptions): void {
  const fd = descriptor.fd();
  const { owner, group, sendBuffer, carrier, persist } = options;
  if (owner !== undefined) check(native().setOwner(fd, owner), 'ioctl TUNSETOWNER', name);
  if (group !== undefined) check(native().setGroup(fd, group), 'ioctl TUNSETGROUP', name);
  if (sendBuffer !== undefined) check(native().setSendBuffer(fd, sendBuffer), 'ioctl TUNSETSNDBUF', name);
  if (carrier !== undefined) check(native().setCarrier(fd, carrier), 'ioctl TUNSETCARRIER', name);
  // Last: a call that failed until here must not leave a device behind.
  if (persist !== undefined) check(native().setPersist(fd, persist), 'ioctl TUNSETPERSIST', name);
}

/** Configures the link and returns its index. */
export function configure(socket: NetlinkSocket, name: string, options: CheckedOptions): number {
  const link = getLink(socket, name);
  const { mtu, mac, txQueueLength, up, addresses } = options;
  if (mtu !== undefined || mac !== undefined || txQueueLength !== undefined) {
    socket.request(setLinkRequest(link, { mtu, mac, txQueueLength }));
  }
  for (const address of addresses) ensureAddress(socket, link, address);
  if (up !== undefined) socket.request(setLinkRequest(link, {}, up));
  return link.index;
}

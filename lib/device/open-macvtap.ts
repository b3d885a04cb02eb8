import { constants, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { checkName, invalidArgValue, requireObject, requireOneOf } from '../arguments.js';
import { native } from '../native/addon.js';
import { closing, closingOnError, type Descriptor } from '../native/descriptor.js';
import { EPERM } from '../native/errno.js';
import { type NetlinkSocket, withNetlink } from '../net/netlink/socket.js';
import { withNamespace } from '../net/network-namespace.js';
import { ensureMacvtap, getLink } from '../net/rtnetlink/device-requests.js';
import { MACVTAP_MODES } from '../net/rtnetlink/link-kinds.js';
import { deleteLinkRequest } from '../net/rtnetlink/link-requests.js';
import { check, systemError } from '../system-error.js';
import { IFF_NO_PI, IFF_TAP } from './attach.js';
import { configure } from './open-tun-tap.js';
import { checkOptions, type MacvtapOptions } from './options.js';
import { MacvtapDevice } from './tun-tap-device.js';

const O_PATH = 0o10000000;
const OWN_NAMESPACE = '/proc/thread-self/ns/net';

/**
 * Opens the character device of a macvtap link, which shares another link's wire. Its packets are Ethernet frames.
 *
 * @param name the link's. With `parent`, the link is made unless it exists, and removed when the device closes
 * @throws ENODEV if the link does not exist; EEXIST if another link has the name; EBUSY if its parent is taken; EPERM
 * without CAP_NET_ADMIN, CAP_SYS_ADMIN or CAP_MKNOD
 * @example
 * ```ts
 * const frames = openMacvtap('macvtap0', { parent: 'eth0', mode: 'bridge', up: true });
 * ```
 * @see ip-link(8), drivers/net/tap.c of Linux
 */
export function openMacvtap(name: string, options: MacvtapOptions = {}): MacvtapDevice {
  checkName('name', name);
  requireObject('options', options);
  const { parent, mode = 'bridge' } = options;
  if (parent !== undefined) checkName('options.parent', parent);
  requireOneOf('options.mode', MACVTAP_MODES, mode);
  const checked = checkOptions(options);
  const { sendBuffer, headroom, tailroom, signal } = checked;
  return withNamespace(checked.namespace, (namespace) =>
    withNetlink(namespace, (socket) => {
      if (parent !== undefined) ensureMacvtap(socket, name, getLink(socket, parent).index, mode);
      const { index } = getLink(socket, name);
      // Held until close: if the namespace was named by a pid, nothing else may keep it.
      const home = check(native().openIn(namespace, OWN_NAMESPACE, constants.O_RDONLY), 'open', name);
      const remove = () => {
        try {
          if (parent !== undefined) withNetlink(home.fd(), (last) => removeLink(last, index, name));
        } finally {
          home.close();
        }
      };
      try {
        configure(socket, name, checked);
        const descriptor = openTapNode(namespace, name);
        return closingOnError(descriptor, () => {
          const fd = descriptor.fd();
          // By default a macvtap puts a virtio_net_hdr before each frame.
          check(native().setInterface(descriptor, name, IFF_TAP | IFF_NO_PI), 'ioctl TUNSETIFF', name);
          if (sendBuffer !== undefined)
            check(native().setSendBuffer(fd, sendBuffer), 'ioctl TUNSETSNDBUF', name);
          const stream = { descriptor, name, headroom, tailroom, signal };
          return new MacvtapDevice({ ...stream, index, namespace: home, onClose: remove });
        });
      } catch (error) {
        remove();
        throw error;
      }
    }),
  );
}

function removeLink(socket: NetlinkSocket, index: number, name: string): void {
  try {
    socket.request(deleteLinkRequest({ index, name }));
  } catch (error) {
    // Somebody else removed it, or its parent.
    if ((error as NodeJS.ErrnoException).code !== 'ENODEV') throw error;
  }
}

/**
 * Opens the character device of a macvtap link. Links of two namespaces may have the same index, so that /dev/tapN can
 * be another link's: only the numbers in sysfs are the link's own.
 */
function openTapNode(namespace: number, name: string): Descriptor {
  const [node, numbers] = tapNode(namespace, name);
  const [major, minor] = numbers.split(':').map(Number);
  const opened = native().openCharacterDevice(major, minor);
  // Without CAP_MKNOD, the node that devtmpfs made will do if it is the link's.
  if (opened === EPERM && existsSync(node)) return openNode(node, numbers);
  return check(opened, 'open', node);
}

/** The path that devtmpfs has for a link's character device, and the device's numbers. */
function tapNode(namespace: number, name: string): [node: string, numbers: string] {
  const sysfs = check(native().openSysfsIn(namespace), 'fsopen sysfs', name);
  return closing(sysfs, (fd) => {
    const directory = `/proc/self/fd/${fd}/class/net/${name}`;
    const entry = readdirSync(directory).find((file) => /^tap\d+$/.test(file));
    if (entry === undefined) throw invalidArgValue('name', name, 'must be that of a macvtap link');
    return [`/dev/${entry}`, readFileSync(`${directory}/${entry}/dev`, 'utf8').trim()];
  });
}

/** Opens a node only if it has these numbers: opening another link's would take that link's frames. */
function openNode(node: string, numbers: string): Descriptor {
  const path = check(native().openIn(-1, node, O_PATH), 'open', node);
  return closing(path, (fd) => {
    const { rdev } = statSync(`/proc/self/fd/${fd}`);
    const found = `${(rdev >> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >> 12) & 0xfff00)}`;
    if (found !== numbers) throw systemError(EPERM, 'mknod', node);
    return check(native().openIn(-1, `/proc/self/fd/${fd}`, constants.O_RDWR), 'open', node);
  });
}

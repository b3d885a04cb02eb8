import type { Duplex } from 'node:stream';
import type { PacketChannel } from '../io/packet-channel.js';
import { native } from '../native/addon.js';
import { closingOnError, type Descriptor } from '../native/descriptor.js';
import type { Link } from '../net/link.js';
import { fdToEnter, inodeOf } from '../net/namespace/reference.js';
import type { NetlinkMessage } from '../net/netlink/message.js';
import { NotificationSocket } from '../net/netlink/notification-socket.js';
import { NetlinkSocket, withNetlink } from '../net/netlink/socket.js';
import { NetworkNamespace } from '../net/network-namespace.js';
import { getLink } from '../net/rtnetlink/device-requests.js';
import { decodeLink, type LinkInfo } from '../net/rtnetlink/link-info.js';
import { IFINFOMSG_SIZE, linkTable, RTM_DELLINK, RTM_NEWLINK } from '../net/rtnetlink/link-message.js';
import { setLinkRequest } from '../net/rtnetlink/link-requests.js';
import { check } from '../system-error.js';
import { withDeviceNamespace } from './attach.js';

const RTNLGRP_LINK = 1; // linux/rtnetlink.h

/** What `'link'` listeners of a {@link PacketDevice} get. */
export interface LinkEvent {
  /**
   * `'up'`, `'down'`: the link was switched on or off. `'mtu'`, `'name'`: it has a new one. `'moved'`: it is in another
   * namespace. `'removed'`: it is gone.
   */
  readonly change: 'up' | 'down' | 'mtu' | 'name' | 'moved' | 'removed';
  /** The link after the change; its last state if it is gone. */
  readonly link: LinkInfo;
}

/** A device whose link is asked for. */
interface LinkedDevice extends Duplex {
  readonly name: string;
}

/** The link of an open device. It is found wherever it is now, under another name or in another namespace too. */
export class DeviceLink {
  readonly #device: LinkedDevice;
  readonly #channel: PacketChannel;
  readonly #namespace: Descriptor | undefined;
  // The inode of the namespace that the device was opened in. The device's fd holds it anyway, so a socket can stay
  // open in it; in another one a socket would keep the namespace from going. Opening a socket there takes a thread.
  readonly #openedIn: number | undefined;
  #socket: NetlinkSocket | undefined;
  readonly #namespaces: NetworkNamespace[] = [];
  #watch: LinkWatch | undefined;
  #closed = false;

  /** @param namespace the device's, if the kernel can't be asked for it */
  constructor(device: LinkedDevice, channel: PacketChannel, namespace: Descriptor | undefined) {
    this.#device = device;
    this.#channel = channel;
    this.#namespace = namespace;
    try {
      this.#openedIn = this.withNamespace((_, inode) => inode);
    } catch {
      // Before Linux 5.2 the kernel does not tell.
    }
  }

  /** Calls `use` with an nsfs fd of the namespace that the device is in now, and with its inode. */
  readonly withNamespace = <T>(use: (namespace: number, inode: number) => T): T => {
    const fd = this.#channel.requireFd();
    const enter = (namespace: number): T => use(fdToEnter(namespace), inodeOf(namespace));
    return this.#namespace ? enter(this.#namespace.fd()) : withDeviceNamespace(fd, this.#device.name, enter);
  };

  /** Asks for one property, by an ioctl on a socket. */
  ask(property: 'getLinkMtu' | 'getLinkFlags' | 'getLinkCarrier', request: string): number {
    const { name } = this.#device;
    return this.#withNetlink(({ fd }) => check(native()[property](fd, name), `ioctl ${request}`, name));
  }

  /** Changes the link. */
  set({ up, mtu }: { readonly up?: boolean; readonly mtu?: number }): void {
    this.#withNetlink((socket) => {
      socket.request(setLinkRequest(getLink(socket, this.#device.name), { mtu }, up));
    });
  }

  #withNetlink<T>(use: (socket: NetlinkSocket) => T): T {
    return this.withNamespace((namespace, inode) => {
      if (inode !== this.#openedIn) return withNetlink(namespace, use);
      this.#socket ??= new NetlinkSocket(namespace);
      return use(this.#socket);
    });
  }

  /** The link in an object of its namespace, which is closed with the device. */
  async link(): Promise<Link> {
    const namespace = await this.withNamespace(
      (fd, inode) =>
        this.#namespaces.find((open) => open.fd >= 0 && inodeOf(open.fd) === inode) ??
        (fd < 0 ? NetworkNamespace.current() : NetworkNamespace.open(`/proc/self/fd/${fd}`)),
    );
    if (!this.#namespaces.includes(namespace)) this.#namespaces.push(namespace);
    if (this.#closed) await namespace.close();
    this.#channel.requireFd();
    return namespace.link(this.#device.name);
  }

  /** Emits `'link'` events on the device from now on. */
  watch(): void {
    if (!this.#closed) this.#watch ??= new LinkWatch(this.#device, this.withNamespace);
  }

  unwatch(): void {
    this.#watch?.close();
    this.#watch = undefined;
  }

  /** @param error what ends the device: it may hear of its link's end before the watch does */
  async close(error: Error | null): Promise<void> {
    this.#closed = true;
    if (isGone(error)) this.#watch?.remove();
    this.unwatch();
    this.#socket?.close();
    for (const namespace of this.#namespaces) await namespace.close();
  }
}

/** Follows a link from namespace to namespace. A watch never keeps the process alive. */
class LinkWatch {
  readonly #device: LinkedDevice;
  readonly #withNamespace: DeviceLink['withNamespace'];
  #socket: NotificationSocket;
  #link: LinkInfo;
  #ended = false;

  constructor(device: LinkedDevice, withNamespace: DeviceLink['withNamespace']) {
    this.#device = device;
    this.#withNamespace = withNamespace;
    [this.#socket, this.#link] = this.#open();
  }

  close(): void {
    this.#ended = true;
    this.#socket.close();
  }

  /** Emits `'removed'` and ends. */
  remove(): void {
    if (this.#ended) return;
    this.close();
    this.#emit('removed');
  }

  /** Listens where the link is now. */
  #open(): [NotificationSocket, LinkInfo] {
    return this.#withNamespace((namespace) => {
      const socket = new NotificationSocket(namespace, [RTNLGRP_LINK]);
      return closingOnError(socket, () => {
        socket.setReferenced(false);
        // After the subscription, so that no change is lost between the two.
        const link = withNetlink(namespace, (asking) => getLink(asking, this.#device.name));
        void this.#follow(socket);
        return [socket, link];
      });
    });
  }

  async #follow(socket: NotificationSocket): Promise<void> {
    try {
      for (;;) {
        const received = await socket.receive();
        // Closing a device removes its link, which is no event. A closed watch must not open another socket.
        if (received === undefined || this.#ended || this.#device.destroyed) return;
        if (received === 'overflow') return this.#reopen();
        for (const message of received) {
          if (socket === this.#socket) this.#take(message);
        }
      }
    } catch (error) {
      if (isGone(error)) this.remove();
      else this.#device.destroy(error as Error);
    }
  }

  #take(message: NetlinkMessage): void {
    const link = decodeLink(message);
    // Messages of AF_BRIDGE are about ports.
    if (link?.index !== this.#link.index || message.payload[0] !== 0) return;
    if (message.type === RTM_NEWLINK) this.#changed(link);
    if (message.type !== RTM_DELLINK) return;
    const { newNetnsid } = linkTable.decode(message.payload, IFINFOMSG_SIZE);
    if (newNetnsid === undefined) {
      this.remove();
      return;
    }
    this.#emit('moved');
    try {
      this.#reopen();
    } catch {
      // The kernel does not say where a macvtap went, and may refuse the other namespace: 'moved' is the last event.
    }
  }

  #reopen(): void {
    const last = this.#link;
    this.#socket.close();
    [this.#socket, this.#link] = this.#open();
    this.#changed(this.#link, last);
  }

  #changed(link: LinkInfo, { up, mtu, name } = this.#link): void {
    this.#link = link;
    if (link.name !== name) this.#emit('name');
    if (link.mtu !== mtu) this.#emit('mtu');
    if (link.up !== up) this.#emit(link.up ? 'up' : 'down');
  }

  /** Emits in a tick of its own: an exception of a listener is no failure of the watch. */
  #emit(change: LinkEvent['change']): void {
    process.nextTick((event: LinkEvent) => this.#device.emit('link', event), { change, link: this.#link });
  }
}

/** Whether an error says that a device or its link is gone. */
function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === 'EBADFD' || code === 'ENODEV';
}

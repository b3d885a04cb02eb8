import type { Duplex } from 'node:stream';
import type { NetlinkMessage } from '../net/netlink/message.js';
import { NotificationSocket } from '../net/netlink/notification-socket.js';
import { withNetlink } from '../net/netlink/socket.js';
import { getLink } from '../net/rtnetlink/device-requests.js';
import { decodeLink, type LinkInfo } from '../net/rtnetlink/link-info.js';
import { IFINFOMSG_SIZE, linkTable, RTM_DELLINK, RTM_NEWLINK } from '../net/rtnetlink/link-message.js';

const RTNLGRP_LINK = 1; // linux/rtnetlink.h

/** What `'link'` listeners of a {@link PacketDevice} get. */
export interface LinkEvent {
  /**
   * `'up'`, `'down'`: it was switched on or off. `'mtu'`, `'name'`: it has another one. `'moved'`: it is in another
   * namespace. `'removed'`: it is gone.
   */
  readonly change: 'up' | 'down' | 'mtu' | 'name' | 'moved' | 'removed';
  /** The link as it is after the change, or was last. */
  readonly link: LinkInfo;
}

/** A device, and how its link is found. */
export interface WatchedLink {
  readonly device: Duplex;
  /** The link's name now. */
  readonly name: () => string;
  /** Calls `use` with an nsfs fd of the namespace that the link is in now, or -1. */
  readonly withNamespace: <T>(use: (namespace: number) => T) => T;
}

/**
 * Watches a device's link as long as `'link'` has listeners and the device is open.
 * @returns what to call when a listener was taken off, with `true` when all were: from Node.js 20 on, a stream does not
 * emit `'removeListener'` for the last one
 */
export function watchLink(watched: WatchedLink): (all?: boolean) => void {
  const { device } = watched;
  let watch: LinkWatch | undefined;
  const stop = (): void => {
    watch?.close();
    watch = undefined;
  };
  const start = (event: string | symbol): void => {
    if (event === 'link' && !device.destroyed) watch ??= new LinkWatch(watched);
  };
  const end = (): void => {
    // The device may hear of its link's end before the watch does.
    if (isGone(device.errored)) watch?.remove();
    stop();
  };
  const listen = (): void => {
    if (!device.listeners('newListener').includes(start)) device.on('newListener', start);
    if (!device.listeners('close').includes(end)) device.once('close', end);
  };
  listen();
  return (all = false) => {
    if (all) listen(); // these were taken off, too
    if (device.listenerCount('link') === 0) stop();
  };
}

class LinkWatch {
  readonly #watched: WatchedLink;
  #socket: NotificationSocket;
  #link: LinkInfo;
  #ended = false;

  constructor(watched: WatchedLink) {
    this.#watched = watched;
    [this.#socket, this.#link] = this.#open();
  }

  close(): void {
    this.#ended = true;
    this.#socket.close();
  }

  /** Tells that the link is gone, and ends. */
  remove(): void {
    if (this.#ended) return;
    this.close();
    this.#emit('removed');
  }

  /** Listens where the link is now. */
  #open(): [NotificationSocket, LinkInfo] {
    const { withNamespace, name } = this.#watched;
    return withNamespace((namespace) => {
      const socket = new NotificationSocket(namespace, [RTNLGRP_LINK]);
      try {
        socket.setReferenced(false);
        // After the subscription, so that no change is lost between the two.
        const link = withNetlink(namespace, (asking) => getLink(asking, name()));
        void this.#follow(socket);
        return [socket, link];
      } catch (error) {
        socket.close();
        throw error;
      }
    });
  }

  async #follow(socket: NotificationSocket): Promise<void> {
    const { device } = this.#watched;
    try {
      for (;;) {
        const received = await socket.receive();
        // Closing a device removes its link, which is nothing to tell. A closed watch must not open another socket.
        if (received === undefined || this.#ended || device.destroyed) return;
        if (received === 'overflow') return this.#reopen();
        for (const message of received) {
          if (socket === this.#socket) this.#take(message);
        }
      }
    } catch (error) {
      if (isGone(error)) this.remove();
      else device.destroy(error as Error);
    }
  }

  #take(message: NetlinkMessage): void {
    const link = decodeLink(message);
    // Those of AF_BRIDGE are about ports.
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
      // A macvtap does not tell where it went, and another namespace may be denied: 'moved' is the last event.
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

  /** In a turn of its own, so that what a listener throws is not taken for a failure of the watch. */
  #emit(change: LinkEvent['change']): void {
    process.nextTick((event: LinkEvent) => this.#watched.device.emit('link', event), {
      change,
      link: this.#link,
    });
  }
}

/** Whether an error says that a device, or its link, is there no more. */
function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === 'EBADFD' || code === 'ENODEV';
}

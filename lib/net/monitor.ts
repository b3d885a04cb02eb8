import {
  abortError,
  checkSignal,
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../arguments.js';
import type { NetlinkMessage } from './netlink/message.js';
import { NotificationSocket } from './netlink/notification-socket.js';
import { type AddressInfo, decodeAddress, RTM_DELADDR, RTM_NEWADDR } from './rtnetlink/address.js';
import { decodeLink, type LinkInfo } from './rtnetlink/link-info.js';
import { RTM_DELLINK, RTM_NEWLINK } from './rtnetlink/link-message.js';
import { withNames } from './rtnetlink/link-names.js';
import { decodeNeighbor, type NeighborInfo, RTM_DELNEIGH, RTM_NEWNEIGH } from './rtnetlink/neighbor.js';
import { decodeRoute, nameRoute, type RouteInfo, RTM_DELROUTE, RTM_NEWROUTE } from './rtnetlink/route.js';

/** The namespace that is monitored. */
interface MonitoredNamespace {
  fdToEnter(): number;
  links(): Promise<readonly LinkInfo[]>;
  addresses(): Promise<readonly AddressInfo[]>;
  routes(filter: { readonly family: 'all'; readonly table: 'all' }): Promise<readonly RouteInfo[]>;
  neighbors(filter: { readonly noArp: true }): Promise<readonly NeighborInfo[]>;
}

/** What a monitor can tell of. */
export type MonitoredType = 'link' | 'address' | 'route' | 'neighbor';

// enum rtnetlink_groups of linux/rtnetlink.h
const GROUPS: Readonly<Record<MonitoredType, readonly number[]>> = {
  link: [1],
  neighbor: [3],
  address: [5, 9],
  route: [7, 11],
};
const TYPES = Object.keys(GROUPS) as MonitoredType[];

/** Options of `NetworkNamespace.monitor()`. */
export interface MonitorOptions {
  /** What to tell of. **Default:** all: `['link', 'address', 'route', 'neighbor']` */
  readonly types?: readonly MonitoredType[];
  /** Whether the first event is a snapshot of what there is. **Default:** `false` */
  readonly snapshot?: boolean;
  /** Bytes of the kernel's queue. **Default:** the system's (net.core.rmem_default) */
  readonly receiveBuffer?: number;
  /** Ends the monitor: its iteration then throws an AbortError, whose `cause` is the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A link, address, route or neighbour is new or changed, or is gone. */
export type ChangeEvent =
  | {
      /** What it is about. */
      readonly type: 'link';
      /** `new`: it is new, or something of it changed. */
      readonly change: 'new' | 'deleted';
      /** The link, as it is now or was last. */
      readonly link: LinkInfo;
    }
  | {
      /** What it is about. */
      readonly type: 'address';
      /** `new`: it is new, or something of it changed. */
      readonly change: 'new' | 'deleted';
      /** The address, as it is now or was last. */
      readonly address: AddressInfo;
    }
  | {
      /** What it is about. */
      readonly type: 'route';
      /** `new`: it is new, or something of it changed. */
      readonly change: 'new' | 'deleted';
      /** The route, as it is now or was last. */
      readonly route: RouteInfo;
    }
  | {
      /** What it is about. */
      readonly type: 'neighbor';
      /** `new`: it is new, or something of it changed. */
      readonly change: 'new' | 'deleted';
      /** The neighbour, as it is now or was last. */
      readonly neighbor: NeighborInfo;
    };

/** All that there is of the types that are monitored; it takes the place of all that was told before. */
export interface SnapshotEvent {
  /** What it is. */
  readonly type: 'snapshot';
  /** The links, where they are monitored. */
  readonly links?: readonly LinkInfo[];
  /** The addresses, where they are monitored. */
  readonly addresses?: readonly AddressInfo[];
  /** The routes of all tables and families, where they are monitored. */
  readonly routes?: readonly RouteInfo[];
  /** The neighbours, where they are monitored. */
  readonly neighbors?: readonly NeighborInfo[];
}

/** The kernel's queue was full, and events are lost. A {@link SnapshotEvent} follows. */
export interface OverflowEvent {
  /** What it is. */
  readonly type: 'overflow';
}

/** What a {@link NetworkMonitor} tells. */
export type NetworkEvent = ChangeEvent | SnapshotEvent | OverflowEvent;

/**
 * The changes of a namespace, from the moment that the monitor is made. Made by
 * `NetworkNamespace.monitor()`; ended by leaving its loop, {@link close}, its `signal`, or closing the namespace.
 *
 * Events wait in the kernel's queue until they are asked for. If that is full, an `overflow` event says so and a
 * `snapshot` follows. Changes that happen while a snapshot is made may be told again after it.
 */
export class NetworkMonitor implements AsyncIterableIterator<NetworkEvent>, AsyncDisposable {
  readonly #namespace: MonitoredNamespace;
  readonly #types: ReadonlySet<MonitoredType>;
  readonly #socket: NotificationSocket;
  readonly #signal: AbortSignal | undefined;
  readonly #onClose: (monitor: NetworkMonitor) => void;
  readonly #onAbort = (): void => void this.close();
  readonly #events: NetworkEvent[] = [];
  readonly #names = new Map<number, string>();
  #named = false;
  #snapshotDue: boolean;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** @internal */
  constructor(
    namespace: MonitoredNamespace,
    options: MonitorOptions,
    onClose: (monitor: NetworkMonitor) => void,
  ) {
    requireObject('options', options);
    const { types = TYPES, snapshot = false, receiveBuffer = 0, signal } = options;
    if (!Array.isArray(types)) throw invalidArgType('options.types', 'an array', types);
    for (const type of types) {
      if (!TYPES.includes(type)) {
        throw invalidArgValue('options.types', type, `must hold only ${TYPES.join(', ')}`);
      }
    }
    checkSignal(signal);
    this.#namespace = namespace;
    this.#types = new Set(types);
    this.#snapshotDue = requireBoolean('options.snapshot', snapshot);
    // Links always: their names belong to the other events.
    const groups = new Set(['link' as const, ...this.#types].flatMap((type) => GROUPS[type]));
    requireInteger('options.receiveBuffer', receiveBuffer, 0, 0x3fffffff);
    this.#socket = new NotificationSocket(namespace.fdToEnter(), [...groups], receiveBuffer);
    this.#signal = signal;
    this.#onClose = onClose;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** The next event; waits for one. */
  next(): Promise<IteratorResult<NetworkEvent, undefined>> {
    const turn = this.#turn.then(() => this.#next());
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Closes, as leaving a `for await` loop does. */
  async return(): Promise<IteratorResult<NetworkEvent, undefined>> {
    await this.close();
    return { done: true, value: undefined };
  }

  /** Ends the monitor; a `next` that waits gets the end. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#events.length = 0;
    this.#socket.close();
    this.#onClose(this);
  }

  /** Lets the event loop end though this monitor waits. */
  unref(): this {
    this.#socket.setReferenced(false);
    return this;
  }

  /** Undoes {@link unref}. */
  ref(): this {
    this.#socket.setReferenced(true);
    return this;
  }

  /** The monitor itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #next(): Promise<IteratorResult<NetworkEvent, undefined>> {
    try {
      for (;;) {
        if (this.#closed) break;
        const event = this.#events.shift();
        if (event !== undefined) return { done: false, value: event };
        if (this.#snapshotDue || !this.#named) await this.#synchronize();
        else this.#accept(await this.#socket.receive());
      }
    } catch (error) {
      // Closing the namespace refuses what was under way.
      if (!this.#closed) {
        await this.close();
        throw error;
      }
    }
    if (this.#signal?.aborted) throw abortError(this.#signal);
    return { done: true, value: undefined };
  }

  #accept(received: Awaited<ReturnType<NotificationSocket['receive']>>): void {
    if (received === undefined) return;
    if (received === 'overflow') {
      this.#snapshotDue = true;
      this.#events.push({ type: 'overflow' });
      return;
    }
    for (const message of received) {
      const event = this.#toEvent(message);
      if (event !== undefined && this.#types.has(event.type)) this.#events.push(event);
    }
  }

  /** Learns the links' names, and makes the snapshot that is due. */
  async #synchronize(): Promise<void> {
    const due = this.#snapshotDue;
    // What waits is older than what is listed now.
    if (due) this.#socket.drain();
    const links = await this.#namespace.links();
    this.#names.clear();
    for (const { index, name } of links) this.#names.set(index, name);
    this.#named = true;
    if (!due) return;
    const wants = (type: MonitoredType): boolean => this.#types.has(type);
    const [addresses, routes, neighbors] = await Promise.all([
      wants('address') ? this.#namespace.addresses() : undefined,
      wants('route') ? this.#namespace.routes({ family: 'all', table: 'all' }) : undefined,
      wants('neighbor') ? this.#namespace.neighbors({ noArp: true }) : undefined,
    ]);
    this.#snapshotDue = false;
    this.#events.push({
      type: 'snapshot',
      ...(wants('link') && { links }),
      ...(addresses && { addresses }),
      ...(routes && { routes }),
      ...(neighbors && { neighbors }),
    });
  }

  #toEvent(message: NetlinkMessage): ChangeEvent | undefined {
    const nameOf = (index: number): string => this.#names.get(index) ?? `if${index}`;
    switch (message.type) {
      case RTM_NEWLINK:
      case RTM_DELLINK: {
        const link = decodeLink(message);
        // Those of AF_BRIDGE are about ports: one that leaves its bridge is "deleted" there.
        if (link === undefined || message.payload[0] !== 0) return undefined;
        const change = message.type === RTM_NEWLINK ? 'new' : 'deleted';
        const event = { type: 'link', change, link: withNames(link, nameOf) } as const;
        if (change === 'new') this.#names.set(link.index, link.name);
        else this.#names.delete(link.index);
        return event;
      }
      case RTM_NEWADDR:
      case RTM_DELADDR: {
        const address = decodeAddress(message);
        if (address === undefined) return undefined;
        const change = message.type === RTM_NEWADDR ? 'new' : 'deleted';
        return { type: 'address', change, address: { ...address, device: nameOf(address.index) } };
      }
      case RTM_NEWROUTE:
      case RTM_DELROUTE: {
        const route = decodeRoute(message);
        if (route === undefined) return undefined;
        const change = message.type === RTM_NEWROUTE ? 'new' : 'deleted';
        return { type: 'route', change, route: nameRoute(route, nameOf) };
      }
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH: {
        const neighbor = decodeNeighbor(message);
        if (neighbor === undefined || neighbor.flags.includes('proxy')) return undefined;
        const change = message.type === RTM_NEWNEIGH ? 'new' : 'deleted';
        return { type: 'neighbor', change, neighbor: { ...neighbor, device: nameOf(neighbor.deviceIndex) } };
      }
      default:
        return undefined;
    }
  }
}

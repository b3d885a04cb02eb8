import {
  abortError,
  checkSignal,
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../arguments.js';
import { defined } from './netlink/attributes.js';
import type { NetlinkMessage } from './netlink/message.js';
import { NotificationSocket } from './netlink/notification-socket.js';
import { type AddressInfo, addressMessages, decodeAddress } from './rtnetlink/address.js';
import { AF_UNSPEC } from './rtnetlink/family.js';
import { decodeLink, type LinkInfo } from './rtnetlink/link-info.js';
import { RTM_NEWLINK } from './rtnetlink/link-message.js';
import { withNames } from './rtnetlink/link-names.js';
import { decodeNeighbor, type NeighborInfo, neighborMessages } from './rtnetlink/neighbor.js';
import { decodeRoute, nameRoute, type RouteInfo, routeMessages } from './rtnetlink/route.js';

/** The namespace that is monitored. */
interface MonitoredNamespace {
  fdToEnter(): number;
  links(): Promise<readonly LinkInfo[]>;
  addresses(): Promise<readonly AddressInfo[]>;
  routes(filter: { readonly family: 'all'; readonly table: 'all' }): Promise<readonly RouteInfo[]>;
  neighbors(filter: { readonly noArp: true }): Promise<readonly NeighborInfo[]>;
}

/** What a monitor can report. */
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
  /** What to report. **Default:** all: `['link', 'address', 'route', 'neighbor']` */
  readonly types?: readonly MonitoredType[];
  /** Whether the first event is a snapshot. **Default:** `false` */
  readonly snapshot?: boolean;
  /** Size of the kernel's queue, in bytes. **Default:** the system's (net.core.rmem_default) */
  readonly receiveBuffer?: number;
  /** Ends the monitor: its iteration then throws an AbortError, whose `cause` is the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A change of one object, which is under the name of its type. */
type Changed<K extends MonitoredType, T> = {
  /** The type of the object. */
  readonly type: K;
  /** `new`: the object is new, or it changed. */
  readonly change: 'new' | 'deleted';
} & { readonly [_ in K]: T };

/** A link, address, route or neighbour is new, changed or gone. It is shown as it is now, or as it was last. */
export type ChangeEvent =
  | Changed<'link', LinkInfo>
  | Changed<'address', AddressInfo>
  | Changed<'route', RouteInfo>
  | Changed<'neighbor', NeighborInfo>;

/** All objects of the monitored types. It replaces all that earlier events reported. */
export interface SnapshotEvent {
  /** The type of the event. */
  readonly type: 'snapshot';
  /** The links, if they are monitored. */
  readonly links?: readonly LinkInfo[];
  /** The addresses, if they are monitored. */
  readonly addresses?: readonly AddressInfo[];
  /** The routes of all tables and families, if they are monitored. */
  readonly routes?: readonly RouteInfo[];
  /** The neighbours, if they are monitored. */
  readonly neighbors?: readonly NeighborInfo[];
}

/** The kernel's queue was full, and events are lost. A {@link SnapshotEvent} follows. */
export interface OverflowEvent {
  /** The type of the event. */
  readonly type: 'overflow';
}

/** What a {@link NetworkMonitor} reports. */
export type NetworkEvent = ChangeEvent | SnapshotEvent | OverflowEvent;

/**
 * The changes of a namespace, from the moment that `NetworkNamespace.monitor()` returns the monitor. You end it by leaving
 * its loop, by {@link close}, by its `signal`, or by closing the namespace.
 *
 * Events wait in the kernel's queue until you ask for them. If the queue is full, an `overflow` event says so and a
 * `snapshot` follows. Changes that happen while a snapshot is made may be reported again after it.
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
    // Links are always included: the other events have their names.
    const groups = new Set(['link' as const, ...this.#types].flatMap((type) => GROUPS[type]));
    requireInteger('options.receiveBuffer', receiveBuffer, 0, 0x3fffffff);
    this.#socket = new NotificationSocket(namespace.fdToEnter(), [...groups], receiveBuffer);
    this.#signal = signal;
    this.#onClose = onClose;
    signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Waits for the next event. */
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

  /** Ends the monitor. A waiting `next()` resolves to the end of the iteration. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#events.length = 0;
    this.#socket.close();
    this.#onClose(this);
  }

  /** Lets the process end while this monitor waits. */
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
      // Closing the namespace rejects requests.
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

  /** Reads the links' names, and makes the snapshot that is due. */
  async #synchronize(): Promise<void> {
    const due = this.#snapshotDue;
    // Waiting messages are older than the lists.
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
      ...defined({ links: wants('link') ? links : undefined, addresses, routes, neighbors }),
    });
  }

  #toEvent(message: NetlinkMessage): ChangeEvent | undefined {
    const nameOf = (index: number): string => this.#names.get(index) ?? `if${index}`;
    // RTM_NEWx are multiples of 4; RTM_DELx follows.
    const type = message.type & ~1;
    const change = message.type === type ? 'new' : 'deleted';
    if (type === RTM_NEWLINK) {
      const link = decodeLink(message);
      // Messages of AF_BRIDGE are about ports: one that leaves its bridge is "deleted" there.
      if (link === undefined || message.payload[0] !== AF_UNSPEC) return undefined;
      const event = { type: 'link', change, link: withNames(link, nameOf) } as const;
      if (change === 'new') this.#names.set(link.index, link.name);
      else this.#names.delete(link.index);
      return event;
    }
    if (type === addressMessages.type) {
      const address = decodeAddress(message);
      return address && { type: 'address', change, address: { ...address, device: nameOf(address.index) } };
    }
    if (type === routeMessages.type) {
      const route = decodeRoute(message);
      return route && { type: 'route', change, route: nameRoute(route, nameOf) };
    }
    if (type !== neighborMessages.type) return undefined;
    const neighbor = decodeNeighbor(message);
    if (neighbor === undefined || neighbor.flags.includes('proxy')) return undefined;
    return { type: 'neighbor', change, neighbor: { ...neighbor, device: nameOf(neighbor.deviceIndex) } };
  }
}

import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { TunDevice } from '../device/tun-tap-device.js';
import type { PacketBatch } from '../io/packet-batch.js';
import { PacketRuns } from '../io/packet-runs.js';
import { native } from '../native/addon.js';
import { type Descriptor, watchArrays } from '../native/descriptor.js';
import { EAGAIN } from '../native/errno.js';
import { LAYOUT, READABLE } from '../native/layout.js';
import { check } from '../system-error.js';
import { type ConnectionOwner, InterceptedConnection } from './connection.js';
import { Nat, type NatOptions, type SlotReference } from './nat.js';
import { type Bypass, type InterceptorConnectOptions, OwnConnections } from './own-connections.js';
import type { Stack } from './stack.js';

/** How often old connections are looked for, in milliseconds: at most, and for short timeouts. */
const EXPIRY_INTERVAL = { most: 1000, least: 20 };
/** When the process has no fd left, accepting is tried again after this time. */
const ACCEPT_RETRY = 100;
const MAX_RUNS = 4096;

/** The events of an {@link Interceptor}. */
export interface InterceptorEvents {
  /** A client asks for a connection, and waits until you accept or refuse it. Without a listener it is reset. */
  connection: [connection: InterceptedConnection];
  /** The interceptor can't go on, as when its device was deleted; `'close'` follows. */
  error: [error: Error];
  /** The interceptor is closed. */
  close: [];
}

/** What an {@link Interceptor} has done. */
export interface InterceptorCounters {
  /** Connections that clients asked for. */
  readonly connections: number;
  /** Those that wait for a decision now. */
  readonly pending: number;
  /** Those that were accepted and have not ended. */
  readonly open: number;
  /** Those that were refused. */
  readonly refused: number;
  /** Those that nobody decided about in time. */
  readonly timedOut: number;
  /** SYNs of the interceptor's own connections, which were refused. */
  readonly loops: number;
  /** RSTs that answered segments of no connection. */
  readonly resets: number;
  /** Packets that were dropped, by reason. */
  readonly dropped: {
    /** Headers that contradict each other, or a SYN with a wrong checksum. */
    readonly malformed: number;
    /** Segments of no connection. */
    readonly unknown: number;
    /** SYNs beyond `maxPending`. */
    readonly maxPending: number;
    /** SYNs beyond `maxConnections`. */
    readonly maxConnections: number;
    /** Protocols that are not intercepted, and addresses that are no single host's. */
    readonly unsupported: number;
  };
}

/** What an {@link Interceptor} is made of. */
export interface InterceptorParts extends Omit<NatOptions, 'prefix' | 'ports' | 'shared'> {
  readonly tun: TunDevice;
  readonly stack: Stack;
  readonly prefix: number;
  readonly bypass: Bypass;
}

/**
 * Turns the packets of a TUN device into connections. Open one with {@link intercept}.
 */
export class Interceptor extends EventEmitter<InterceptorEvents> implements AsyncDisposable {
  readonly #tun: TunDevice;
  readonly #stack: Stack;
  readonly #nat: Nat;
  readonly #own: OwnConnections;
  readonly #runs = new PacketRuns(MAX_RUNS);
  readonly #connections = new Map<number, InterceptedConnection>();
  readonly #loops: Promise<void>[] = [];
  readonly #readers: AsyncIterableIterator<PacketBatch>[] = [];
  readonly #timer: NodeJS.Timeout;
  #flushDue = false;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor({ tun, stack, bypass, ...options }: InterceptorParts) {
    super();
    this.#tun = tun;
    this.#stack = stack;
    const shared = stack.tun === tun;
    this.#nat = new Nat(
      { ...options, shared, ports: stack.ports },
      { begun: this.#begun, ended: this.#ended },
    );
    for (const listener of stack.listeners) this.#watch(listener);
    this.#own = new OwnConnections(this.#nat, bypass);
    this.#read(tun, this.#fromClient);
    if (!shared) this.#read(stack.tun, this.#fromStack);
    const shortest = Math.min(options.decisionTimeout, options.idleTimeout) / 4;
    const interval = Math.min(Math.max(shortest, EXPIRY_INTERVAL.least), EXPIRY_INTERVAL.most);
    this.#timer = setInterval(this.#expire, interval).unref();
  }

  /** What happened since the interceptor was opened. */
  get counters(): InterceptorCounters {
    const { malformed, unknown, pendingLimit, openLimit, protocol, ...counters } = this.#nat.counters;
    const dropped = {
      malformed,
      unknown,
      maxPending: pendingLimit,
      maxConnections: openLimit,
      unsupported: protocol,
    };
    return { ...counters, dropped };
  }

  /**
   * Opens a TCP connection in the namespace of this process, past the intercepted device: with the `mark` or `device` of
   * {@link InterceptOptions}. If it comes back out of the device all the same, it fails with EHOSTUNREACH, and
   * `counters.loops` counts it.
   * @throws what {@link NetworkNamespace.connect} throws
   */
  connect(options: InterceptorConnectOptions): Promise<Socket> {
    return this.#own.connect(options);
  }

  /** Lets the process end while the interceptor is open, as the device's `unref`. Sockets are not affected. */
  unref(): this {
    return this.#setReferenced(false);
  }

  /** Undoes {@link unref}. */
  ref(): this {
    return this.#setReferenced(true);
  }

  #setReferenced(referenced: boolean): this {
    for (const listener of this.#stack.listeners) listener.setReferenced(referenced);
    for (const tun of [this.#tun, this.#stack.tun]) referenced ? tun.ref() : tun.unref();
    return this;
  }

  /** Closes: all connections are reset, and the interceptor's namespace goes. The device stays yours. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  readonly #fromClient = (batch: PacketBatch): void => {
    const runs = this.#runs;
    this.#nat.translate(batch, runs);
    for (let run = 0; run < runs.length; run++) {
      for (let i = runs.start(run); i < runs.end(run); i++) batch.drop(i);
    }
    this.#stack.tun.writeBatch(batch);
    this.#flush();
  };

  readonly #fromStack = (batch: PacketBatch): void => {
    this.#nat.translateBack(batch);
    this.#tun.writeBatch(batch);
    this.#flush();
  };

  readonly #begun = (
    slot: SlotReference,
    source: InterceptedConnection['source'],
    destination: InterceptedConnection['destination'],
  ): void => {
    const connection = new InterceptedConnection(this.#owner, slot, source, destination);
    this.#connections.set(slot.slot, connection);
    if (this.#closing || !this.emit('connection', connection)) connection.refuse('reset');
  };

  readonly #ended = (slot: SlotReference, ...how: Parameters<InterceptedConnection['end']>): void => {
    const connection = this.#find(slot);
    if (connection === undefined) return;
    this.#connections.delete(slot.slot);
    connection.end(...how);
  };

  readonly #owner: ConnectionOwner = {
    own: () => this.#own,
    decide: (slot, decision) => {
      const done = this.#nat.decide(slot, decision);
      this.#flushLater();
      return done;
    },
    totals: (slot) => this.#nat.totals(slot),
    forget: ({ slot }) => {
      if (this.#find(slot)) this.#connections.delete(slot.slot);
    },
  };

  #find({ slot, generation }: SlotReference): InterceptedConnection | undefined {
    const connection = this.#connections.get(slot);
    return connection?.slot.generation === generation ? connection : undefined;
  }

  readonly #expire = (): void => {
    this.#nat.expire();
    this.#flush();
  };

  /** Sends what the NAT made itself. */
  readonly #flush = (): void => {
    this.#flushDue = false;
    const { toClient, toStack } = this.#nat;
    if (toClient.length > 0) this.#send(this.#tun, toClient);
    if (toStack.length > 0) this.#send(this.#stack.tun, toStack);
  };

  #send(tun: TunDevice, batch: PacketBatch): void {
    if (tun.fd >= 0) tun.writeBatch(batch);
    batch.clear();
  }

  /** Decisions of one turn leave together. */
  #flushLater(): void {
    if (this.#flushDue) return;
    this.#flushDue = true;
    queueMicrotask(this.#flush);
  }

  #read(tun: TunDevice, handle: (batch: PacketBatch) => void): void {
    const reader = tun.batches();
    this.#readers.push(reader);
    this.#loops.push(this.#loop(reader, handle));
  }

  async #loop(
    reader: AsyncIterableIterator<PacketBatch>,
    handle: (batch: PacketBatch) => void,
  ): Promise<void> {
    let failed: Error | undefined;
    try {
      for await (const batch of reader) {
        if (this.#closing) break;
        handle(batch);
      }
    } catch (error) {
      failed = error as Error;
    }
    if (this.#closing) return;
    void this.close();
    if (failed) this.emit('error', failed);
  }

  #watch(listener: Descriptor): void {
    const [control, counters] = watchArrays();
    const ready = (): void => {
      const error = this.#acceptAll(listener);
      if (error === EAGAIN) control[LAYOUT.kArm] |= READABLE;
      else setTimeout(() => listener.fd() >= 0 && listener.arm(READABLE), ACCEPT_RETRY).unref();
    };
    check(listener.watch(ready, control, counters), 'poll');
    check(listener.arm(READABLE), 'poll');
  }

  /** Returns what ended accepting. */
  #acceptAll(listener: Descriptor): number {
    for (;;) {
      const result = this.#nat.acceptFrom(listener.fd(), this.#accepted);
      if (result < 0) return result;
    }
  }

  readonly #accepted = (slot: SlotReference, fd: number): void => {
    const connection = this.#find(slot);
    if (connection) connection.arrived(fd);
    else native().closeFd(fd);
  };

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.resolve();
    let left = true;
    while (left) {
      left = this.#nat.abortAll();
      this.#flush();
    }
    for (const connection of this.#connections.values())
      connection.end('reset', connection.bytesRead, connection.bytesWritten);
    this.#connections.clear();
    for (const listener of this.#stack.listeners) listener.close();
    for (const reader of this.#readers) await reader.return?.();
    await Promise.all(this.#loops);
    await Promise.all([this.#stack.close(), this.#own.close()]);
    this.emit('close');
  }
}

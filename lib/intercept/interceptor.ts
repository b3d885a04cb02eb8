import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { TunDevice } from '../device/tun-tap-device.js';
import type { PacketBatch } from '../io/packet-batch.js';
import { PacketRuns } from '../io/packet-runs.js';
import { native } from '../native/addon.js';
import { type Descriptor, watchArrays } from '../native/descriptor.js';
import { EAGAIN } from '../native/errno.js';
import { LAYOUT, READABLE } from '../native/layout.js';
import type { RoutingOptions } from '../net/namespace/sockets.js';
import type { DatagramTable } from '../socket/datagram-table.js';
import { check } from '../system-error.js';
import { type ConnectionOwner, InterceptedConnection } from './connection.js';
import { countersOf, type InterceptorCounters } from './counters.js';
import { emitSafely, runAll } from './faults.js';
import type { InterceptorEvents } from './interceptor-events.js';
import { FakeNames } from './names.js';
import { type ConnectionEnd, Nat, type NatOptions, type SlotReference } from './nat.js';
import { OtherPackets, type OtherPacketsOwner } from './other-packets.js';
import { type InterceptorConnectOptions, OwnConnections } from './own-connections.js';
import type { Stack } from './stack.js';

/** How often old connections are looked for, in milliseconds: at most, and for short timeouts. */
const EXPIRY_INTERVAL = { most: 1000, least: 20 };
/** When the process has no fd left, accepting is tried again after this time. */
const ACCEPT_RETRY = 100;
const MAX_RUNS = 4096;

/** What an {@link Interceptor} is made of. */
export interface InterceptorParts extends Omit<NatOptions, 'prefix' | 'ports' | 'shared'> {
  readonly tun: TunDevice;
  readonly stack: Stack;
  readonly prefix: number;
  readonly bypass: RoutingOptions;
  readonly names: boolean;
  readonly maxFlows: number;
  readonly flowTimeout: number;
}

/**
 * Turns the packets of a TUN device into connections. Open one with {@link intercept}.
 */
export class Interceptor extends EventEmitter<InterceptorEvents> implements AsyncDisposable {
  readonly #tun: TunDevice;
  readonly #stack: Stack;
  readonly #nat: Nat;
  readonly #own: OwnConnections;
  readonly #names: FakeNames | undefined;
  readonly #others: OtherPackets;
  readonly #runs = new PacketRuns(MAX_RUNS);
  readonly #connections = new Map<number, InterceptedConnection>();
  readonly #loops: Promise<void>[] = [];
  readonly #readers: AsyncIterableIterator<PacketBatch>[] = [];
  readonly #timer: NodeJS.Timeout;
  #flushDue = false;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor({ tun, stack, bypass, names, maxFlows, flowTimeout, ...options }: InterceptorParts) {
    super();
    this.#tun = tun;
    this.#stack = stack;
    const shared = stack.tun === tun;
    this.#nat = new Nat(
      { ...options, shared, ports: stack.ports },
      { begun: this.#begun, ended: this.#ended },
    );
    this.#names = names ? new FakeNames() : undefined;
    const { prefix } = options;
    const parts = { tun, prefix, names: this.#names, maxFlows, flowTimeout };
    this.#others = new OtherPackets(parts, this.#packetsOwner());
    for (const listener of stack.listeners) this.#watch(listener);
    this.#own = new OwnConnections(this.#nat, bypass, this.#names);
    this.#read(tun, this.#fromClient);
    if (!shared) this.#read(stack.tun, this.#fromStack);
    this.#nat.carry(tun, stack.tun);
    const shortest = Math.min(options.decisionTimeout, options.idleTimeout, flowTimeout) / 4;
    const interval = Math.min(Math.max(shortest, EXPIRY_INTERVAL.least), EXPIRY_INTERVAL.most);
    this.#timer = setInterval(this.#expire, interval).unref();
  }

  /** What happened since the interceptor was opened. */
  get counters(): InterceptorCounters {
    return countersOf(this.#nat, this.#others);
  }

  /**
   * Opens a TCP connection in the namespace of this process, past the intercepted device: with the `mark` or `device` of
   * {@link InterceptOptions}. If it comes back out of the device all the same, it fails with EHOSTUNREACH, and
   * `counters.loops` counts it.
   * @throws what `connect()` of a `NetworkNamespace` throws; Error `ERR_TUNTAP_CLOSED`; EACCES for a name that a client has asked for, with option
   * `names`, and that is an address of this machine's loopback
   */
  connect(options: InterceptorConnectOptions): Promise<Socket> {
    return this.#own.connect(options);
  }

  /**
   * Gives the datagrams of all clients in batches: their payloads, and in {@link received} where each comes from and goes
   * to. There is no allocation per datagram. Every turn yields a batch that is valid until the next one. Only one loop can
   * run at a time, and while it runs there are no `'flow'` events. What comes while the loop is busy waits for its next
   * turn; more than 4,096 datagrams are lost, and counted.
   *
   * With option `names`, the questions for names are answered, and dropped from the batch.
   * @throws Error `ERR_TUNTAP_READING` if a loop runs already, `ERR_TUNTAP_CLOSED`
   * @example
   * ```ts
   * for await (const batch of interceptor.datagrams()) interceptor.writeBatch(batch, interceptor.received); // echo
   * ```
   */
  datagrams(): AsyncIterableIterator<PacketBatch> {
    return this.#others.port.batches();
  }

  /**
   * Belongs to the latest batch of {@link datagrams}: the remote of entry `i` is the client that sent packet `i`, the
   * local address and port are where it sent it.
   */
  get received(): DatagramTable {
    return this.#others.port.received;
  }

  /**
   * Sends packets `start` to the end of a batch as datagrams to clients: packet `i` to the remote of entry `i`, from that
   * entry's local address and port, with its TOS. The entry of a table that has one is for all packets.
   * @returns how many became datagrams. One that did not has its error in `batch.status(i)`: EMSGSIZE, EDESTADDRREQ (no
   * remote), EADDRNOTAVAIL (no local address and port of the remote's family)
   * @throws TypeError or RangeError with an `ERR_…` code for bad arguments, before anything is sent; Error
   * `ERR_TUNTAP_CLOSED`
   */
  writeBatch(batch: PacketBatch, table: DatagramTable, start = 0): number {
    return this.#others.port.writeBatch(batch, table, start);
  }

  /** With option `names`: the name that a fake address stands for, or undefined if it is none. */
  nameOf(address: string): string | undefined {
    return this.#names?.nameOf(address);
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
    if (this.#nat.takeWritten(batch, this.#stack.tun, false)) {
      this.#flush();
      return;
    }
    const wholes = this.#translate(batch);
    if (wholes.length > 0) {
      this.#translate(wholes);
      wholes.clear();
    }
    this.#flush();
  };

  /** Returns what fragments made whole. */
  #translate(batch: PacketBatch): PacketBatch {
    this.#nat.translate(batch, this.#runs);
    const wholes = this.#others.handle(batch, this.#runs);
    if (this.#stack.tun.fd >= 0) this.#stack.tun.writeBatch(batch);
    return wholes;
  }

  readonly #fromStack = (batch: PacketBatch): void => {
    if (!this.#nat.takeWritten(batch, this.#tun, true)) {
      this.#nat.translateBack(batch);
      if (this.#tun.fd >= 0) this.#tun.writeBatch(batch);
    }
    this.#flush();
  };

  readonly #begun = (slot: SlotReference, source: ConnectionEnd, asked: ConnectionEnd): void => {
    const destination = this.#others.port.named(asked);
    const connection = new InterceptedConnection(this.#owner, slot, source, destination ?? asked);
    this.#connections.set(slot.slot, connection);
    if (destination === undefined) {
      connection.refuse('host-unreachable');
      return;
    }
    if (destination.name !== undefined) this.#hold(connection);
    if (this.#closing || !emitSafely(() => this.emit('connection', connection))) connection.refuse('reset');
  };

  /** While there are connections to a name, its fake address stays its own. */
  #hold(connection: InterceptedConnection): void {
    const { address } = connection.destination;
    this.#names?.hold(address);
    connection.once('close', () => this.#names?.release(address));
  }

  readonly #ended = (slot: SlotReference, ...how: Parameters<InterceptedConnection['end']>): void => {
    const connection = this.#find(slot);
    if (connection === undefined) return;
    this.#connections.delete(slot.slot);
    connection.end(...how);
  };

  readonly #owner: ConnectionOwner = {
    own: () => this.#own,
    decide: (slot, decision) => {
      if (!this.#nat.hasRoom) this.#flush();
      const done = this.#nat.decide(slot, decision);
      this.#flushLater();
      return done;
    },
    totals: (slot) => this.#nat.totals(slot),
    forget: ({ slot }) => {
      if (this.#find(slot)) this.#connections.delete(slot.slot);
    },
  };

  #packetsOwner(): OtherPacketsOwner {
    return {
      toClient: this.#nat.toClient,
      send: () => this.#send(this.#tun, this.#nat.toClient),
      flushLater: () => this.#flushLater(),
      flow: (flow) => emitSafely(() => this.emit('flow', flow)),
      takesEchoes: () => this.listenerCount('echo') > 0,
      echo: (echo) => emitSafely(() => this.emit('echo', echo)),
    };
  }

  #find({ slot, generation }: SlotReference): InterceptedConnection | undefined {
    const connection = this.#connections.get(slot);
    return connection?.slot.generation === generation ? connection : undefined;
  }

  readonly #expire = (): void => {
    while (this.#nat.expire()) this.#flush();
    this.#others.port.expire();
    this.#flush();
  };

  /** Sends what the NAT made itself. */
  readonly #flush = (): void => {
    this.#flushDue = false;
    this.#others.port.flush();
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
    this.close().catch(() => {}); // who closes it gets the error
    if (failed) emitSafely(() => this.emit('error', failed));
  }

  #watch(listener: Descriptor): void {
    const [control, counters] = watchArrays();
    const ready = (): void => {
      const error = this.#nat.acceptAll(listener, this.#accepted);
      if (error === EAGAIN) control[LAYOUT.kArm] |= READABLE;
      else setTimeout(() => listener.fd() >= 0 && listener.arm(READABLE), ACCEPT_RETRY).unref();
    };
    check(listener.watch(ready, control, counters), 'poll');
    check(listener.arm(READABLE), 'poll');
  }

  readonly #accepted = (slot: SlotReference, fd: number): void => {
    const connection = this.#find(slot);
    if (connection) connection.arrived(fd);
    else native().closeFd(fd);
  };

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.resolve();
    // What one step fails with must not keep the others, that of the namespace least of all.
    const steps = [
      () => this.#resetAll(),
      () => this.#nat.carryNoMore(this.#tun, this.#stack.tun),
      ...this.#readers.map((reader) => () => reader.return?.()),
      () => Promise.allSettled(this.#loops),
      () => this.#stack.close(),
      () => this.#own.close(),
    ];
    const [failure] = await runAll(steps);
    emitSafely(() => this.emit('close'));
    if (failure) throw failure;
  }

  #resetAll(): void {
    let left = true;
    while (left) {
      left = this.#nat.abortAll();
      this.#flush();
    }
    for (const connection of this.#connections.values())
      connection.end('reset', connection.bytesRead, connection.bytesWritten);
    this.#connections.clear();
    this.#others.port.close();
    for (const listener of this.#stack.listeners) listener.close();
  }
}

import { EventEmitter } from 'node:events';
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
import type { Stack } from './stack.js';

const EXPIRY_INTERVAL = 1000;
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

/** What an {@link Interceptor} is made of. */
export interface InterceptorParts extends Omit<NatOptions, 'prefix' | 'ports' | 'shared'> {
  readonly tun: TunDevice;
  readonly stack: Stack;
  readonly prefix: number;
}

/**
 * Turns the packets of a TUN device into connections. Open one with {@link intercept}.
 */
export class Interceptor extends EventEmitter<InterceptorEvents> implements AsyncDisposable {
  readonly #tun: TunDevice;
  readonly #stack: Stack;
  readonly #nat: Nat;
  readonly #runs = new PacketRuns(MAX_RUNS);
  readonly #connections = new Map<number, InterceptedConnection>();
  readonly #loops: Promise<void>[] = [];
  readonly #readers: AsyncIterableIterator<PacketBatch>[] = [];
  readonly #timer: NodeJS.Timeout;
  #flushDue = false;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor({ tun, stack, ...options }: InterceptorParts) {
    super();
    this.#tun = tun;
    this.#stack = stack;
    const shared = stack.tun === tun;
    this.#nat = new Nat(
      { ...options, shared, ports: stack.ports },
      { begun: this.#begun, ended: this.#ended },
    );
    for (const listener of stack.listeners) this.#watch(listener);
    this.#read(tun, this.#fromClient);
    if (!shared) this.#read(stack.tun, this.#fromStack);
    this.#timer = setInterval(this.#expire, EXPIRY_INTERVAL).unref();
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
    await this.#stack.close();
    this.emit('close');
  }
}

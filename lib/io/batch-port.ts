import type { EventEmitter } from 'node:events';
import { EAGAIN } from '../native/errno.js';
import { READABLE, WRITABLE } from '../native/layout.js';
import type { PacketBatch } from './packet-batch.js';
import { alreadyReading, alreadyWaiting, type PacketChannel } from './packet-channel.js';

const ignore = (): void => {};

/** Reads a device or socket in batches, by one reader at a time, and tells when it can be written again. */
export class BatchPort {
  readonly #channel: PacketChannel;
  readonly #owner: EventEmitter;
  #iterator: BatchIterator | undefined;
  #blocked = false;

  /** @param owner emits `'drain'` once after each EAGAIN. While a loop runs, it is the loop that rejects with its error. */
  constructor(channel: PacketChannel, owner: EventEmitter) {
    this.#channel = channel;
    this.#owner = owner;
  }

  /** Whether a loop over batches runs. */
  get reading(): boolean {
    return this.#iterator !== undefined;
  }

  /**
   * @param next gives what a turn yields
   * @param takeLeftovers adds packets to an empty batch that were read before
   * @throws Error `ERR_TUNTAP_READING` if a loop runs already
   */
  batches(
    next: () => PacketBatch,
    takeLeftovers?: (batch: PacketBatch) => void,
  ): AsyncIterableIterator<PacketBatch> {
    if (this.#iterator) throw alreadyReading(this.#channel.name, 'in batches');
    const leave = (): void => {
      this.#iterator = undefined;
      this.#owner.off('error', ignore);
      this.#channel.disarm(READABLE);
    };
    this.#iterator = new BatchIterator(next, this.#channel, leave, takeLeftovers);
    this.#owner.on('error', ignore);
    return this.#iterator;
  }

  /** Settles a written batch and sees to `'drain'`: see {@link PacketChannel.settle}. */
  settle(batch: PacketBatch, start: number, taken: number, syscall: string): number {
    const error = this.#channel.settle(batch, start, taken, syscall);
    if (error === EAGAIN) this.block();
    return error;
  }

  /** The kernel's queue is full: `'drain'` is to follow. */
  block(): void {
    this.#blocked = true;
    this.#channel.arm(WRITABLE);
  }

  /** Ends the turn that waits with what was read, or waits on. Returns 0, or the errno that ended reading. */
  deliver(): number {
    const iterator = this.#iterator;
    if (iterator === undefined) return 0;
    if (this.#channel.recorders) this.#channel.recordBatch(iterator.batch, 0, 'outbound');
    if (iterator.deliver()) return 0;
    const { error } = iterator.batch;
    if (error !== 0 && error !== EAGAIN) return error;
    this.#channel.arm(READABLE);
    return 0;
  }

  /** The kernel's queue has room again. */
  drained(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#owner.emit('drain');
  }

  /** Ends the loop, if one runs, with an error or without. */
  finish(error: Error | null): void {
    this.#iterator?.finish(error);
  }
}

type Turn = IteratorResult<PacketBatch>;

class BatchIterator implements AsyncIterableIterator<PacketBatch> {
  batch: PacketBatch;
  readonly #nextBatch: () => PacketBatch;
  readonly #channel: PacketChannel;
  readonly #leave: () => void;
  readonly #takeLeftovers: (batch: PacketBatch) => void;
  readonly #turn: IteratorYieldResult<PacketBatch>;
  #leftovers: boolean;
  #resolve: ((turn: Turn) => void) | undefined;
  #reject: (error: Error) => void = ignore;
  #done = false;
  #error: Error | null = null;

  constructor(
    next: () => PacketBatch,
    channel: PacketChannel,
    leave: () => void,
    takeLeftovers: (batch: PacketBatch) => void = ignore,
  ) {
    this.#nextBatch = next;
    this.batch = next();
    this.#turn = { value: this.batch, done: false };
    this.#channel = channel;
    this.#leave = leave;
    this.#takeLeftovers = takeLeftovers;
    this.#leftovers = takeLeftovers !== ignore;
    this.batch.readFrom(channel.descriptor);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Turn> {
    if (this.#error || this.#done || this.#resolve) return this.#refuseTurn();
    const batch = this.#nextBatch();
    if (batch !== this.batch) {
      this.batch = batch;
      this.#turn.value = batch;
      batch.readFrom(this.#channel.descriptor);
    }
    batch.clear();
    const turn = new Promise(this.#wait);
    if (this.#leftovers) queueMicrotask(this.#deliverLeftovers);
    else this.#channel.arm(READABLE);
    return turn;
  }

  readonly #wait = (resolve: (turn: Turn) => void, reject: (error: Error) => void): void => {
    this.#resolve = resolve;
    this.#reject = reject;
  };

  /** In a microtask, since a loop may begin while the packets of one read are being given out. */
  readonly #deliverLeftovers = (): void => {
    const resolve = this.#resolve;
    if (resolve === undefined) return;
    this.#takeLeftovers(this.batch);
    this.#leftovers = this.batch.length > 0;
    if (this.#leftovers) {
      this.#resolve = undefined;
      resolve(this.#turn);
    } else {
      this.#channel.arm(READABLE);
    }
  };

  async #refuseTurn(): Promise<Turn> {
    const error = this.#error;
    this.#error = null;
    if (error) throw error;
    if (this.#done) return { value: undefined, done: true };
    throw alreadyWaiting();
  }

  async return(): Promise<Turn> {
    if (!this.#done) {
      this.finish(null);
      this.#leave();
    }
    return { value: undefined, done: true };
  }

  /** Returns whether a turn waited and something was read. */
  deliver(): boolean {
    const resolve = this.#resolve;
    if (resolve === undefined || this.batch.transferred === 0) return false;
    this.#resolve = undefined;
    resolve(this.#turn);
    return true;
  }

  finish(error: Error | null): void {
    this.#done = true;
    const resolve = this.#resolve;
    this.#resolve = undefined;
    if (!resolve) this.#error = error;
    else if (error) this.#reject(error);
    else resolve({ value: undefined, done: true });
  }
}

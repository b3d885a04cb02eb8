import { READABLE } from '../native/addon.js';
import type { PacketBatch } from './packet-batch.js';
import type { WatchedDescriptor } from './packet-channel.js';

const ignore = (): void => {};

/** What a {@link BatchIterator} needs of whom it reads for. */
export interface BatchReader {
  /** Arming the descriptor gave this, which is not 0. */
  armed(result: number): void;
  /** The loop was left. */
  release(): void;
}

/** One at a time reads a device or socket; `deliver` is called once a batch was read, after a turn asked for it. */
export class BatchIterator implements AsyncIterableIterator<PacketBatch> {
  readonly batch: PacketBatch;
  readonly #watched: WatchedDescriptor;
  readonly #reader: BatchReader;
  readonly #turn: IteratorYieldResult<PacketBatch>;
  #resolve: ((result: IteratorResult<PacketBatch>) => void) | undefined;
  #reject: (error: Error) => void = ignore;
  #done = false;
  #error: Error | null = null;

  constructor(batch: PacketBatch, watched: WatchedDescriptor, reader: BatchReader) {
    this.batch = batch;
    batch.readFrom(watched.descriptor);
    this.#watched = watched;
    this.#reader = reader;
    this.#turn = { value: batch, done: false };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Whether a turn waits for packets. */
  get waiting(): boolean {
    return this.#resolve !== undefined;
  }

  next(): Promise<IteratorResult<PacketBatch>> {
    if (this.#error || this.#done || this.#resolve) return this.#refuseTurn();
    this.batch.clear();
    const turn = new Promise(this.#wait);
    const result = this.#watched.arm(READABLE);
    if (result !== 0) this.#reader.armed(result);
    return turn;
  }

  readonly #wait = (
    resolve: (result: IteratorResult<PacketBatch>) => void,
    reject: (error: Error) => void,
  ): void => {
    this.#resolve = resolve;
    this.#reject = reject;
  };

  async #refuseTurn(): Promise<IteratorResult<PacketBatch>> {
    const error = this.#error;
    this.#error = null;
    if (error) throw error;
    if (this.#done) return { value: undefined, done: true };
    throw Object.assign(new Error('A batch is already being waited for'), { code: 'ERR_TUNTAP_READING' });
  }

  async return(): Promise<IteratorResult<PacketBatch>> {
    if (!this.#done) {
      this.finish(null);
      this.#reader.release();
    }
    return { value: undefined, done: true };
  }

  /** Ends the turn that waits with what was read; returns whether there is such a turn and something was. */
  deliver(): boolean {
    const resolve = this.#resolve;
    if (resolve === undefined || this.batch.moved === 0) return false;
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

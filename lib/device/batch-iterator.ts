import type { PacketBatch } from './packet-batch.js';

const ignore = (): void => {};

/** One at a time reads a device or socket; `deliver` is called once a batch was read, after a turn asked for it. */
export class BatchIterator implements AsyncIterableIterator<PacketBatch> {
  readonly batch: PacketBatch;
  readonly #control: { arm(): void; release(): void };
  readonly #turn: IteratorYieldResult<PacketBatch>;
  #resolve: ((result: IteratorResult<PacketBatch>) => void) | undefined;
  #reject: (error: Error) => void = ignore;
  #done = false;
  #error: Error | null = null;

  constructor(batch: PacketBatch, control: { arm(): void; release(): void }) {
    this.batch = batch;
    this.#control = control;
    this.#turn = { value: batch, done: false };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<PacketBatch>> {
    if (this.#error || this.#done || this.#resolve) return this.#refuseTurn();
    this.batch.clear();
    this.#control.arm();
    return new Promise(this.#wait);
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
      this.#control.release();
    }
    return { value: undefined, done: true };
  }

  readonly deliver = (): void => {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.(this.#turn);
  };

  finish(error: Error | null): void {
    this.#done = true;
    const resolve = this.#resolve;
    this.#resolve = undefined;
    if (!resolve) this.#error = error;
    else if (error) this.#reject(error);
    else resolve({ value: undefined, done: true });
  }
}

import { PacketBatch } from '../io/packet-batch.js';
import { alreadyWaiting } from '../io/packet-channel.js';
import { DatagramTable } from '../socket/datagram-table.js';

const CAPACITY = 4096;
/** Memory that is never touched costs nothing. */
const SIZE = 8 * 1024 * 1024;

/** Payloads, and where each comes from and goes to. */
export interface ReceivedDatagrams {
  readonly batch: PacketBatch;
  readonly table: DatagramTable;
}

export function newReceivedDatagrams(): ReceivedDatagrams {
  return { batch: new PacketBatch({ capacity: CAPACITY, size: SIZE }), table: new DatagramTable(CAPACITY) };
}

/**
 * Gives datagrams in batches to one loop. While the loop is busy with a batch, another one is filled; what that one has
 * no room for is lost.
 */
export class DatagramReader implements AsyncIterableIterator<PacketBatch> {
  /** Append datagrams here, and then call {@link deliver}. */
  filling = newReceivedDatagrams();
  /** What the loop has. */
  given = newReceivedDatagrams();
  readonly #leave: () => void;
  #resolve: ((result: IteratorResult<PacketBatch>) => void) | undefined;
  #done = false;

  constructor(leave: () => void) {
    this.#leave = leave;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<PacketBatch>> {
    if (this.#done) return Promise.resolve({ value: undefined, done: true });
    if (this.#resolve) return Promise.reject(alreadyWaiting());
    this.given.batch.clear();
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.deliver();
    });
  }

  async return(): Promise<IteratorResult<PacketBatch>> {
    this.finish();
    return { value: undefined, done: true };
  }

  /** Gives the loop what there is, if it waits. */
  deliver(): void {
    const resolve = this.#resolve;
    if (resolve === undefined || this.filling.batch.length === 0) return;
    this.#resolve = undefined;
    [this.filling, this.given] = [this.given, this.filling];
    resolve({ value: this.given.batch, done: false });
  }

  finish(): void {
    if (this.#done) return;
    this.#done = true;
    this.#leave();
    this.#resolve?.({ value: undefined, done: true });
    this.#resolve = undefined;
  }
}

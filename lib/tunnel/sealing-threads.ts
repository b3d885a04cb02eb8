import { codedError } from '../arguments.js';
import { ADDRESS_FAMILIES } from '../endpoint.js';
import { PacketBatch, type PacketBatchOptions } from '../io/packet-batch.js';
import { type PacketRuns, rowsOf } from '../io/packet-runs.js';
import { native, type SealingPoolHandle } from '../native/addon.js';
import { type DatagramTable, entriesOf } from '../socket/datagram-table.js';
import type { UdpBatchSocket } from '../socket/udp-batch-socket.js';
import { check } from '../system-error.js';
import { type Aead, type Padding, reserve } from './aead.js';

/**
 * Threads that seal batches, and one that sends them in the order in which they were handed over. A batch is read into what
 * {@link next} returns; {@link sealBatch} for each of its runs and {@link send} hand it over. A batch that is not
 * handed over stays the caller's.
 */
export class SealingThreads implements Disposable {
  /** How many threads seal. */
  readonly count: number;
  readonly #batches: readonly PacketBatch[];
  #pool: SealingPoolHandle | undefined;

  /** @param count 1 to 64 */
  constructor(count: number, options: PacketBatchOptions) {
    this.count = count;
    // So many batches may be at work, or `many` while the kernel has taken a thread, with its packets, off its core.
    const few = 2 + 8 * count;
    const many = count === 1 ? few : 2 + 32 * count;
    this.#batches = Array.from({ length: many }, () => new PacketBatch(options));
    const memories = this.#batches.map(({ memory }) => memory);
    this.#pool = check<SealingPoolHandle>(native().newSealingPool(count, few, memories), 'pthread_create');
  }

  /** Whether all that was handed over has been sent. */
  get idle(): boolean {
    return native().isSealingIdle(this.#handle) === 1;
  }

  /** The batch to read into, which has what became of it when it was last sent. Waits while all are at work. */
  next(): PacketBatch {
    if (!this.#pool) return this.#batches[0];
    return this.#batches[check<number>(native().waitForSealing(this.#handle), 'seal')];
  }

  /** Where what follows is sent; undefined: nowhere. What was handed over before is sent first. */
  useSocket(socket: UdpBatchSocket | undefined): void {
    if (!this.#pool) return;
    const family = ADDRESS_FAMILIES[socket?.family ?? 4];
    const result = native().useSealingSocket(
      this.#pool,
      socket?.fd ?? -1,
      family,
      socket?.offloads.gso ?? false,
    );
    check(result, 'dup', socket && `${socket.local}`);
  }

  /**
   * Has packets `start` to `end` of the batch sealed, as `Aead.sealBatch` does. All others must have been dropped, or be
   * in other runs.
   * @returns how many bytes they will have
   */
  sealBatch(aead: Aead, header: Uint8Array, start: number, end: number, padding: Padding): number {
    const { handle, first } = reserve(aead, end - start);
    const { multiple, limit = 0 } = padding;
    const bytes = native().sealLater(this.#handle, handle, start, end, header, first, multiple, limit);
    return check<number>(bytes, 'seal');
  }

  /** Hands the batch over. Packets of run `r` go where entry `r` says. */
  send(remotes: DatagramTable, runs: PacketRuns): void {
    check(native().sendLater(this.#handle, rowsOf(runs), runs.length, entriesOf(remotes)), 'send');
  }

  get #handle(): SealingPoolHandle {
    if (this.#pool) return this.#pool;
    throw codedError('ERR_TUNTAP_CLOSED', 'The threads have ended');
  }

  /** Ends the threads. What was not sent yet is dropped. */
  [Symbol.dispose](): void {
    if (this.#pool) native().stopSealingPool(this.#pool);
    this.#pool = undefined;
  }
}

import { markAsUntransferable } from 'node:worker_threads';
import { LAYOUT } from './layout.js';

/** An open fd that can't leak. Functions that can fail return `-errno`. */
export interface Descriptor {
  /** The number, or -1 once closed. */
  fd(): number;
  close(): void;
  /** Closes on another thread, since the kernel takes 25 ms to remove a device. */
  closeLater(): Promise<number>;
  /**
   * Prepares `arm`; the callback gets the events that hold. Keeps the object alive until `close`. While the callback
   * and the microtasks that it queued run, `control[1]` is 1, and what stands in `control[0]` is armed at their end.
   * While `control[2]` is not 0, native code passes nothing on by itself.
   * `counters` adds up packets and bytes read, packets and bytes written, and malformed packets.
   */
  watch(callback: (events: number) => void, control: Int32Array, counters: Float64Array): number;
  /**
   * Names the batch, a PacketBatch's memory, that packets are appended to before the callback hears of `READABLE`.
   * The callback gets a negative errno instead of events if that memory was detached.
   */
  readInto(memory: ArrayBufferLike, headroom: number, tailroom: number): void;
  /** Appends packets that the fd gave and no batch had room for; see `arm`. */
  readPending(): number;
  /**
   * Asks for one callback when any of the events holds; one with `FAILED` tells with it what was asked for. Returns 1:
   * call `readPending`, since no event will tell of these.
   */
  arm(events: number): number;
  /** Takes `arm` back. */
  disarm(events: number): void;
  setReferenced(referenced: boolean): void;
}

/** The arrays that {@link Descriptor.watch} takes. */
export function watchArrays(): [control: Int32Array, counters: Float64Array] {
  const [control, counters] = [new Int32Array(LAYOUT.kControlWords), new Float64Array(LAYOUT.kCounters)];
  markAsUntransferable(control.buffer);
  markAsUntransferable(counters.buffer);
  return [control, counters];
}

/** Returns what `use` does with the fd, and closes the descriptor. */
export function closing<T>(descriptor: Descriptor, use: (fd: number) => T): T {
  try {
    return use(descriptor.fd());
  } finally {
    descriptor.close();
  }
}

/** Returns what `use` does; closes a descriptor or socket if it throws. */
export function closingOnError<T>(opened: { close(): void }, use: () => T): T {
  try {
    return use();
  } catch (error) {
    opened.close();
    throw error;
  }
}

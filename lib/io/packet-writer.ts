import { PacketBatch } from './packet-batch.js';

const EAGAIN = -11;

/**
 * Packets that were written to a stream one by one, gathered until the program's turn ends, so that neighbours can go
 * to the kernel as one. They are copied.
 */
export class OutgoingPackets {
  readonly #batch = new PacketBatch({ size: 256 * 1024 });
  readonly #send: (batch: PacketBatch, start: number) => number;
  readonly #later: () => void;
  #start = 0;
  #scheduled = false;

  /**
   * @param send gives a batch to the kernel and returns 0, EAGAIN, or what ended the device
   * @param later is called after the current turn where packets wait for {@link flush}
   */
  constructor(send: (batch: PacketBatch, start: number) => number, later: () => void) {
    this.#send = send;
    this.#later = later;
  }

  /**
   * Takes a packet of a size that a batch takes, and where `now` is set gives it to the kernel.
   * @returns 0, or a negative errno; EAGAIN: it was not taken, since the kernel's queue is full
   */
  write(packet: Uint8Array, now: boolean): number {
    const batch = this.#batch;
    if (this.#start > 0) return EAGAIN;
    if (!batch.push(packet)) {
      const error = this.flush();
      if (error !== 0) return error;
      batch.push(packet);
    }
    if (now) return this.#writeNow();
    if (!this.#scheduled) {
      this.#scheduled = true;
      queueMicrotask(this.#later);
    }
    return 0;
  }

  #writeNow(): number {
    const batch = this.#batch;
    const last = batch.length - 1;
    const error = this.#send(batch, this.#start);
    const status = batch.status(last);
    if (error === EAGAIN && status === EAGAIN) batch.pop();
    this.#settle(error);
    return error === EAGAIN ? status : error || status;
  }

  /** Whether packets wait. */
  get waiting(): boolean {
    return this.#batch.length > 0;
  }

  /** Gives what waits to the kernel; returns 0, EAGAIN, or what ended the device. */
  flush(): number {
    this.#scheduled = false;
    if (this.#batch.length === 0) return 0;
    const error = this.#send(this.#batch, this.#start);
    this.#settle(error);
    return error;
  }

  #settle(error: number): void {
    this.#start = error === EAGAIN ? this.#batch.firstUnsent : this.#batch.length;
    if (this.#start < this.#batch.length) return;
    this.#batch.clear();
    this.#start = 0;
  }
}

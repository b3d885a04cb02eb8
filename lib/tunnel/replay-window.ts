import { requireInteger } from '../arguments.js';
import { type PacketBatch, requirePackets } from '../io/packet-batch.js';
import { EALREADY } from '../native/errno.js';

const WORD_BITS = 32;

/**
 * Tells the counters that were seen from new ones, to refuse packets that somebody sends again: a bitmap of the last
 * counters, older ones are refused. It advances by whole words, without shifting (RFC 6479).
 *
 * Only the counters of authentic packets may go in, or anybody can advance it.
 * @example
 * ```ts
 * aead.openBatch(batch);
 * window.checkBatch(batch, counterOffset - headerLength);   // the header is before the packet now
 * tun.writeBatch(batch);
 * ```
 */
export class ReplayWindow {
  /** How many counters behind the highest are still told apart. */
  readonly size: number;
  readonly #bitmap: Uint32Array;
  readonly #mask: number;
  // All below are counters, up to 2^53 - 1; #next is one more than the highest.
  #next = 0;

  /** @param size 32 to 1,048,576, rounded up so that with one word of slack it fills a power of two. **Default:** `8160` */
  constructor(size = 8160) {
    requireInteger('size', size, WORD_BITS, 2 ** 20);
    let words = 2;
    while ((words - 1) * WORD_BITS < size) words *= 2;
    this.size = (words - 1) * WORD_BITS;
    this.#bitmap = new Uint32Array(words);
    this.#mask = words - 1;
  }

  /**
   * Takes a counter in.
   * @param counter an integer from 0 to 2^53 - 1; anything else is refused
   * @returns whether it is new: false if it was seen, or is too old to tell
   */
  check(counter: number): boolean {
    if (!Number.isSafeInteger(counter) || counter < 0) return false;
    return this.#checkHalves(Math.floor(counter / 2 ** WORD_BITS), counter % 2 ** WORD_BITS);
  }

  /**
   * Takes in the counters of a batch's packets, 64 bits with the least significant byte first, and drops those that
   * are not new with `-EALREADY` (-114) in `batch.status(i)`. It passes over packets that were dropped or whose status
   * is not 0, and checks empty ones: keepalives have counters too.
   * @param offset where in a packet the counter is; negative in the header that {@link Aead.openBatch} took off
   * @returns how many are new
   * @throws RangeError `ERR_OUT_OF_RANGE` if a packet has no 8 bytes there; those before it are taken in
   */
  checkBatch(batch: PacketBatch, offset: number, start = 0, end?: number): number {
    const to = requirePackets(batch, start, end);
    let fresh = 0;
    for (let i = start; i < to; i++) {
      if (batch.isDropped(i) || batch.status(i) !== 0) continue;
      if (this.#checkHalves(batch.readUInt32LE(i, offset + 4), batch.readUInt32LE(i, offset))) fresh++;
      else batch.reject(i, EALREADY);
    }
    return fresh;
  }

  /** Forgets everything: for a new key. */
  reset(): void {
    this.#bitmap.fill(0);
    this.#next = 0;
  }

  #checkHalves(high: number, low: number): boolean {
    // From 2^53 on a Number is not exact; no sender gets there.
    if (high >= 2 ** 21) return false;
    const counter = high * 2 ** WORD_BITS + low;
    const word = Math.floor(counter / WORD_BITS);
    if (counter >= this.#next) {
      const last = Math.floor((this.#next - 1) / WORD_BITS);
      // Words that come in now hold bits of counters a bitmap's length ago.
      const steps = Math.min(word - last, this.#bitmap.length);
      for (let i = 0; i < steps; i++) this.#bitmap[(word - i) & this.#mask] = 0;
      this.#next = counter + 1;
    } else if (this.#next - 1 - counter >= this.size) {
      return false;
    }
    const bit = 1 << (low & (WORD_BITS - 1));
    const index = word & this.#mask;
    if (this.#bitmap[index] & bit) return false;
    this.#bitmap[index] |= bit;
    return true;
  }
}

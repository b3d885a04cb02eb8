import { invalidArgType, outOfRange, requireInteger } from '../errors.js';
import { native } from '../native.js';

// The table's layout, in 32-bit words, as src-cpp/packet_io.h has it: a header, then an entry per packet.
const HEADER_WORDS = 4;
const END = 0;
const PACKETS = 1;
const BYTES = 2;
const ERROR = 3;
const ENTRY_WORDS = 4;
const OFFSET = 0;
const LENGTH = 1;
const STATUS = 2;
const SLOT = 3;
const SLOT_ALIGNMENT = 8;
const EAGAIN = -11;

/** Options of a {@link PacketBatch}. */
export interface PacketBatchOptions {
  /** Packets that fit, 1 to 4,096. **Default:** `256` */
  readonly capacity?: number;
  /** Bytes for packets with their room, beside a reserve for one of the largest size. **Default:** `524288` */
  readonly size?: number;
  /** Bytes kept free before each packet, up to 4,096. **Default:** `0` */
  readonly headroom?: number;
  /** Bytes kept free after each packet, up to 4,096. **Default:** `0` */
  readonly tailroom?: number;
}

/**
 * Packets that lie one after the other in one slab of memory, each between its headroom and tailroom.
 *
 * What `at` and iteration give shares the slab's memory: it is valid until the batch is read into again or
 * cleared, which for a batch from `device.batches()` is the next turn of the loop.
 */
export class PacketBatch implements Iterable<Buffer> {
  /** How many packets fit. */
  readonly capacity: number;
  /** Bytes kept free before each packet. */
  readonly headroom: number;
  /** Bytes kept free after each packet. */
  readonly tailroom: number;
  readonly #slab: Buffer;
  readonly #table: Int32Array;
  #length = 0;

  constructor(options: PacketBatchOptions = {}) {
    const { capacity = 256, size = 512 * 1024, headroom = 0, tailroom = 0 } = options;
    this.capacity = requireInteger('options.capacity', capacity, 1, 4096);
    this.headroom = requireInteger('options.headroom', headroom, 0, 4096);
    this.tailroom = requireInteger('options.tailroom', tailroom, 0, 4096);
    requireInteger('options.size', size, 1, 2 ** 30);
    const slabSize = size + this.headroom + native().maxPacketSize + this.tailroom;
    // Untouched memory costs nothing, so it is not zeroed; only what was read into it is ever shown.
    this.#slab = Buffer.allocUnsafeSlow(slabSize);
    this.#table = new Int32Array(HEADER_WORDS + ENTRY_WORDS * this.capacity);
  }

  /** How many packets the batch holds. */
  get length(): number {
    return this.#length;
  }

  /** Packet `index`: its bytes in place, not a copy. */
  at(index: number): Buffer {
    const entry = this.#entry(index);
    const offset = this.#table[entry + OFFSET];
    return this.#slab.subarray(offset, offset + this.#table[entry + LENGTH]);
  }

  /** The packets in order, as {@link at} gives them. */
  *[Symbol.iterator](): Generator<Buffer, void, undefined> {
    for (let i = 0; i < this.#length; i++) yield this.at(i);
  }

  /**
   * What the last write made of packet `index`: 0 if the kernel took it, else the negative errno. `-EAGAIN`
   * (-11): the kernel's queue was full before this packet was offered.
   */
  status(index: number): number {
    return this.#table[this.#entry(index) + STATUS];
  }

  /** The first packet that the last write did not offer to the kernel since its queue was full; `length` if none. */
  get firstUnsent(): number {
    if (this.#table[ERROR] !== EAGAIN) return this.#length;
    for (let i = 0; i < this.#length; i++) if (this.status(i) === EAGAIN) return i;
    return this.#length;
  }

  /**
   * Grows packet `index` by `before` bytes into its headroom and `after` bytes into its tailroom; negative
   * numbers shrink it. The bytes gained keep whatever was there: write them.
   * @throws RangeError `ERR_OUT_OF_RANGE` beyond the room there is, or where nothing would be left
   */
  resize(index: number, before: number, after: number): void {
    const entry = this.#entry(index);
    const slot = this.#table[entry + SLOT];
    const slotEnd = index + 1 < this.#length ? this.#table[entry + ENTRY_WORDS + SLOT] : this.#table[END];
    const start = this.#table[entry + OFFSET] - requireInteger('before', before, -0xffff, 0xffff);
    const end =
      this.#table[entry + OFFSET] +
      this.#table[entry + LENGTH] +
      requireInteger('after', after, -0xffff, 0xffff);
    if (start < slot) throw outOfRange('before', 'within the headroom', before);
    if (end > slotEnd) throw outOfRange('after', 'within the tailroom', after);
    if (end <= start) throw outOfRange('after', 'such that a byte is left', after);
    this.#table[entry + OFFSET] = start;
    this.#table[entry + LENGTH] = end - start;
  }

  /** Takes packet `index` out of what a write sends; its place stays. */
  drop(index: number): void {
    this.#table[this.#entry(index) + LENGTH] = 0;
  }

  /**
   * Appends a copy of a packet.
   * @returns false where the batch is full
   * @throws RangeError `ERR_OUT_OF_RANGE` if the packet is empty or larger than a device takes
   */
  push(packet: Uint8Array): boolean {
    if (!(packet instanceof Uint8Array)) throw invalidArgType('packet', 'a Uint8Array', packet);
    const { maxPacketSize } = native();
    if (packet.length < 1 || packet.length > maxPacketSize) {
      throw outOfRange('packet.length', `1 to ${maxPacketSize}`, packet.length);
    }
    const slot = this.#length === 0 ? 0 : this.#table[END];
    const offset = slot + this.headroom;
    const end = offset + packet.length + this.tailroom;
    if (this.#length === this.capacity || end > this.#slab.length) return false;
    this.#slab.set(packet, offset);
    const entry = HEADER_WORDS + ENTRY_WORDS * this.#length++;
    this.#table.set([offset, packet.length, 0, slot], entry);
    this.#table[END] = (end + SLOT_ALIGNMENT - 1) & -SLOT_ALIGNMENT;
    return true;
  }

  /** Empties the batch. */
  clear(): void {
    this.#length = 0;
    this.#table[END] = 0;
  }

  /**
   * Fills the batch anew from a device's fd.
   * @internal
   */
  readFrom(fd: number): Transfer {
    this.clear();
    const packets = native().readPackets(
      fd,
      this.#slab.buffer,
      this.#table.buffer,
      0,
      this.headroom,
      this.tailroom,
    );
    // Negative only where the user detached the slab's memory.
    if (packets < 0) return { packets: 0, bytes: 0, error: packets };
    this.#length = packets;
    return this.#transfer();
  }

  /**
   * Writes packets `start` to the end to a device's fd.
   * @internal
   */
  writeTo(fd: number, start: number): Transfer {
    const packets = native().writePackets(fd, this.#slab.buffer, this.#table.buffer, start, this.#length);
    return packets < 0 ? { packets: 0, bytes: 0, error: packets } : this.#transfer();
  }

  #transfer(): Transfer {
    return { packets: this.#table[PACKETS], bytes: this.#table[BYTES] >>> 0, error: this.#table[ERROR] };
  }

  #entry(index: number): number {
    if (!Number.isInteger(index) || index < 0 || index >= this.#length) {
      throw outOfRange('index', `an integer below ${this.#length}`, index);
    }
    return HEADER_WORDS + ENTRY_WORDS * index;
  }
}

/** What one native read or write moved; `error` is what ended it, 0 or a negative errno. */
export interface Transfer {
  readonly packets: number;
  readonly bytes: number;
  readonly error: number;
}

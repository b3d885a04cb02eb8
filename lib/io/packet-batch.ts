import { Buffer } from 'node:buffer';
import { markAsUntransferable } from 'node:worker_threads';
import { invalidArgType, outOfRange, requireInteger, requireObject } from '../arguments.js';
import { native } from '../native/addon.js';
import type { Descriptor } from '../native/descriptor.js';
import { EAGAIN } from '../native/errno.js';
import { LAYOUT } from '../native/layout.js';

// Places in a batch's memory, in 32-bit words.
const CAPACITY = LAYOUT['BatchHeader.capacity'] / 4;
const COUNT = LAYOUT['BatchHeader.count'] / 4;
const END = LAYOUT['BatchHeader.end'] / 4;
const PACKETS = LAYOUT['BatchHeader.outcome.packets'] / 4;
const BYTES = LAYOUT['BatchHeader.outcome.bytes'] / 4;
const ERROR = LAYOUT['BatchHeader.outcome.error'] / 4;
const HEADER_WORDS = LAYOUT.BatchHeader / 4;
const OFFSET = LAYOUT['BatchEntry.offset'] / 4;
const LENGTH = LAYOUT['BatchEntry.length'] / 4;
const STATUS = LAYOUT['BatchEntry.status'] / 4;
const SLOT = LAYOUT['BatchEntry.slot'] / 4;
const ENTRY_WORDS = LAYOUT.BatchEntry / 4;
const SLOT_ALIGNMENT = LAYOUT.kSlotAlignment;
const MAX_CAPACITY = LAYOUT.kMaxCapacity;
const MAX_TRANSFER_SIZE = LAYOUT.kMaxTransferSize;
/** The length of a dropped packet: beyond any memory, and no length that a packet can have. */
const DROPPED = LAYOUT.kDropped | 0;

/** Room around the packets of batches, into which each can grow. */
export interface PacketMargins {
  /** Bytes kept free before each packet of a batch, up to 4,096. **Default:** `0` */
  readonly headroom?: number;
  /** Bytes kept free after each packet of a batch, up to 4,096. **Default:** `0` */
  readonly tailroom?: number;
}

/** Options of a {@link PacketBatch}. */
export interface PacketBatchOptions extends PacketMargins {
  /** Packets that fit, 1 to 4,096. **Default:** `256` */
  readonly capacity?: number;
  /** Bytes for packets with their room, beside a reserve for one of the largest size. **Default:** `524288` */
  readonly size?: number;
}

/**
 * Packets that lie one after the other in one piece of memory, each between its headroom and tailroom.
 *
 * The Buffers of `at` and of iteration share that memory. They are valid until the batch is read into again or cleared,
 * which for a batch of `batches()` is the next turn of the loop: copy what you keep. The memory can't be transferred to
 * a worker.
 */
export class PacketBatch implements Iterable<Buffer> {
  /** How many packets fit. */
  readonly capacity: number;
  /** Bytes kept free before each packet. */
  readonly headroom: number;
  /** Bytes kept free after each packet. */
  readonly tailroom: number;
  /** What src-cpp/batch/layout.h calls a batch; `#bytes.buffer` would be a slow call. @internal */
  readonly memory: ArrayBufferLike;
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #dataArea: number;

  constructor(options: PacketBatchOptions = {}) {
    requireObject('options', options);
    const { capacity = 256, size = 512 * 1024, headroom = 0, tailroom = 0 } = options;
    this.capacity = requireInteger('options.capacity', capacity, 1, MAX_CAPACITY);
    this.headroom = requireInteger('options.headroom', headroom, 0, 4096);
    this.tailroom = requireInteger('options.tailroom', tailroom, 0, 4096);
    requireInteger('options.size', size, 1, 2 ** 30);
    this.#dataArea = 4 * (HEADER_WORDS + ENTRY_WORDS * capacity);
    // Untouched memory costs nothing, so it is not zeroed; only what was written into it is ever shown.
    const length = this.#dataArea + size + headroom + MAX_TRANSFER_SIZE + tailroom;
    this.#bytes = Buffer.allocUnsafeSlow((length + SLOT_ALIGNMENT - 1) & -SLOT_ALIGNMENT);
    this.memory = this.#bytes.buffer;
    // Node.js 20 copies what is so marked, newer versions throw DataCloneError.
    markAsUntransferable(this.memory);
    this.#view = new DataView(this.memory);
    this.#words = new Int32Array(this.memory, 0, this.#dataArea / 4);
    this.#words.fill(0, 0, HEADER_WORDS);
    this.#words[CAPACITY] = capacity;
    this.clear();
  }

  /** How many packets the batch holds. */
  get length(): number {
    return this.#words[COUNT] ?? 0; // the memory may have been detached
  }

  /**
   * Packet `index`: its bytes in place, not a copy. Give `Buffer.from(batch.at(i))`, which is a copy, to whatever uses
   * them after this turn of the loop, such as `ws.send`, which may send later.
   */
  at(index: number): Buffer {
    const entry = this.#entry(index);
    const offset = this.#words[entry + OFFSET];
    return Buffer.from(this.memory as ArrayBuffer, offset, Math.max(0, this.#words[entry + LENGTH]));
  }

  /** The packets in order, as {@link at} gives them. */
  *[Symbol.iterator](): Generator<Buffer, void, undefined> {
    for (let i = 0; i < this.length; i++) yield this.at(i);
  }

  /**
   * How the last operation on packet `index` ended: 0, or a negative errno. After a write, `-EAGAIN` (-11) means that
   * the kernel's queue was full before this packet's turn.
   */
  status(index: number): number {
    // Positive: the kernel took it, though the write ended before its place.
    return Math.min(0, this.#words[this.#entry(index) + STATUS]);
  }

  /** The first packet that the last write left unsent because the kernel's queue was full; `length` if none. */
  get firstUnsent(): number {
    if (this.#words[ERROR] !== EAGAIN) return this.length;
    for (let i = 0; i < this.length; i++) if (this.status(i) === EAGAIN) return i;
    return this.length;
  }

  /**
   * Grows packet `index` by `before` bytes into its headroom and by `after` bytes into its tailroom. Negative numbers
   * shrink it. The added bytes have any value until you write them. A dropped packet stays dropped.
   * @throws RangeError `ERR_OUT_OF_RANGE` if the room is too small, or the packet is shorter than what you cut off
   */
  resize(index: number, before: number, after: number): void {
    const entry = this.#entry(index);
    if (this.#words[entry + LENGTH] === DROPPED) return;
    const slot = this.#words[entry + SLOT];
    const slotEnd = index + 1 < this.length ? this.#words[entry + ENTRY_WORDS + SLOT] : this.#words[END];
    const start = this.#words[entry + OFFSET] - requireInteger('before', before, -0xffff, 0xffff);
    const end =
      this.#words[entry + OFFSET] +
      this.#words[entry + LENGTH] +
      requireInteger('after', after, -0xffff, 0xffff);
    if (start < slot) throw outOfRange('before', 'within the headroom', before);
    if (end > slotEnd) throw outOfRange('after', 'within the tailroom', after);
    if (end < start) throw outOfRange('after', 'at most what the packet has', after);
    this.#words[entry + OFFSET] = start;
    this.#words[entry + LENGTH] = end - start;
  }

  /**
   * The byte at `offset` of packet `index`, without making a Buffer. Negative offsets are in its headroom, which keeps
   * what {@link resize} cut off. Offsets from its length on are in its tailroom.
   * @throws RangeError `ERR_OUT_OF_RANGE` outside the packet and its room
   */
  readUInt8(index: number, offset: number): number {
    return this.#bytes[this.#position(index, offset, 1)];
  }

  /** Four bytes in network order, as {@link readUInt8}. */
  readUInt32BE(index: number, offset: number): number {
    return this.#view.getUint32(this.#position(index, offset, 4));
  }

  /** Four bytes, the least significant first, as {@link readUInt8}. */
  readUInt32LE(index: number, offset: number): number {
    return this.#view.getUint32(this.#position(index, offset, 4), true);
  }

  /** How long packet `index` is: 0 if it is empty, or was dropped. */
  lengthOf(index: number): number {
    return Math.max(0, this.#words[this.#entry(index) + LENGTH]);
  }

  /** Leaves packet `index` out when the batch is written, sealed or opened. The others keep their index. */
  drop(index: number): void {
    this.#words[this.#entry(index) + LENGTH] = DROPPED;
  }

  /** Whether packet `index` was dropped: by {@link drop}, or since it could not be sealed or opened. */
  isDropped(index: number): boolean {
    return this.#words[this.#entry(index) + LENGTH] === DROPPED;
  }

  /** Drops a packet for a reason that {@link status} tells. @internal */
  reject(index: number, errno: number): void {
    const entry = this.#entry(index);
    this.#words[entry + LENGTH] = DROPPED;
    this.#words[entry + STATUS] = errno;
  }

  /**
   * Appends a copy of a packet. An empty packet can be sealed, and sent as a datagram; devices skip it.
   * @returns false if the batch is full
   * @throws RangeError `ERR_OUT_OF_RANGE` if the packet is larger than a device takes
   */
  push(packet: Uint8Array): boolean {
    if (!(packet instanceof Uint8Array)) throw invalidArgType('packet', 'a Uint8Array', packet);
    if (packet.length > MAX_TRANSFER_SIZE) {
      throw outOfRange('packet.length', `at most ${MAX_TRANSFER_SIZE}`, packet.length);
    }
    const slot = this.#words[END];
    const offset = slot + this.headroom;
    const end = offset + packet.length + this.tailroom;
    if (this.length === this.capacity || end > this.#bytes.length) return false;
    this.#bytes.set(packet, offset);
    const entry = HEADER_WORDS + ENTRY_WORDS * this.#words[COUNT]++;
    this.#words[entry + OFFSET] = offset;
    this.#words[entry + LENGTH] = packet.length;
    this.#words[entry + STATUS] = 0;
    this.#words[entry + SLOT] = slot;
    this.#words[END] = (end + SLOT_ALIGNMENT - 1) & -SLOT_ALIGNMENT;
    return true;
  }

  /** Takes the last packet out. @internal */
  pop(): void {
    this.#words[END] = this.#words[this.#entry(this.length - 1) + SLOT];
    this.#words[COUNT]--;
  }

  /** Empties the batch. */
  clear(): void {
    this.#words[COUNT] = 0;
    this.#words[END] = this.#dataArea;
  }

  /** Lets packets be read into this batch, behind those that it holds. @internal */
  readFrom(descriptor: Descriptor): void {
    descriptor.readInto(this.memory, this.headroom, this.tailroom);
  }

  /** Whether a packet of any size can still be read into it. @internal */
  get hasRoom(): boolean {
    const needed = this.headroom + MAX_TRANSFER_SIZE + this.tailroom;
    return this.length < this.capacity && this.#words[END] + needed <= this.#bytes.length;
  }

  /** Writes packets `start` to the end; how many were taken, or a negative errno if nothing was tried. @internal */
  writeTo(descriptor: Descriptor, start: number): number {
    return native().writePackets(descriptor, this.memory, start);
  }

  /** Notes what became of a write that native code began by itself. @internal */
  setOutcome(packets: number, error: number): void {
    this.#words[PACKETS] = packets;
    this.#words[ERROR] = error;
  }

  /** How many packets the last read or write transferred. @internal */
  get transferred(): number {
    return this.#words[PACKETS];
  }

  /** The bytes that the last read, write or sealing was about. @internal */
  get transferredBytes(): number {
    return this.#words[BYTES];
  }

  /** What ended the last read or write: 0 or a negative errno. @internal */
  get error(): number {
    return this.#words[ERROR];
  }

  #position(index: number, offset: number, length: number): number {
    const words = this.#words;
    const entry = this.#entry(index);
    const position = words[entry + OFFSET] + offset;
    const end = index + 1 < words[COUNT] ? words[entry + ENTRY_WORDS + SLOT] : words[END];
    if (!Number.isInteger(offset) || position < words[entry + SLOT] || position + length > end) {
      throw outOfRange('offset', 'an integer within the packet and its room', offset);
    }
    return position;
  }

  #entry(index: number): number {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) {
      throw outOfRange('index', `an integer below ${this.length}`, index);
    }
    return HEADER_WORDS + ENTRY_WORDS * index;
  }
}

/** Throws unless it is a batch that has packets `start` to `end`; returns the end. @internal */
export function requirePackets(batch: unknown, start: number, end?: number): number {
  if (!(batch instanceof PacketBatch)) throw invalidArgType('batch', 'a PacketBatch', batch);
  requireInteger('start', start, 0, batch.length);
  return requireInteger('end', end ?? batch.length, start, batch.length);
}

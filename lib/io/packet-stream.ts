import { Duplex } from 'node:stream';
import { invalidArgType, requireInteger, unsupported } from '../arguments.js';
import type { Descriptor } from '../native/descriptor.js';
import { EAGAIN, EBADFD, EFAULT, isFatal } from '../native/errno.js';
import { FAILED, LAYOUT, READABLE, WRITABLE } from '../native/layout.js';
import { systemError } from '../system-error.js';
import { BatchPort } from './batch-port.js';
import { PacketBatch, type PacketMargins } from './packet-batch.js';
import { alreadyReading, PacketChannel } from './packet-channel.js';
import { PacketWriter, TrackedPacket, type WriterOptions } from './packet-writer.js';
import { StreamReader } from './stream-reader.js';

/** Gets the error of one packet, if there is one. */
export type WriteCallback = (error: Error | null | undefined) => void;

/** What a {@link PacketStream} is built from. */
export interface StreamParts extends PacketMargins, WriterOptions {
  readonly descriptor: Descriptor;
  readonly name: string;
  readonly signal?: AbortSignal;
}

/** What native code takes for a device. @internal */
export let descriptorOf: (stream: PacketStream) => Descriptor;

/**
 * Packets as a Duplex in object mode, and, which is faster, in batches. Methods of a Duplex that make no sense for
 * packets throw `ERR_TUNTAP_UNSUPPORTED`.
 */
export abstract class PacketStream extends Duplex {
  static {
    descriptorOf = (stream) => stream.channel.descriptor;
  }

  /** Bytes kept free before each packet of {@link batches}. */
  readonly headroom: number;
  /** Bytes kept free after each packet of {@link batches}. */
  readonly tailroom: number;
  /** @internal */
  protected readonly channel: PacketChannel;
  readonly #port: BatchPort;
  readonly #reader: StreamReader;
  readonly #writer: PacketWriter;

  /** @internal */
  constructor(parts: StreamParts) {
    super({ objectMode: true, readableHighWaterMark: 64, writableHighWaterMark: 64, signal: parts.signal });
    this.headroom = parts.headroom ?? 0;
    this.tailroom = parts.tailroom ?? 0;
    const onFailed = (error: Error): void => void this.destroy(error);
    this.channel = new PacketChannel(parts.descriptor, parts.name, { onReady: this.#onReady, onFailed });
    this.#port = new BatchPort(this.channel, this);
    this.#reader = new StreamReader(this, this.channel);
    this.#writer = new PacketWriter(this.channel, parts);
  }

  /** The file descriptor, -1 once closed. It stays the device's: reading it elsewhere steals packets. */
  get fd(): number {
    return this.channel.fd;
  }

  /** Lets the event loop end though this device waits for packets. */
  unref(): this {
    this.channel.setReferenced(false);
    return this;
  }

  /** Undoes {@link unref}. */
  ref(): this {
    this.channel.setReferenced(true);
    return this;
  }

  /**
   * Packets in batches of up to 256: one call into JavaScript each, and no allocation per packet.
   *
   * Every turn gives the same PacketBatch, filled anew: a packet that you keep beyond its turn, or give to something
   * that sends it later, must be a copy. Only one reader at a time, this or the stream: take off the stream's listeners
   * and `pause()` it before. What it had read comes first. Leaving the loop stops reading and keeps the device open.
   * @throws Error `ERR_TUNTAP_READING` if the device is being read already
   * @example
   * ```ts
   * for await (const batch of tun.batches()) {
   *   for (const packet of batch) ws.send(Buffer.from(packet)); // a copy: ws.send(packet) would send later packets
   * }
   * ```
   */
  batches(): AsyncIterableIterator<PacketBatch>;
  /** @param next gives the batch that a turn reads into; the one before is then no longer the loop's. @internal */
  batches(next: () => PacketBatch): AsyncIterableIterator<PacketBatch>;
  batches(next?: () => PacketBatch): AsyncIterableIterator<PacketBatch> {
    this.channel.requireFd();
    const listeners = this.listenerCount('data') + this.listenerCount('readable');
    if (!this.readableEnded && (this.readableFlowing || listeners > 0)) {
      throw alreadyReading(this.channel.name, 'as a stream');
    }
    const own = next ? undefined : new PacketBatch({ headroom: this.headroom, tailroom: this.tailroom });
    const batches = this.#port.batches(next ?? (() => own as PacketBatch), (batch) => {
      while (this.readableLength > 0 && batch.hasRoom) batch.push(super.read());
    });
    this.#reader.stop();
    return batches;
  }

  /**
   * Gives packets `start` to the end of a batch to the kernel, at once.
   * @returns how many packets the kernel took. A packet that it refused is counted, has its error in
   * `batch.status(i)`, and does not hinder the others. If the kernel's queue is full, `batch.firstUnsent` says
   * from which packet on to call again after this device's `'drain'` event.
   * @throws a system error if the device is gone
   */
  writeBatch(batch: PacketBatch, start = 0): number {
    if (!(batch instanceof PacketBatch)) throw invalidArgType('batch', 'a PacketBatch', batch);
    if (start !== 0) requireInteger('start', start, 0, batch.length);
    if (this.#writer.waiting) this.#writer.flush();
    return this.settleBatch(batch, start, batch.writeTo(this.channel.descriptor, start));
  }

  /** What follows the writing of a batch, of which the kernel took `taken` packets. @internal */
  settleBatch(batch: PacketBatch, start: number, taken: number): number {
    if (taken > 0 && taken === batch.length - start && !this.channel.recorders) return taken;
    this.channel.requireFd();
    const error = this.#port.settle(batch, start, taken, 'write');
    if (isFatal(error)) {
      const gone = systemError(error, 'write', this.channel.name);
      this.destroy(gone);
      throw gone;
    }
    return taken;
  }

  /**
   * Works like `Readable.pipe()`. From one device straight into another, whole batches go instead of single packets as
   * long as nothing else listens to `'data'`.
   */
  override pipe<T extends NodeJS.WritableStream>(destination: T, options?: { end?: boolean }): T {
    this.takeStream();
    super.pipe(destination, options);
    if (destination instanceof PacketStream) {
      const listener = this.listeners('data').at(-1);
      this.#reader.pipeTo({ destination, writer: destination.#writer, listener });
    }
    return destination;
  }

  /** Works like `Readable.resume()`. */
  override resume(): this {
    this.takeStream();
    return super.resume();
  }

  /** Works like `Readable.read()`: one packet, or null. */
  override read(size?: number): Buffer | null {
    // Node's own calls have the size 0, or come from a stream that flows.
    if (size !== 0 && !this.readableFlowing) this.takeStream();
    return super.read(size);
  }

  /** Whoever reads the stream comes here first. @internal */
  protected takeStream(): void {
    if (this.#port.reading && !this.destroyed) throw alreadyReading(this.channel.name, 'in batches');
    this.#reader.resume();
  }

  /** Puts a packet before those that the stream has read. */
  override unshift(packet: Uint8Array): void {
    super.unshift(requireReadable(packet));
  }

  /** Puts a packet into the stream as if it had been read; null ends the stream. */
  override push(packet: Uint8Array | null): boolean {
    return super.push(packet === null ? null : requireReadable(packet));
  }

  /** Throws `ERR_TUNTAP_UNSUPPORTED`: packets are bytes. */
  override setEncoding(_encoding: BufferEncoding): never {
    throw unsupported(
      'A device has no setEncoding()',
      "packets are bytes. Decode the part that is text: packet.toString('utf8', 28)",
    );
  }

  /** Throws `ERR_TUNTAP_UNSUPPORTED`: packets are bytes. */
  override setDefaultEncoding(_encoding: BufferEncoding): never {
    throw unsupported(
      'A device has no setDefaultEncoding()',
      'packets are bytes. Write Buffer.from(text, encoding)',
    );
  }

  /** Throws `ERR_TUNTAP_UNSUPPORTED`: a device reads from the kernel. */
  override wrap(_stream: NodeJS.ReadableStream): never {
    throw unsupported('A device has no wrap()', 'it reads from the kernel. Use stream.pipe(device)');
  }

  /**
   * Writes one packet. With a callback it is given to the kernel at once. Without one, a device with offloads gives it to
   * the kernel in a microtask, at the end of the program's turn, together with others.
   * @param packet a whole packet. More than 65,557 bytes, or none, are refused. The type has a string since a Node
   * stream's does; it throws a TypeError
   * @param callback gets this packet's error if the kernel refused it (EINVAL: not a packet; EIO: the link is down;
   * ENOBUFS; EMSGSIZE), which does not end the stream. The counters have the packet by then
   * @returns false if you should wait for `'drain'`
   */
  override write(packet: Uint8Array | string, callback?: WriteCallback): boolean;
  override write(packet: Uint8Array | string, encoding?: BufferEncoding, callback?: WriteCallback): boolean;
  override write(packet: unknown, encoding?: unknown, callback?: WriteCallback): boolean {
    const bytes = requirePacket(packet);
    const report = typeof encoding === 'function' ? (encoding as WriteCallback) : callback;
    if (typeof report !== 'function') {
      // Where nothing waits, what the kernel takes at once, or refuses for itself alone, is none of Writable's concern.
      const idle = this.writable && this.writableLength === 0 && this.writableCorked === 0;
      return (idle && this.#writer.offer(bytes)) || super.write(bytes);
    }
    const tracked = new TrackedPacket(bytes);
    return super.write(tracked, (error) => report(error ?? tracked.error));
  }

  /** Ends the writing side, after one more packet if there is one. Reading goes on. */
  override end(...args: unknown[]): this {
    if (typeof args[0] !== 'function' && args[0] !== undefined && args[0] !== null) requirePacket(args[0]);
    return super.end(...(args as Parameters<Duplex['end']>));
  }

  /** @internal */
  override _write(chunk: Uint8Array | TrackedPacket, _encoding: string, callback: WriteCallback): void {
    this.#writer.write(chunk, callback);
  }

  /** @internal */
  override _final(callback: WriteCallback): void {
    this.#writer.end(callback);
  }

  /** @internal */
  override _read(): void {
    this.#reader.start(this.#port.reading);
  }

  /** @internal */
  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#writer.abort(error);
    this.#port.finish(error);
    this.channel.close(() => callback(error));
  }

  readonly #onReady = (events: number): void => {
    // If a listener detaches the memory of its packets, the stream goes on with other memory.
    if (events < 0) {
      if (events === EFAULT && !this.#port.reading) this.#reader.recover();
      else this.channel.fail(events, 'read');
      return;
    }
    const reader = this.#port.reading ? this.#port : this.#reader;
    const error = events & READABLE ? reader.deliver() : 0;
    // Nearly all calls end here.
    if (events === READABLE && (error === 0 || error === EAGAIN)) return;
    // A device that is gone polls as failed; macvtap's then has nothing to read instead of an error.
    const fatal = error !== 0 && error !== EAGAIN ? error : events & FAILED ? EBADFD : 0;
    if (fatal !== 0) this.channel.fail(fatal, 'read');
    if (!(events & WRITABLE) || this.destroyed) return;
    this.#writer.resume();
    if (!this.destroyed) this.#port.drained();
  };
}

function requirePacket(packet: unknown): Uint8Array {
  if (packet instanceof Uint8Array) return packet;
  throw invalidArgType('packet', 'a Uint8Array: one whole packet, not text', packet);
}

function requireReadable(packet: unknown): Uint8Array {
  const bytes = requirePacket(packet);
  requireInteger('packet.length', bytes.length, 1, LAYOUT.kMaxTransferSize);
  return bytes;
}

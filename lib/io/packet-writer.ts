import { native } from '../native/addon.js';
import { EAGAIN, ECANCELED, EINVAL, EMSGSIZE, isFatal } from '../native/errno.js';
import { LAYOUT, WRITABLE } from '../native/layout.js';
import { systemError } from '../system-error.js';
import { PacketBatch } from './packet-batch.js';
import type { PacketChannel } from './packet-channel.js';

type Callback = (error?: Error | null) => void;

/** A packet whose writer wants to know how the kernel took it: an error of its own does not end the stream. */
export class TrackedPacket {
  error: Error | null = null;
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** How a {@link PacketWriter} writes. */
export interface WriterOptions {
  /** Whether packets are gathered until the program's turn ends, so that neighbours can go to the kernel as one. */
  readonly coalesces?: boolean;
  /** Bytes before each packet that are no part of it. */
  readonly packetPrefix?: number;
}

/** The packet that a stream gives to its listeners at the moment, and its place in the batch that was read. */
export const delivered: { packet: Uint8Array | undefined; batch: PacketBatch | undefined; index: number } = {
  packet: undefined,
  batch: undefined,
  index: 0,
};

/** Packets of another stream's batch that wait where they are. */
interface Run {
  readonly source: PacketBatch;
  readonly start: number;
  end: number;
}

/** The writing side of a stream of packets. They leave in the order in which they were written. */
export class PacketWriter {
  readonly #channel: PacketChannel;
  readonly #prefix: number;
  // Copies of the packets that wait, unless they wait as a run.
  readonly #batch: PacketBatch | undefined;
  #run: Run | undefined;
  // The first packet of the batch that the kernel has not taken.
  #start = 0;
  #scheduled = false;
  #blocked: { readonly chunk: Uint8Array | TrackedPacket; readonly callback: Callback } | undefined;
  #end: Callback | undefined;

  constructor(channel: PacketChannel, { coalesces = false, packetPrefix = 0 }: WriterOptions) {
    this.#channel = channel;
    this.#prefix = packetPrefix;
    if (coalesces) this.#batch = new PacketBatch({ capacity: 1024, size: 768 * 1024 });
  }

  /** Whether packets wait. */
  get waiting(): boolean {
    return this.#run !== undefined || (this.#batch !== undefined && this.#batch.length > 0);
  }

  /** Writes a packet unless it must wait, or the device is gone; returns whether it did. */
  offer(packet: Uint8Array): boolean {
    const result = this.#put(packet, false);
    return result !== EAGAIN && !isFatal(result);
  }

  /** Writes a chunk of the stream; see `Writable._write`. */
  write(chunk: Uint8Array | TrackedPacket, callback: Callback): void {
    const tracked = chunk instanceof TrackedPacket;
    const result = this.#put(tracked ? chunk.bytes : chunk, tracked);
    if (result === EAGAIN) {
      this.#blocked = { chunk, callback };
      this.#channel.arm(WRITABLE);
      return;
    }
    const error = result === 0 ? null : systemError(result, 'write', this.#channel.name);
    if (tracked) chunk.error = error;
    callback(isFatal(result) ? error : null);
  }

  /** Returns 0 or a negative errno, which is counted if it is this packet's alone. */
  #put(packet: Uint8Array, now: boolean): number {
    const size = packet.length - this.#prefix;
    const invalid = size <= 0 ? EINVAL : size > LAYOUT.kMaxPacketSize ? EMSGSIZE : 0;
    if (invalid === 0 && this.#batch !== undefined) return this.#append(this.#batch, packet, now);
    const result = invalid || native().writePacket(this.#channel.descriptor, packet);
    if (result >= 0) {
      if (this.#channel.recorders) this.#channel.record(packet, 'inbound');
      return 0;
    }
    if (result !== EAGAIN && !isFatal(result)) this.#channel.countRefused(result);
    return result;
  }

  #append(batch: PacketBatch, packet: Uint8Array, now: boolean): number {
    if (this.#start > 0) return EAGAIN;
    if (!now && packet === delivered.packet && this.#extendRun(delivered.batch, delivered.index)) {
      this.#schedule();
      return 0;
    }
    this.#copyRun(batch);
    if (!batch.push(packet)) {
      const error = this.#send(batch);
      if (error !== 0) return error;
      batch.push(packet);
    }
    if (now) return this.#sendLast(batch);
    this.#schedule();
    return 0;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(this.flush);
  }

  /** Lets a packet wait where it was read, if those before it do so, too; returns whether it does. */
  #extendRun(source: PacketBatch | undefined, index: number): boolean {
    const run = this.#run;
    if (run === undefined) {
      if (source === undefined || this.waiting) return false;
      this.#run = { source, start: index, end: index + 1 };
      return true;
    }
    if (run.source !== source || run.end !== index) return false;
    run.end++;
    return true;
  }

  /** Copies the packets of the run, all or those with a status, into the batch, which is empty and as large as any. */
  #copyRun(batch: PacketBatch, status?: number): void {
    const run = this.#run;
    if (run === undefined) return;
    this.#run = undefined;
    // If a listener detached the memory, nothing is left to copy.
    for (let i = run.start; i < Math.min(run.end, run.source.length); i++) {
      if (status === undefined || run.source.status(i) === status) batch.push(run.source.at(i));
    }
  }

  /** Sends what waits: the run as it is if it ends where its batch ends. */
  #sendWaiting(batch: PacketBatch): number {
    const run = this.#run;
    if (run === undefined || run.end !== run.source.length) {
      this.#copyRun(batch);
      return this.#send(batch);
    }
    const error = this.#settle(run.source, run.start);
    // More can be read into the source before these are sent.
    if (error === EAGAIN) this.#copyRun(batch, EAGAIN);
    this.#run = undefined;
    return error;
  }

  /** Sends all; returns what became of the last packet, which is taken out again if the kernel's queue is full. */
  #sendLast(batch: PacketBatch): number {
    const last = batch.length - 1;
    const error = this.#settle(batch);
    const status = batch.status(last);
    if (error === EAGAIN && status === EAGAIN) batch.pop();
    this.#forget(batch, error);
    return error === EAGAIN ? status : error || status;
  }

  #send(batch: PacketBatch): number {
    const error = batch.length === 0 ? 0 : this.#settle(batch);
    this.#forget(batch, error);
    return error;
  }

  #settle(batch: PacketBatch, start = this.#start): number {
    return this.#channel.settle(batch, start, batch.writeTo(this.#channel.descriptor, start), 'write');
  }

  /** Keeps what the kernel has not taken. */
  #forget(batch: PacketBatch, error: number): void {
    this.#start = error === EAGAIN ? batch.firstUnsent : batch.length;
    if (this.#start < batch.length) return;
    batch.clear();
    this.#start = 0;
  }

  /** Gives the kernel what waits. What it does not take is tried again when it can be written. */
  readonly flush = (): void => {
    this.#scheduled = false;
    if (this.#channel.fd < 0) return;
    const error = this.#batch === undefined ? 0 : this.#sendWaiting(this.#batch);
    if (error === EAGAIN) this.#channel.arm(WRITABLE);
    else if (error !== 0) this.#channel.fail(error, 'write');
    else this.#finish();
  };

  /**
   * Gives the kernel a batch of another device as it is, unless packets wait before it; returns whether it did.
   * The packets that found the kernel's queue full have the status EAGAIN.
   */
  forward(batch: PacketBatch, start: number): boolean {
    if (this.waiting) this.flush();
    if (this.waiting || this.#channel.fd < 0) return false;
    const error = this.#settle(batch, start);
    if (isFatal(error)) this.#channel.fail(error, 'write');
    return true;
  }

  /** Goes on when the kernel's queue has room again. */
  resume(): void {
    this.flush();
    const blocked = this.#blocked;
    this.#blocked = undefined;
    if (blocked) this.write(blocked.chunk, blocked.callback);
  }

  /** Calls back once all has been given to the kernel; see `Writable._final`. */
  end(callback: Callback): void {
    this.#end = callback;
    this.flush();
  }

  #finish(): void {
    const end = this.#end;
    this.#end = undefined;
    end?.();
  }

  /** Fails the write that is blocked. Without an error, what waits is sent first, as far as the kernel takes it. */
  abort(error: Error | null): void {
    if (error === null && this.waiting && this.#batch !== undefined) this.#sendWaiting(this.#batch);
    const blocked = this.#blocked;
    this.#blocked = undefined;
    blocked?.callback(error ?? systemError(ECANCELED, 'write', this.#channel.name));
  }
}

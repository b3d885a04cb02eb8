import { Duplex, type Writable } from 'node:stream';
import { EAGAIN } from '../native/errno.js';
import { READABLE } from '../native/layout.js';
import { PacketBatch } from './packet-batch.js';
import type { PacketChannel } from './packet-channel.js';
import { delivered, type PacketWriter } from './packet-writer.js';

// A chunk of the stream is a view of the memory that its batch was read into, which a user who keeps the chunk keeps.
// A batch that one read fills is followed by a larger one: under load, less often begun, it parts fewer of the
// super-packets that are written again.
const MIN_BATCH_SIZE = 128 * 1024;
const MAX_BATCH_SIZE = 512 * 1024;
const BATCH_CAPACITY = 1024;

const { push } = Duplex.prototype;
const rethrow = (error: unknown): never => {
  throw error;
};

/** A pipe into another device, and the `'data'` listener that it put on the source. */
interface Pipe {
  readonly destination: Writable;
  readonly writer: PacketWriter;
  readonly listener: unknown;
}

/** The reading side of a stream of packets. The memory of a chunk is never written again. */
export class StreamReader {
  readonly #stream: Duplex;
  readonly #channel: PacketChannel;
  // Undefined while somebody else reads the channel.
  #batch: PacketBatch | undefined;
  #batchSize = MIN_BATCH_SIZE;
  // Whether the stream asked for a packet and got none yet.
  #wanted = false;
  #pipe: Pipe | undefined;

  constructor(stream: Duplex, channel: PacketChannel) {
    this.#stream = stream;
    this.#channel = channel;
  }

  /** The stream asks for packets; while `paused`, it gets them after {@link resume}. */
  start(paused: boolean): void {
    this.#wanted = true;
    if (paused) return;
    if (this.#batch === undefined) this.#renew();
    this.#channel.arm(READABLE);
  }

  /** Leaves the channel to another reader. Packets that were read stay in the stream. */
  stop(): void {
    this.#batch = undefined;
    this.#channel.disarm(READABLE);
  }

  /** Takes the channel back after {@link stop} if the stream asked for packets. */
  resume(): void {
    if (this.#wanted && this.#batch === undefined) this.start(false);
  }

  /** Gives whole batches to `writer` as long as the pipe alone gets the stream's packets. */
  pipeTo(pipe: Pipe): void {
    this.#pipe = pipe;
  }

  /** Pushes what was read. Returns what ended the reading: 0, EAGAIN, or the errno of a device that is gone. */
  deliver(): number {
    const batch = this.#batch;
    if (batch === undefined) return EAGAIN;
    this.#wanted = false;
    const { transferred, error } = batch;
    const end = batch.length;
    const start = end - transferred;
    if (this.#channel.recorders) this.#channel.recordBatch(batch, start, 'outbound');
    const forwarded = transferred > 0 && this.#forwardBatch(batch, start);
    let pushed = 0;
    let threw = false;
    delivered.batch = batch;
    // Past the high-water mark the rest of the batch is pushed all the same: it has been read. If a listener detaches
    // the batch's memory, its length is 0; if one writes to the batch's table, `at` may throw.
    for (let i = start; i < end && i < batch.length && !this.#stream.destroyed; i++) {
      if (forwarded && batch.status(i) !== EAGAIN) continue;
      let packet: Buffer;
      try {
        packet = batch.at(i);
      } catch (error) {
        this.#stream.destroy(error as Error);
        break;
      }
      delivered.packet = packet;
      delivered.index = i;
      try {
        // The first push tells the Readable that there is data. Its listeners get the others without it.
        if (pushed++ === 0 || !this.#stream.readableFlowing || this.#stream.readableLength > 0) {
          push.call(this.#stream, packet);
        } else {
          this.#stream.emit('data', packet);
        }
      } catch (error) {
        // A listener threw. If the program survives that, the stream goes on.
        threw = true;
        process.nextTick(rethrow, error);
      }
    }
    delivered.packet = undefined;
    delivered.batch = undefined;
    if (this.#batch !== batch || this.#stream.destroyed) return error;
    if (start === 0 && pushed === 0) batch.clear();
    else if (!batch.hasRoom) {
      this.#batchSize = start === 0 ? MAX_BATCH_SIZE : MIN_BATCH_SIZE;
      this.#renew();
    }
    if (pushed === 0 || threw) this.start(false);
    return error;
  }

  /** Goes on after the batch's memory was detached: nothing had been read into it. */
  recover(): void {
    this.#batch = undefined;
    this.resume();
  }

  /**
   * If only the pipe into another device gets the packets, and none wait before them, gives that device the batch as
   * it is: one call does what the pipe's listener would do with each packet.
   */
  #forwardBatch(batch: PacketBatch, start: number): boolean {
    if (this.#pipe === undefined) return false;
    const { destination, writer, listener } = this.#pipe;
    if (!this.#stream.readableFlowing || this.#stream.readableLength > 0) return false;
    const [first, ...others] = this.#stream.listeners('data');
    if (first !== listener || others.length > 0) return false;
    const idle = destination.writable && destination.writableLength === 0 && destination.writableCorked === 0;
    return idle && writer.forward(batch, start);
  }

  /** Takes new memory: the user may keep packets of the last batch. */
  #renew(): void {
    this.#batch = new PacketBatch({ capacity: BATCH_CAPACITY, size: this.#batchSize });
    this.#batch.readFrom(this.#channel.descriptor);
  }
}

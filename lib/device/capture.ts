import { createWriteStream, type PathLike, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { PacketBatch } from '../io/packet-batch.js';
import type { PacketChannel, PacketRecorder } from '../io/packet-channel.js';
import { PcapngWriter } from '../packet/pcapng.js';

// What waits to be written before packets are dropped from the capture: a slow disk must not fill the memory.
const MAX_PENDING_BYTES = 64 * 1024 * 1024;

/** Options of {@link PacketDevice.capture}. */
export interface CaptureOptions {
  /** Bytes kept of each packet. **Default:** all */
  readonly snapLength?: number;
}

/** A capture of a device's packets into a pcapng file, begun by {@link PacketDevice.capture}. */
export class Capture implements AsyncDisposable {
  readonly #file: WriteStream;
  readonly #writer: PcapngWriter;
  readonly #written: Promise<void>;
  readonly #onWritten: () => void;
  #packets = 0;
  #dropped = 0;
  #closing = false;

  /** @internal */
  constructor(
    path: PathLike,
    device: { name: string; kind: string },
    options: CaptureOptions,
    onWritten: () => void,
  ) {
    const header: Buffer[] = [];
    let write = (block: Buffer): unknown => header.push(block);
    this.#writer = new PcapngWriter((block) => write(block), {
      linkType: device.kind === 'tun' ? 'raw' : 'ethernet',
      name: device.name,
      ...options,
    });
    // Only now, when the options were found to be right: an existing file is emptied.
    this.#file = createWriteStream(path);
    this.#written = finished(this.#file);
    this.#written.catch((error: Error) => {
      process.emitWarning(`The capture of '${device.name}' ended: ${error.message}`, 'CaptureWarning');
    });
    write = (block) => this.#file.write(block);
    header.forEach(write);
    this.#onWritten = onWritten;
  }

  /** Packets that did not get into the file, since it was written too slowly or not at all. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The error that ended the writing of the file, or null. */
  get errored(): Error | null {
    return this.#file.errored;
  }

  /** Whether `close` was called. @internal */
  get closing(): boolean {
    return this.#closing;
  }

  /** @internal */
  record(packet: Uint8Array, direction: 'inbound' | 'outbound'): void {
    if (this.#closing) return;
    this.#packets++;
    if (this.errored || this.#file.writableLength > MAX_PENDING_BYTES) this.#dropped++;
    else this.#writer.packet(packet, { direction });
  }

  /**
   * Ends the capture; the file is complete when this resolves. Closing the device ends it as well.
   * @throws the file's error, if it could not be written
   */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      if (!this.errored) this.#writer.statistics({ received: this.#packets, dropped: this.#dropped });
      this.#file.end();
      this.#written.then(this.#onWritten, this.#onWritten);
    }
    return this.#written;
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The captures of one device whose files are not complete. */
export class Captures implements PacketRecorder {
  readonly #channel: PacketChannel;
  readonly #prefix: number;
  #captures: readonly Capture[] = [];
  #error: Error | null = null;

  /** @param prefix bytes before each packet that are no part of it */
  constructor(channel: PacketChannel, prefix: number) {
    this.#channel = channel;
    this.#prefix = prefix;
  }

  open(path: PathLike, device: { name: string; kind: string }, options: CaptureOptions): Capture {
    const capture = new Capture(path, device, options, () => {
      this.#use(this.#captures.filter((other) => other !== capture));
    });
    this.#use([...this.#captures, capture]);
    return capture;
  }

  #use(captures: readonly Capture[]): void {
    this.#captures = captures;
    this.#channel.recorder = captures.length > 0 ? this : undefined;
  }

  record(packet: Uint8Array, direction: 'inbound' | 'outbound'): void {
    for (const capture of this.#captures) capture.record(packet.subarray(this.#prefix), direction);
  }

  recordBatch(batch: PacketBatch, start: number, direction: 'inbound' | 'outbound'): void {
    for (let i = start; i < batch.length; i++) {
      const packet = batch.at(i);
      if (batch.status(i) === 0 && packet.length > 0) this.record(packet, direction);
    }
  }

  /** Resolves when all files are complete; never rejects. */
  async close(): Promise<void> {
    const closing = this.#captures.filter((capture) => !capture.closing);
    await Promise.allSettled(this.#captures.map((capture) => capture.close()));
    this.#error = closing.find((capture) => capture.errored)?.errored ?? null;
  }

  /** Throws, once, the first error of a file whose capture the user has not closed. */
  throwError(): void {
    const error = this.#error;
    this.#error = null;
    if (error) throw error;
  }
}

import { createWriteStream, type PathLike, type WriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import type { Direction } from '../io/packet-channel.js';
import { PcapngWriter } from '../packet/pcapng.js';

// If more bytes wait for the disk, a capture leaves packets out: a slow disk must not fill the memory.
const MAX_PENDING_BYTES = 64 * 1024 * 1024;

/** Options of {@link PacketDevice.capture}. */
export interface CaptureOptions {
  /** Bytes kept of each packet. **Default:** all */
  readonly snapLength?: number;
}

/** Whose packets are captured. */
interface CapturedDevice {
  readonly name: string;
  readonly kind: string;
  /** Bytes before each packet that are no part of it. */
  readonly packetPrefix: number;
  /** Called once the capture is closed and its file is complete, or can't be written. */
  readonly onWritten: () => void;
}

/** A capture of a device's packets into a pcapng file, begun by {@link PacketDevice.capture}. */
export class Capture implements AsyncDisposable {
  readonly #file: WriteStream;
  readonly #writer: PcapngWriter;
  readonly #written: Promise<void>;
  readonly #device: CapturedDevice;
  #packets = 0;
  #dropped = 0;
  /** Whether `close` was called. @internal */
  closing = false;

  /** @internal */
  constructor(path: PathLike, options: CaptureOptions, device: CapturedDevice) {
    this.#device = device;
    const header: Buffer[] = [];
    let write = (block: Buffer): unknown => header.push(block);
    this.#writer = new PcapngWriter((block) => write(block), {
      ...options,
      linkType: device.kind === 'tun' ? 'raw' : 'ethernet',
      name: device.name,
    });
    // Opened after the options are checked, since this empties an existing file.
    this.#file = createWriteStream(path);
    this.#written = finished(this.#file);
    this.#written.catch((error: Error) => {
      process.emitWarning(`The capture of '${device.name}' ended: ${error.message}`, 'CaptureWarning');
    });
    write = (block) => this.#file.write(block);
    header.forEach(write);
  }

  /** Packets that are not in the file, because the disk was too slow or the file can't be written. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The error that ended the writing of the file, or null. */
  get errored(): Error | null {
    return this.#file.errored;
  }

  /** @internal */
  record(packet: Uint8Array, direction: Direction): void {
    if (this.closing) return;
    this.#packets++;
    if (this.errored || this.#file.writableLength > MAX_PENDING_BYTES) this.#dropped++;
    else this.#writer.packet(packet.subarray(this.#device.packetPrefix), { direction });
  }

  /**
   * Ends the capture; the file is complete when this resolves. Closing the device ends it as well.
   * @throws the file's error, if it could not be written
   */
  close(): Promise<void> {
    if (!this.closing) {
      this.closing = true;
      if (!this.errored) this.#writer.statistics({ received: this.#packets, dropped: this.#dropped });
      this.#file.end();
      this.#written.then(this.#device.onWritten, this.#device.onWritten);
    }
    return this.#written;
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

import { createWriteStream, type PathLike, type WriteStream } from 'node:fs';
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
  readonly #onClose: (capture: Capture) => void;
  #packets = 0;
  #dropped = 0;
  #closed: Promise<void> | undefined;
  #error: Error | undefined;

  /** @internal */
  constructor(
    path: PathLike,
    device: { name: string; kind: string },
    options: CaptureOptions,
    onClose: (capture: Capture) => void,
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
    write = (block) => this.#file.write(block);
    header.forEach(write);
    this.#file.on('error', (error) => {
      this.#error = error;
    });
    this.#onClose = onClose;
  }

  /** Packets that did not get into the file, since it was written too slowly or not at all. */
  get dropped(): number {
    return this.#dropped;
  }

  /** @internal */
  record(bytes: Uint8Array, direction: 'inbound' | 'outbound'): void {
    this.#packets++;
    if (this.#error || this.#file.writableLength > MAX_PENDING_BYTES) this.#dropped++;
    else this.#writer.packet(bytes, { direction });
  }

  /**
   * Ends the capture; the file is complete when this resolves. Closing the device ends it as well.
   * @throws the file's error, if it could not be written
   */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve, reject) => {
      this.#onClose(this);
      if (this.#error) {
        reject(this.#error);
        return;
      }
      this.#writer.statistics({ received: this.#packets, dropped: this.#dropped });
      this.#file.end((error?: Error | null) => (error ? reject(error) : resolve()));
    });
    return this.#closed;
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What all packet views share: bytes that were checked once. */

import { codedError, invalidArgType } from '../arguments.js';

/**
 * Bytes seen as a packet. A view copies nothing: it shares the bytes it was given, every getter reads them, every
 * setter writes them, and what a getter returns as a `Buffer` shares them too. All of these are valid as long as
 * the bytes are (a packet of a batch: until the next turn of the loop).
 *
 * A setter throws `ERR_OUT_OF_RANGE`, `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` for what does not fit its
 * field, and leaves the bytes as they were.
 *
 * The lengths inside the packet are checked once, when the view is made; nothing is promised about a view whose
 * length fields are overwritten through its bytes.
 */
export abstract class PacketView {
  /** The packet's bytes, cut off where its own length field ends it; shares the bytes given. */
  readonly bytes: Buffer;

  /** `problem` is what the view's `check` found; `length` is what the packet's own length field says. */
  protected constructor(bytes: Uint8Array, problem: string | undefined, length = bytes.length) {
    if (!(bytes instanceof Uint8Array)) throw invalidArgType('bytes', 'a Buffer or Uint8Array', bytes);
    if (problem !== undefined) {
      throw codedError('ERR_PACKET_MALFORMED', `Malformed ${new.target.name}: ${problem}`);
    }
    const whole = Buffer.isBuffer(bytes) && bytes.length === length;
    this.bytes = whole ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, length);
  }
}

/** Why `bytes` are too few for a fixed header, or undefined if they suffice. */
export function tooShort(bytes: Uint8Array, headerLength: number): string | undefined {
  if (bytes.length >= headerLength) return undefined;
  return `the header needs ${headerLength} bytes, ${bytes.length} are present`;
}

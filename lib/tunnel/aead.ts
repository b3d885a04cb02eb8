import {
  codedError,
  invalidArgType,
  outOfRange,
  requireInteger,
  requireObject,
  requireOneOf,
} from '../arguments.js';
import { type PacketBatch, requirePackets } from '../io/packet-batch.js';
import { type AeadHandle, native } from '../native/addon.js';
import { ENODEV, ENOSYS } from '../native/errno.js';
import { LAYOUT } from '../native/layout.js';
import { systemError } from '../system-error.js';

const CIPHERS = {
  'chacha20-poly1305': { id: 0, keyLength: 32 },
  'aes-128-gcm': { id: 1, keyLength: 16 },
  'aes-256-gcm': { id: 2, keyLength: 32 },
} as const;
const COUNTER_SIZE = 8;
const MAX_HEADER = 4096;

/** Checks a cipher and how its packets look; `layout` is AeadLayout of src-cpp/crypto/aead.h. */
export function checkAead(cipher: AeadCipher, options: AeadOptions) {
  const { id, keyLength } = requireOneOf('cipher', CIPHERS, cipher);
  requireObject('options', options);
  const headerLength = requireInteger('options.headerLength', options.headerLength ?? 8, 8, MAX_HEADER);
  const last = headerLength - COUNTER_SIZE;
  const counterOffset = requireInteger('options.counterOffset', options.counterOffset ?? last, 0, last);
  const from = options.associatedDataOffset ?? 0;
  requireInteger('options.associatedDataOffset', from, 0, headerLength);
  const length = options.associatedDataLength ?? headerLength - from;
  requireInteger('options.associatedDataLength', length, 0, headerLength - from);
  const prefix = options.noncePrefix ?? new Uint8Array(4);
  if (!(prefix instanceof Uint8Array)) throw invalidArgType('options.noncePrefix', 'a Uint8Array', prefix);
  if (prefix.length !== 4) throw outOfRange('options.noncePrefix.length', '4', prefix.length);
  const layout = new Uint32Array([headerLength, counterOffset, from, length, 0]);
  new Uint8Array(layout.buffer).set(prefix, LAYOUT['AeadLayout.nonce_prefix']);
  return { id, keyLength, layout, headerLength };
}

export function checkKey(key: Uint8Array, length: number): void {
  if (!(key instanceof Uint8Array)) throw invalidArgType('key', 'a Uint8Array', key);
  if (key.length !== length) throw outOfRange('key.length', `${length}`, key.length);
}

/** The error where an algorithm has no source. */
export function noCipher(errno: number, algorithm: string): Error {
  const reason =
    errno === ENODEV
      ? 'the processor has no instructions for AES, without which the bundled cipher would be slow and leak its key'
      : `${errno === ENOSYS ? 'this process has no OpenSSL' : 'its OpenSSL lacks it'}, and this build of the addon ` +
        'has no ciphers of its own, as the prebuilt ones have';
  return codedError('ERR_TUNTAP_NO_OPENSSL', `${algorithm} can't be used: ${reason}`);
}

/** What {@link Aead} encrypts with: RFC 8439, or NIST SP 800-38D. */
export type AeadCipher = keyof typeof CIPHERS;

/** Where a cipher comes from: the OpenSSL that Node.js carries, or this package, for runtimes without it. */
export type CipherSource = 'openssl' | 'bundled';

/** Zeros that {@link Aead.sealBatch} puts behind a packet, so that its length tells less. */
export interface Padding {
  /** The packet's length becomes a multiple of this, 1 to 256. */
  readonly multiple: number;
  /** Padding never makes a packet longer than this, such as the MTU. **Default:** `0`, no limit */
  readonly limit?: number;
}

const NO_PADDING: Padding = { multiple: 1 };

/** Options of {@link Aead}: how a sealed packet looks. */
export interface AeadOptions {
  /** Bytes before the ciphertext, 8 to 4,096. **Default:** `8`, the counter alone */
  readonly headerLength?: number;
  /** Where in the header the counter is: 64 bits, the least significant byte first. **Default:** `headerLength - 8` */
  readonly counterOffset?: number;
  /** Where in the header the associated data begin, which are authenticated and stay readable. **Default:** `0` */
  readonly associatedDataOffset?: number;
  /** How long they are; 0: none. **Default:** all of the header from `associatedDataOffset` on */
  readonly associatedDataLength?: number;
  /** The nonce's four bytes before the counter. **Default:** zeros */
  readonly noncePrefix?: Uint8Array;
  /** The counter of the first packet that is sealed, up to 2^53 - 1. **Default:** `0` */
  readonly counter?: number;
  /** The counter from which on sealing is refused, up to 2^53 - 1: time for another key. **Default:** 2^53 - 1 */
  readonly counterLimit?: number;
  /** How many {@link SealingThreads} may seal by it. **Default:** `0` @internal */
  readonly threads?: number;
}

/** What native code takes for an Aead, and the counter of the first of `count` packets. @internal */
export let reserve: (aead: Aead, count: number) => { readonly handle: AeadHandle; readonly first: number };
/** What native code takes for an Aead, and its counter, which native code may take from. @internal */
export let counterOf: (aead: Aead) => { readonly handle: AeadHandle; readonly counter: Float64Array };

/**
 * Seals and opens the packets of a batch in place, with one key: authenticated encryption by the OpenSSL that Node
 * carries, or where there is none, as in Bun and Deno, by ciphers of this package. {@link Aead.source} tells which.
 *
 * A sealed packet is a header with a 64-bit counter, the ciphertext, and a tag of 16 bytes; the header goes into the
 * headroom and the tag into the tailroom. The nonce is four bytes and the counter. One key must never seal twice with
 * one counter, so give each direction a key of its own, and never go on from an old counter.
 * @example
 * ```ts
 * const aead = new Aead('chacha20-poly1305', key, { headerLength: 16, counterOffset: 8 });
 * aead.sealBatch(batch, header);
 * socket.writeBatch(batch, peer);
 * aead.dispose();
 * ```
 * @see RFC 5116
 */
export class Aead implements Disposable {
  static {
    reserve = (aead, count) => ({ handle: aead.#requireHandle(), first: aead.#reserve(count) });
    counterOf = (aead) => ({ handle: aead.#requireHandle(), counter: aead.#counter });
  }

  /** How many bytes the tag adds: the tailroom that sealing needs. */
  static readonly tagLength = 16;
  /** What it encrypts with. */
  readonly cipher: AeadCipher;
  /** Where the cipher comes from. Both give the same bytes; OpenSSL's is faster. */
  readonly source: CipherSource;
  /** How many bytes the header has: the headroom that sealing needs. */
  readonly headerLength: number;
  /** The counter from which on sealing is refused. */
  readonly counterLimit: number;
  readonly #noHeader: Uint8Array;
  readonly #counter = new Float64Array(1);
  #handle: AeadHandle | undefined;

  /**
   * @param key 32 bytes, for AES-128-GCM 16; copied, so that the caller can wipe it
   * @throws TypeError or RangeError with an `ERR_…` code for bad arguments; Error `ERR_TUNTAP_NO_OPENSSL` where
   * neither OpenSSL nor this package has the cipher
   */
  constructor(cipher: AeadCipher, key: Uint8Array, options: AeadOptions = {}) {
    const { id, keyLength, layout, headerLength } = checkAead(cipher, options);
    checkKey(key, keyLength);
    const limit = options.counterLimit ?? Number.MAX_SAFE_INTEGER;
    requireInteger('options.counterLimit', limit, 0, Number.MAX_SAFE_INTEGER);
    this.#counter[0] = requireInteger('options.counter', options.counter ?? 0, 0, limit);
    this.cipher = cipher;
    this.headerLength = headerLength;
    this.counterLimit = limit;
    this.#noHeader = new Uint8Array(headerLength);
    const handle = native().newAead(id, key, layout, options.threads ?? 0);
    if (typeof handle === 'number') throw noCipher(handle, cipher);
    this.#handle = handle;
    this.source = native().aeadSource(handle) === 0 ? 'openssl' : 'bundled';
  }

  /** The counter that the next packet is sealed with. */
  get counter(): number {
    return this.#counter[0];
  }

  /**
   * Seals packets `start` to `end` of a batch, each with the next counter; an empty packet becomes header and tag.
   * Dropped ones stay dropped.
   * @param header what the header holds beside the counter, `headerLength` bytes. **Default:** zeros
   * @param padding zeros that are sealed behind each packet. **Default:** none
   * @returns how many were sealed. A packet whose room was used up is dropped with `-ENOBUFS` (-105) in
   * `batch.status(i)`, so that it is never sent in the clear.
   * @throws RangeError `ERR_OUT_OF_RANGE` if the batch's headroom or tailroom is too small, or the header's length is
   * another; Error `ERR_TUNTAP_COUNTER_EXHAUSTED` if the counter would reach its limit, with nothing sealed;
   * `ERR_TUNTAP_CLOSED` once disposed of
   */
  sealBatch(
    batch: PacketBatch,
    header?: Uint8Array,
    start = 0,
    end?: number,
    padding: Padding = NO_PADDING,
  ): number {
    const handle = this.#requireHandle();
    const to = requirePackets(batch, start, end);
    const bytes = header ?? this.#noHeader;
    if (!(bytes instanceof Uint8Array)) throw invalidArgType('header', 'a Uint8Array', bytes);
    if (bytes.length !== this.headerLength)
      throw outOfRange('header.length', `${this.headerLength}`, bytes.length);
    if (batch.headroom < this.headerLength) {
      throw outOfRange('batch.headroom', `at least ${this.headerLength}`, batch.headroom);
    }
    if (batch.tailroom < Aead.tagLength) {
      throw outOfRange('batch.tailroom', `at least ${Aead.tagLength}`, batch.tailroom);
    }
    const { multiple, limit = 0 } = padding;
    requireInteger('padding.multiple', multiple, 1, 256);
    requireInteger('padding.limit', limit, 0, 0xffff);
    const first = this.#reserve(to - start);
    const failed = native().sealPackets(handle, batch.memory, start, to, bytes, first, multiple, limit);
    if (failed < 0) throw systemError(failed, 'seal');
    return batch.transferred;
  }

  /**
   * Opens packets `start` to `end` of a batch and takes header and tag off; both stay readable around the packet, the
   * header at the negative offsets of {@link PacketBatch.readUInt8}.
   * @returns how many are authentic. One that is not is wiped and dropped, with `-EBADMSG` (-74) in `batch.status(i)`;
   * nothing of its plaintext can be seen. An authentic one may be empty (a keepalive); devices pass over it.
   * @throws Error `ERR_TUNTAP_CLOSED` once disposed of; RangeError `ERR_OUT_OF_RANGE`
   */
  openBatch(batch: PacketBatch, start = 0, end?: number): number {
    const handle = this.#requireHandle();
    const to = requirePackets(batch, start, end);
    const failed = native().openPackets(handle, batch.memory, start, to);
    if (failed < 0) throw systemError(failed, 'open');
    return batch.transferred;
  }

  /** Wipes the key; sealing and opening throw from now on. Disposing twice is harmless. */
  dispose(): void {
    if (this.#handle) native().disposeAead(this.#handle);
    this.#handle = undefined;
  }

  /** Disposes, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #requireHandle(): AeadHandle {
    if (!this.#handle) throw codedError('ERR_TUNTAP_CLOSED', 'The Aead was disposed of');
    return this.#handle;
  }

  /** Takes `count` counters; returns the first. */
  #reserve(count: number): number {
    if (count > this.counterLimit - this.#counter[0]) {
      const message = `The counter would reach its limit of ${this.counterLimit}: use another key`;
      throw codedError('ERR_TUNTAP_COUNTER_EXHAUSTED', message);
    }
    const first = this.#counter[0];
    this.#counter[0] += count;
    return first;
  }
}

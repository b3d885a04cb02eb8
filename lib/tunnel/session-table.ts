import { invalidArgType, requireInteger, requireObject } from '../arguments.js';
import type { PacketBatch } from '../io/packet-batch.js';
import { type PacketRuns, rowsOf, setLength } from '../io/packet-runs.js';
import { native, type SessionTableHandle } from '../native/addon.js';
import { DatagramTable, entriesOf } from '../socket/datagram-table.js';
import { systemError } from '../system-error.js';
import { type AeadCipher, type AeadOptions, checkAead, checkKey, noCipher } from './aead.js';
import { checkRuns, PrefixTable, prefixesOf } from './prefix-table.js';

/** What native code takes for a table. @internal */
export let sessionsOf: (table: SessionTable) => SessionTableHandle;

const MAX_UINT32 = 0xffff_ffff;

/** Options of {@link SessionTable}: how a data message looks. */
export interface SessionOptions extends Omit<AeadOptions, 'counter'> {
  /** Where in the header the session's index is: 32 bits, the least significant byte first. */
  readonly indexOffset: number;
  /** The first 32 bits of the header, the least significant byte first. Datagrams of another type are left alone. */
  readonly type: number;
}

/** Options of {@link SessionTable.openBatch}. */
export interface OpenOptions {
  /**
   * A packet is taken only if its source lies in a prefix whose number is the session's. The packet is cut to the length
   * that its IP header tells, so that padding goes. **Default:** neither is looked at
   */
  readonly sources?: PrefixTable;
  /**
   * Where the datagrams came from, such as `socket.received`: congestion that the outer header tells of is marked in the
   * inner one (RFC 6040). Needs `sources`. **Default:** it is not
   */
  readonly datagrams?: DatagramTable;
  /** The first packet. **Default:** `0` */
  readonly start?: number;
  /** The packet behind the last one. **Default:** the batch's length */
  readonly end?: number;
}

/**
 * The receiving keys of many peers: opens a batch whose packets name their key by an index, as WireGuard's and ESP's do.
 * One call finds each packet's key, opens it in place, refuses what was received before, and checks its source.
 * @example
 * ```ts
 * const sessions = new SessionTable('chacha20-poly1305', {
 *   headerLength: 16, counterOffset: 8, associatedDataLength: 0, indexOffset: 4, type: 4,   // WireGuard's data message
 * });
 * sessions.set(index, key, peer);
 * for await (const batch of socket.batches()) {
 *   sessions.openBatch(batch, runs, { sources: peers });
 *   for (let i = 0; i < runs.length; i++) if (runs.value(i) < 0) handshake(batch, runs.start(i), runs.end(i));
 *   tun.writeBatch(batch);
 * }
 * ```
 */
export class SessionTable implements Disposable {
  static {
    sessionsOf = (table) => table.#handle;
  }

  /** What it decrypts with. */
  readonly cipher: AeadCipher;
  readonly #keyLength: number;
  readonly #handle: SessionTableHandle;
  readonly #indices = new Set<number>();

  /** @throws TypeError or RangeError with an `ERR_…` code for bad arguments */
  constructor(cipher: AeadCipher, options: SessionOptions) {
    requireObject('options', options);
    const { id, keyLength, layout, headerLength } = checkAead(cipher, options);
    const { indexOffset, type, counterLimit = Number.MAX_SAFE_INTEGER } = options;
    requireInteger('options.indexOffset', indexOffset, 0, headerLength - 4);
    requireInteger('options.type', type, 0, MAX_UINT32);
    requireInteger('options.counterLimit', counterLimit, 0, Number.MAX_SAFE_INTEGER);
    const handle = native().newSessionTable(id, layout, indexOffset, type, counterLimit);
    if (typeof handle === 'number') throw systemError(handle, 'session table');
    this.cipher = cipher;
    this.#keyLength = keyLength;
    this.#handle = handle;
  }

  /** How many sessions there are. */
  get size(): number {
    return this.#indices.size;
  }

  /**
   * Adds a session, or replaces the one with this index. No counter of it has been seen.
   * @param index 0 to 2^32 - 1, what the sender writes into each header
   * @param key is copied, so that the caller can wipe it
   * @param value a number of yours for the peer, 0 to 2^31 - 1
   * @param until the {@link bootTime} from which on its packets are left as those of an unknown session. **Default:** never
   * @throws TypeError or RangeError with an `ERR_…` code for bad arguments; Error `ERR_TUNTAP_NO_OPENSSL` if the process
   * has no OpenSSL with this cipher
   */
  set(index: number, key: Uint8Array, value: number, until = Number.POSITIVE_INFINITY): void {
    requireInteger('index', index, 0, MAX_UINT32);
    requireInteger('value', value, 0, 0x7fff_ffff);
    checkKey(key, this.#keyLength);
    if (typeof until !== 'number' || Number.isNaN(until)) throw invalidArgType('until', 'a number', until);
    const failed = native().setSession(this.#handle, index, key, value, until);
    if (failed < 0) throw noCipher(failed, this.cipher);
    this.#indices.add(index);
  }

  /** Removes a session and wipes its key. @returns whether there was one */
  delete(index: number): boolean {
    requireInteger('index', index, 0, MAX_UINT32);
    this.#indices.delete(index);
    return native().removeSession(this.#handle, index) === 1;
  }

  /**
   * Opens the packets of a batch in place, each by the session that it names.
   *
   * Datagrams of another type, and those of an unknown session, are left as they are, in runs of value -1: look at them,
   * and drop them. Of the others those are dropped that `batch.status(i)` says: `-EBADMSG` (-74) is not authentic,
   * `-EALREADY` (-114) has a counter that is not new, `-ENOMSG` (-42) is no IP packet, `-EACCES` (-13) has a source that is
   * not the session's. An empty packet, a keepalive, stays; devices pass over it.
   * @param runs is filled; its capacity must be at least the number of packets
   * @throws RangeError `ERR_OUT_OF_RANGE` if the runs or the datagram table have too little room
   */
  openBatch(batch: PacketBatch, runs: PacketRuns, options: OpenOptions = {}): void {
    const { sources, datagrams, start = 0, end } = options;
    const to = checkRuns(batch, runs, start, end);
    if (sources !== undefined && !(sources instanceof PrefixTable)) {
      throw invalidArgType('options.sources', 'a PrefixTable', sources);
    }
    if (datagrams !== undefined) {
      if (!(datagrams instanceof DatagramTable)) {
        throw invalidArgType('options.datagrams', 'a DatagramTable', datagrams);
      }
      requireInteger('options.datagrams.capacity', datagrams.capacity, to, 4096);
    }
    const count = native().openSessions(
      this.#handle,
      batch.memory,
      start,
      to,
      rowsOf(runs),
      sources ? prefixesOf(sources) : null,
      datagrams ? entriesOf(datagrams) : null,
    );
    if (count < 0) throw systemError(count, 'open');
    setLength(runs, count);
  }

  /** Removes all sessions and wipes their keys. */
  dispose(): void {
    native().clearSessions(this.#handle);
    this.#indices.clear();
  }

  /** Disposes, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

import { outOfRange, requireInteger } from '../arguments.js';
import { LAYOUT } from '../native/layout.js';

// A row, PacketRun of src-cpp/tunnel/packet_run.h, in 32-bit words.
const ROW_WORDS = LAYOUT.PacketRun / 4;
const START = 0;
const END = 1;
const VALUE = 2;
const INDEX = 3;
const PACKETS = 4;
const DATA = 5;
const BYTES = 6;
const LAST = 7;
const NONE = LAYOUT.kNoValue;

/** What native code takes for runs, and how many of them it filled. @internal */
export let rowsOf: (runs: PacketRuns) => Uint32Array;
/** @internal */
export let setLength: (runs: PacketRuns, length: number) => void;

/**
 * Consecutive packets of a batch that belong together, so that JavaScript handles a run instead of each packet.
 * {@link PrefixTable.runsByDestination} and {@link SessionTable.openBatch} fill it; the next call fills it anew.
 * Reading a row allocates nothing.
 */
export class PacketRuns {
  static {
    rowsOf = (runs) => runs.#rows;
    setLength = (runs, length) => {
      runs.#length = length;
    };
  }

  /** How many runs fit: a batch of as many packets is sure to fit. */
  readonly capacity: number;
  readonly #rows: Uint32Array;
  #length = 0;

  /** @param capacity 1 to 4,096. **Default:** `256` */
  constructor(capacity = 256) {
    this.capacity = requireInteger('capacity', capacity, 1, 4096);
    this.#rows = new Uint32Array(capacity * ROW_WORDS);
  }

  /** How many runs there are. */
  get length(): number {
    return this.#length;
  }

  /** The first packet of run `run`. */
  start(run: number): number {
    return this.#word(run, START);
  }

  /** The packet behind the last one of run `run`. */
  end(run: number): number {
    return this.#word(run, END);
  }

  /** The number of the prefix or session that the run belongs to; -1 if it belongs to none. */
  value(run: number): number {
    const value = this.#word(run, VALUE);
    return value === NONE ? -1 : value;
  }

  /** By destination: the ECN field that all packets of the run have, 0 to 3 (RFC 3168). */
  ecn(run: number): number {
    return this.#word(run, INDEX);
  }

  /** By session: the index that the packets name; 0 for datagrams of another type. */
  sessionIndex(run: number): number {
    return this.#word(run, INDEX);
  }

  /** By session: how many packets are authentic and new. */
  packets(run: number): number {
    return this.#word(run, PACKETS);
  }

  /** By session: how many of those are not empty. */
  dataPackets(run: number): number {
    return this.#word(run, DATA);
  }

  /** By session: the bytes of the authentic, new datagrams, header and tag included. */
  bytes(run: number): number {
    return this.#word(run, BYTES);
  }

  /** By session: the last packet that is authentic and new, or -1. */
  lastPacket(run: number): number {
    const last = this.#word(run, LAST);
    return last === NONE ? -1 : last;
  }

  #word(run: number, word: number): number {
    if (!Number.isInteger(run) || run < 0 || run >= this.#length) {
      throw outOfRange('run', `an integer below ${this.#length}`, run);
    }
    return this.#rows[run * ROW_WORDS + word];
  }
}

import { readUInt32 } from './messages.js';

/**
 * Whom a message is for, by the index in its header: 32 random bits that this device chose, unique among its
 * handshakes and keypairs. They are random so that they tell nobody how many there were.
 */
export class IndexTable<Entry> {
  readonly #entries = new Map<number, Entry>();
  readonly #randomBytes: (size: number) => Uint8Array;

  constructor(randomBytes: (size: number) => Uint8Array) {
    this.#randomBytes = randomBytes;
  }

  /** How many indices are in use. */
  get size(): number {
    return this.#entries.size;
  }

  /** Chooses an index for an entry. */
  add(entry: Entry): number {
    let index: number;
    do index = readUInt32(this.#randomBytes(4), 0);
    while (this.#entries.has(index));
    this.#entries.set(index, entry);
    return index;
  }

  get(index: number): Entry | undefined {
    return this.#entries.get(index);
  }

  /** Gives an index to another entry: a handshake's index becomes its keypair's. */
  replace(index: number, entry: Entry): void {
    this.#entries.set(index, entry);
  }

  delete(index: number): void {
    this.#entries.delete(index);
  }
}

import { Aead } from '../tunnel/aead.js';
import type { SessionTable } from '../tunnel/session-table.js';
import type { Transport, TransportParameters } from './keypair.js';
import { DATA_OVERHEAD, MessageType } from './messages.js';

const HEADER_LENGTH = DATA_OVERHEAD - Aead.tagLength;

/** How a data message looks, for {@link Aead} and {@link SessionTable}. */
export const DATA_LAYOUT = {
  headerLength: HEADER_LENGTH,
  counterOffset: 8,
  associatedDataLength: 0,
  indexOffset: 4,
  type: MessageType.data,
} as const;
/** What encrypts data messages. */
export const DATA_CIPHER = 'chacha20-poly1305';
/** The room that a packet needs to be sealed in place: its header; zeros up to a multiple of 16, and the tag. */
export const ROOM = { headroom: HEADER_LENGTH, tailroom: 15 + Aead.tagLength } as const;

/** The keys of one keypair as the data path uses them: one for sealing, and an entry in the table of all sessions. */
export class SessionTransport implements Transport {
  /** The header of each message, its counter aside. */
  readonly header = Buffer.alloc(HEADER_LENGTH);
  readonly aead: Aead;
  /** When it may no longer be used, on the clock of the core's caller. */
  readonly until: number;
  /** The index that the peer's messages have. */
  readonly localIndex: number;
  readonly #sessions: SessionTable;

  /**
   * @param peer the number of the peer, for the table
   * @param threads how many seal by it, besides the caller's
   */
  constructor(
    parameters: TransportParameters,
    sessions: SessionTable,
    peer: number,
    counterLimit: number,
    threads: number,
  ) {
    const { sending, receiving, localIndex, remoteIndex, receivesUntil } = parameters;
    const { headerLength, counterOffset, associatedDataLength } = DATA_LAYOUT;
    this.aead = new Aead(DATA_CIPHER, sending, {
      headerLength,
      counterOffset,
      associatedDataLength,
      counterLimit,
      threads,
    });
    this.header.writeUInt32LE(MessageType.data, 0);
    this.header.writeUInt32LE(remoteIndex, 4);
    this.#sessions = sessions;
    this.until = receivesUntil;
    this.localIndex = localIndex;
    sessions.set(localIndex, receiving, peer, receivesUntil);
  }

  get counter(): number {
    return this.aead.counter;
  }

  [Symbol.dispose](): void {
    this.aead.dispose();
    this.#sessions.delete(this.localIndex);
  }
}

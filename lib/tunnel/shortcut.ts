import type { PacketBatch } from '../io/packet-batch.js';
import { type PacketRuns, rowsOf, setLength } from '../io/packet-runs.js';
import { descriptorOf, type PacketStream } from '../io/packet-stream.js';
import { native } from '../native/addon.js';
import { type Descriptor, watchArrays } from '../native/descriptor.js';
import { LAYOUT } from '../native/layout.js';
import { type DatagramTable, entriesOf } from '../socket/datagram-table.js';
import { socketDescriptorOf, type UdpBatchSocket } from '../socket/udp-batch-socket.js';
import { check } from '../system-error.js';
import { type Aead, counterOf } from './aead.js';
import { type PrefixTable, prefixesOf } from './prefix-table.js';
import { type SessionTable, sessionsOf } from './session-table.js';

const {
  kShortcutSentRuns: SENT,
  kShortcutReceivedRuns: RECEIVED,
  kShortcutMtu: MTU,
  kShortcutBooks: BOOKS,
  kShortcutWords: WORDS,
} = LAYOUT;
const BOOK_NUMBERS = LAYOUT.ShortcutBook / Float64Array.BYTES_PER_ELEMENT;
/** Peers that can have a book; a batch for more is told at once. */
const MAX_BOOKS = 1024;

/** What a {@link Shortcut} works with. */
export interface ShortcutParts {
  /** Padding never makes a packet longer than this. */
  readonly mtu: number;
  readonly prefixes: PrefixTable;
  readonly sessions: SessionTable;
  /** Are filled for each batch that it carried. */
  readonly sentRuns: PacketRuns;
  readonly receivedRuns: PacketRuns;
  /** Where the packets of each sent run went. */
  readonly routes: DatagramTable;
}

/** How packets to a peer are sealed, and where they are sent. */
export interface ShortcutSender {
  readonly aead: Aead;
  readonly header: Uint8Array;
  /** The `bootTime()` from which on it is not used. */
  readonly until: number;
  /** One entry, which may change. */
  readonly route: DatagramTable;
  /** The index, in the table of sessions, of what the peer seals by the same keypair. */
  readonly localIndex: number;
}

/** What was carried for a peer since {@link Shortcut.takeBooks} was called last. Times are `bootTime()`. */
export interface ShortcutBook {
  readonly peer: number;
  /** The index of the session that the received datagrams belong to. */
  readonly localIndex: number;
  /** Bytes of datagrams; 0: none were sent. */
  readonly sentBytes: number;
  /** When the last of them was. */
  readonly sentAt: number;
  readonly receivedBytes: number;
  readonly receivedAt: number;
  /** Whether any of the received packets is not empty. */
  readonly hasData: boolean;
}

/**
 * Carries a tunnel's packets in native code as soon as they are read. A batch that needs a decision, since not all of it
 * goes to known senders or belongs to sessions, is left to the loop over `batches()`; so is what the kernel did not take
 * all of. Of the others the loop hears nothing: there are books of them.
 */
export class Shortcut implements Disposable {
  readonly #parts: ShortcutParts;
  readonly #state = new Uint32Array(WORDS);
  readonly #books = new Float64Array(MAX_BOOKS * BOOK_NUMBERS);
  readonly #timer: Descriptor;
  readonly #handle;

  /** @param due is called some milliseconds after there are books: call {@link takeBooks} then, or before */
  constructor(parts: ShortcutParts, due: () => void) {
    this.#parts = parts;
    this.#timer = check<Descriptor>(native().openTimer(), 'timerfd_create');
    check(this.#timer.watch(due, ...watchArrays()), 'poll');
    this.#timer.setReferenced(false);
    this.#state[MTU] = parts.mtu;
    const { prefixes, sessions, sentRuns, receivedRuns, routes } = parts;
    this.#handle = native().newShortcut(
      prefixesOf(prefixes),
      sessionsOf(sessions),
      rowsOf(sentRuns),
      rowsOf(receivedRuns),
      entriesOf(routes),
      this.#state,
      this.#books,
      this.#timer,
    );
  }

  /** Gives what was carried, of each peer. */
  *takeBooks(): Generator<ShortcutBook, void, undefined> {
    const count = this.#state[BOOKS];
    this.#state[BOOKS] = 0;
    for (let at = 0; at < count * BOOK_NUMBERS; at += BOOK_NUMBERS) {
      const [peer, localIndex, sentBytes, sentAt, receivedBytes, receivedAt, hasData] = this.#books.slice(
        at,
        at + BOOK_NUMBERS,
      );
      yield { peer, localIndex, sentBytes, sentAt, receivedBytes, receivedAt, hasData: hasData !== 0 };
    }
  }

  /** Ends the timer; what it carries must have ended before. */
  [Symbol.dispose](): void {
    this.#timer.close();
  }

  /** Carries what `device` gives to `socket`; undefined: no longer. */
  toSocket(device: PacketStream, socket: UdpBatchSocket | undefined): void {
    native().shortcutToSocket(this.#handle, descriptorOf(device), socket ? socketDescriptorOf(socket) : null);
  }

  /** Carries what `socket` receives to `device`. */
  toDevice(socket: UdpBatchSocket, device: PacketStream): void {
    const received = entriesOf(socket.received);
    native().shortcutToDevice(this.#handle, socketDescriptorOf(socket), descriptorOf(device), received);
  }

  /** Packets for prefixes with this number are sealed and sent so from now on. */
  setSender(peer: number, { aead, header, until, route, localIndex }: ShortcutSender): void {
    const { handle, counter } = counterOf(aead);
    const entry = entriesOf(route);
    const limit = aead.counterLimit;
    native().setShortcutSender(this.#handle, peer, handle, header, counter, limit, until, entry, localIndex);
  }

  removeSender(peer: number): void {
    native().removeShortcutSender(this.#handle, peer);
  }

  /** Whether the batch that the device gave last was sent already; `sentRuns` and the batch then tell of it. */
  takeSent(batch: PacketBatch): boolean {
    return this.#take(SENT, this.#parts.sentRuns, batch);
  }

  /** The same of the batch that the socket received last. */
  takeReceived(batch: PacketBatch): boolean {
    return this.#take(RECEIVED, this.#parts.receivedRuns, batch);
  }

  #take(at: number, runs: PacketRuns, batch: PacketBatch): boolean {
    const count = this.#state[at];
    if (count === 0) return false;
    this.#state[at] = 0;
    setLength(runs, count);
    batch.setOutcome(this.#state[at + 1], this.#state[at + 2] | 0);
    return true;
  }
}

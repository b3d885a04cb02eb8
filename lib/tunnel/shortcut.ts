import type { PacketBatch } from '../io/packet-batch.js';
import { type PacketRuns, rowsOf, setLength } from '../io/packet-runs.js';
import { descriptorOf, type PacketStream } from '../io/packet-stream.js';
import { native } from '../native/addon.js';
import { LAYOUT } from '../native/layout.js';
import { type DatagramTable, entriesOf } from '../socket/datagram-table.js';
import { socketDescriptorOf, type UdpBatchSocket } from '../socket/udp-batch-socket.js';
import { type Aead, counterOf } from './aead.js';
import { type PrefixTable, prefixesOf } from './prefix-table.js';
import { type SessionTable, sessionsOf } from './session-table.js';

const {
  kShortcutSentRuns: SENT,
  kShortcutReceivedRuns: RECEIVED,
  kShortcutMtu: MTU,
  kShortcutWords: WORDS,
} = LAYOUT;

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

/**
 * Carries a tunnel's packets in native code as soon as they are read. A batch that needs a decision, since not all of it
 * goes to known senders or belongs to sessions, is left to the loop over `batches()`, which gets every batch in any case.
 */
export class Shortcut {
  readonly #parts: ShortcutParts;
  readonly #state = new Uint32Array(WORDS);
  readonly #handle;

  constructor(parts: ShortcutParts) {
    this.#parts = parts;
    this.#state[MTU] = parts.mtu;
    const { prefixes, sessions, sentRuns, receivedRuns, routes } = parts;
    this.#handle = native().newShortcut(
      prefixesOf(prefixes),
      sessionsOf(sessions),
      rowsOf(sentRuns),
      rowsOf(receivedRuns),
      entriesOf(routes),
      this.#state,
    );
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

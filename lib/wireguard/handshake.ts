import { attempt } from './attempt.js';
import { CookieStore } from './cookie.js';
import type { PrivateKey } from './crypto.js';
import type { Environment } from './environment.js';
import type { IndexTable } from './index-table.js';
import {
  createInitiation,
  createResponse,
  type PendingHandshake,
  type ReceivedInitiation,
  Remote,
  readResponse,
  type SessionKeys,
  wipePending,
} from './noise.js';
import { nextTai64n } from './tai64n.js';

/** A handshake that ended for this side. The caller wipes the keys. */
export interface CompletedHandshake {
  readonly keys: SessionKeys;
  readonly localIndex: number;
  readonly remoteIndex: number;
}

/**
 * The handshakes with one peer: what lasts from one message to the next. Each message that it makes has a new index,
 * which the peer's answers are for.
 */
export class Handshake<Entry> {
  readonly remote: Remote;
  readonly #environment: Environment;
  readonly #indices: IndexTable<Entry>;
  readonly #entry: Entry;
  readonly #cookies: CookieStore;
  #pending: (PendingHandshake & { readonly index: number }) | undefined;
  #lastTimestampSent: Buffer | undefined;
  #lastTimestampReceived: Buffer | undefined;
  #lastInitiationAt = Number.NEGATIVE_INFINITY;

  /** @param entry whom the index table names for the messages that come back */
  constructor(publicKey: Uint8Array, environment: Environment, indices: IndexTable<Entry>, entry: Entry) {
    this.remote = new Remote(publicKey);
    this.#environment = environment;
    this.#indices = indices;
    this.#entry = entry;
    this.#cookies = new CookieStore(publicKey, environment);
  }

  /** Makes an initiation. The one before is no longer pending. @returns undefined if the peer's key is of low order */
  begin(identity: PrivateKey, now: number): Buffer | undefined {
    this.drop();
    const { randomBytes, wallClock } = this.#environment;
    const index = this.#indices.add(this.#entry);
    const timestamp = nextTai64n(wallClock(), this.#lastTimestampSent);
    const ephemeral = randomBytes(32);
    const initiation = attempt(
      () => createInitiation(identity, this.remote, index, timestamp, ephemeral),
      () => {
        this.#indices.delete(index);
        ephemeral.fill(0);
      },
    );
    if (!initiation) return undefined;
    this.#lastTimestampSent = timestamp;
    this.#pending = { ...initiation.pending, index };
    this.#cookies.addMacs(initiation.message, now);
    return initiation.message;
  }

  /**
   * Answers an authentic initiation.
   *
   * If this side's own initiation crossed it, that one is no longer pending. So each side answers, neither completes,
   * and whoever retransmits first begins the handshake that counts.
   * @returns undefined if the initiation was seen before, or comes too soon after another one
   */
  answer(
    initiation: ReceivedInitiation,
    now: number,
  ): (CompletedHandshake & { readonly message: Buffer }) | undefined {
    const { timestamp, state } = initiation;
    const last = this.#lastTimestampReceived;
    const { randomBytes, limits } = this.#environment;
    const replayed = last !== undefined && timestamp.compare(last) <= 0;
    if (replayed || now - this.#lastInitiationAt < limits.initiationInterval) {
      state.wipe();
      return undefined;
    }
    this.#lastTimestampReceived = timestamp;
    this.#lastInitiationAt = now;
    this.drop();
    const localIndex = this.#indices.add(this.#entry);
    const response = attempt(
      () => createResponse(initiation, localIndex, randomBytes(32)),
      () => this.#indices.delete(localIndex),
    );
    if (!response) return undefined;
    this.#cookies.addMacs(response.message, now);
    return { ...response, localIndex, remoteIndex: initiation.sender };
  }

  /** Ends the handshake that is pending under an index, if the response to it is authentic. */
  finish(identity: PrivateKey, message: Uint8Array, index: number): CompletedHandshake | undefined {
    const pending = this.#pending;
    if (pending?.index !== index) return undefined;
    const response = readResponse(identity, this.remote, pending, message);
    if (!response) return undefined;
    wipePending(pending);
    this.#pending = undefined;
    return { keys: response.keys, localIndex: index, remoteIndex: response.sender };
  }

  /** Keeps a cookie for the next message. Nothing else changes, since a cookie reply is not authentic. */
  acceptCookieReply(message: Uint8Array, now: number): void {
    this.#cookies.accept(message, now);
  }

  /** Forgets the pending initiation. */
  drop(): void {
    if (!this.#pending) return;
    this.#indices.delete(this.#pending.index);
    wipePending(this.#pending);
    this.#pending = undefined;
  }

  /** Forgets the cookie as well. */
  wipe(): void {
    this.drop();
    this.#cookies.wipe();
  }
}

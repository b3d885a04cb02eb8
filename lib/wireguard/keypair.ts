import type { Limits } from './environment.js';
import type { SessionKeys } from './noise.js';

/** Seals and opens the data messages of one keypair. The rim makes it, and the core disposes of it. */
export interface Transport extends Disposable {
  /** The counter of the next message that is sealed: how many were sealed so far. */
  readonly counter: number;
}

/** What a {@link Transport} is made of. The keys are wiped as soon as it is made, so that it has to copy them. */
export interface TransportParameters extends SessionKeys {
  /** The index in the messages that this side receives. */
  readonly localIndex: number;
  /** The index in the messages that this side sends. */
  readonly remoteIndex: number;
  /** When this side stops receiving by it, on the clock that the core's caller uses. */
  readonly receivesUntil: number;
}

/** The keys of one session, both directions. */
export class Keypair<T extends Transport> {
  readonly transport: T;
  readonly localIndex: number;
  /** Whether this side sent the initiation: only the initiator renews a keypair by its age. */
  readonly initiator: boolean;
  readonly createdAt: number;
  /** Whether nothing forbids sending but age and number. */
  sends = true;
  /** Whether receiving asked for a new keypair already. */
  renewed = false;
  readonly #limits: Limits;

  constructor(
    transport: T,
    { localIndex }: TransportParameters,
    initiator: boolean,
    createdAt: number,
    limits: Limits,
  ) {
    this.transport = transport;
    this.localIndex = localIndex;
    this.initiator = initiator;
    this.createdAt = createdAt;
    this.#limits = limits;
  }

  /** Whether `packets` more may be sent by it. */
  maySend(now: number, packets: number): boolean {
    const left = this.#limits.rejectAfterMessages - this.transport.counter;
    return this.sends && packets <= left && this.mayReceive(now);
  }

  /** Whether it is young enough to receive by. */
  mayReceive(now: number): boolean {
    return now - this.createdAt < this.#limits.rejectAfterTime;
  }

  /** Whether sending by it should bring about another one. */
  isStaleForSending(now: number): boolean {
    if (!this.sends) return false;
    if (this.transport.counter > this.#limits.rekeyAfterMessages) return true;
    return this.initiator && now - this.createdAt > this.#limits.rekeyAfterTime;
  }

  /**
   * Whether receiving by it should bring about another one: so late that a keepalive could not be sent any more, if
   * this side had to wait for its handshake.
   */
  isStaleForReceiving(now: number): boolean {
    const { rejectAfterTime, keepaliveTimeout, rekeyTimeout } = this.#limits;
    if (!this.sends || !this.initiator) return false;
    return now - this.createdAt > rejectAfterTime - keepaliveTimeout - rekeyTimeout;
  }
}

/**
 * The keypairs of a peer: the current one sends. The next one, of which this side was the responder, waits for a
 * message that shows that the initiator has it. The previous one receives what was sent before the change.
 */
export class Keypairs<T extends Transport> {
  #previous: Keypair<T> | undefined;
  #current: Keypair<T> | undefined;
  #next: Keypair<T> | undefined;
  readonly #retire: (keypair: Keypair<T>) => void;

  /** @param retire called for each keypair that is no longer needed */
  constructor(retire: (keypair: Keypair<T>) => void) {
    this.#retire = retire;
  }

  get current(): Keypair<T> | undefined {
    return this.#current;
  }

  /** Takes in the keypair of a handshake that just ended. */
  add(keypair: Keypair<T>): void {
    if (!keypair.initiator) {
      this.#set(undefined, this.#current, keypair);
    } else if (this.#next) {
      // The peer may have begun to send by next.
      this.#set(this.#next, keypair, undefined);
    } else {
      this.#set(this.#current, keypair, undefined);
    }
  }

  /** Notes an authentic message under a keypair. @returns whether it confirms the next one, which is current now */
  confirm(keypair: Keypair<T>): boolean {
    if (keypair !== this.#next) return false;
    this.#set(this.#current, keypair, undefined);
    return true;
  }

  /** From now on none of those there are sends, for the private key changed. They still receive. */
  stopSending(): void {
    for (const keypair of this.#all()) keypair.sends = false;
  }

  clear(): void {
    this.#set(undefined, undefined, undefined);
  }

  #all(): Keypair<T>[] {
    return [this.#previous, this.#current, this.#next].filter((keypair) => keypair !== undefined);
  }

  #set(
    previous: Keypair<T> | undefined,
    current: Keypair<T> | undefined,
    next: Keypair<T> | undefined,
  ): void {
    const before = this.#all();
    this.#previous = previous;
    this.#current = current;
    this.#next = next;
    const kept = this.#all();
    for (const keypair of before) if (!kept.includes(keypair)) this.#retire(keypair);
  }
}

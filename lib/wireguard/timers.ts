import type { Environment, Limits } from './environment.js';

const OFF = Number.POSITIVE_INFINITY;

/**
 * A timer of a peer that ran out, and what has to be done.
 * - `wipe`: delete all keys and what is left of a handshake
 * - `give-up`: drop the staged packets
 * - `retransmit`: send another initiation
 * - `dead-peer`: nothing came back for what was sent, so ask for a handshake
 * - `keepalive`: send the staged packets, or if there are none an empty one
 */
export type Expiry = 'wipe' | 'give-up' | 'retransmit' | 'dead-peer' | 'keepalive';

/**
 * The timers of one peer, without a clock: it is told what happens and when, and tells what is due. Times are in
 * milliseconds of a clock that never goes back and counts suspended time.
 * @see https://www.wireguard.com/papers/wireguard.pdf section 6
 */
export class PeerTimers {
  readonly #environment: Environment;
  #retransmitAt = OFF;
  #keepaliveAt = OFF;
  #deadPeerAt = OFF;
  #wipeAt = OFF;
  #persistentAt = OFF;
  #persistentInterval = 0;
  #lastHandshakeSent = Number.NEGATIVE_INFINITY;
  /** Retransmissions since a handshake was last asked for. */
  #retransmissions = 0;
  /** Whether data came while a keepalive was due already, and whether the keepalive under way is for the first of them. */
  #moreData = false;
  #anotherKeepalive = false;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** When {@link tick} has something to do next; infinite if never. */
  get nextDeadline(): number {
    return Math.min(
      this.#retransmitAt,
      this.#keepaliveAt,
      this.#deadPeerAt,
      this.#wipeAt,
      this.#persistentAt,
    );
  }

  /** How many initiations followed the first one without a response. */
  get retransmissions(): number {
    return this.#retransmissions;
  }

  /** @param interval between keepalives that keep a NAT's mapping alive, 0: none */
  setPersistentKeepalive(interval: number, now: number): void {
    this.#persistentInterval = interval;
    this.#persistentAt = interval === 0 ? OFF : Math.min(this.#persistentAt, now + interval);
  }

  /** A message with data was sent. */
  dataSent(now: number): void {
    this.#authenticSent(now);
    // From the first message without an answer on, not from the last.
    if (this.#deadPeerAt === OFF) {
      this.#deadPeerAt = now + this.#limits.keepaliveTimeout + this.#handshakeWait();
    }
  }

  /** An empty message was sent. */
  keepaliveSent(now: number): void {
    const another = this.#anotherKeepalive;
    this.#authenticSent(now);
    if (another) this.#keepaliveAt = now + this.#limits.keepaliveTimeout;
  }

  /** Any authentic message was received. */
  authenticReceived(now: number): void {
    this.#deadPeerAt = OFF;
    this.#traversed(now);
  }

  /** A message with data was received; {@link authenticReceived} was called as well. */
  dataReceived(now: number): void {
    if (this.#keepaliveAt === OFF) this.#keepaliveAt = now + this.#limits.keepaliveTimeout;
    else this.#moreData = true;
  }

  initiationSent(now: number): void {
    this.#authenticSent(now);
    this.#lastHandshakeSent = now;
    this.#retransmitAt = now + this.#handshakeWait();
  }

  responseSent(now: number): void {
    this.#authenticSent(now);
    this.#lastHandshakeSent = now;
  }

  /** There are new keys. */
  sessionDerived(now: number): void {
    this.#wipeAt = now + 3 * this.#limits.rejectAfterTime;
  }

  /** Both sides have new keys. */
  handshakeCompleted(): void {
    this.#retransmitAt = OFF;
    this.#retransmissions = 0;
  }

  /**
   * A new reason for a handshake: counting its initiations starts over.
   * @returns whether the initiation may go out now. Too soon after another handshake message it may not; then it is
   * due later, unless that handshake completes.
   */
  requestInitiation(now: number): boolean {
    this.#retransmissions = 0;
    return this.#mayInitiate(now);
  }

  /** What is due, in the order in which it is to be done. */
  tick(now: number): Expiry[] {
    const expired: Expiry[] = [];
    if (now >= this.#wipeAt) {
      this.#wipeAt = OFF;
      expired.push('wipe');
    }
    if (now >= this.#retransmitAt) {
      this.#retransmitAt = OFF;
      if (this.#retransmissions + 1 >= this.#limits.handshakeAttempts) {
        this.#keepaliveAt = OFF;
        if (this.#wipeAt === OFF) this.#wipeAt = now + 3 * this.#limits.rejectAfterTime;
        expired.push('give-up');
      } else if (this.#mayInitiate(now)) {
        this.#retransmissions++;
        expired.push('retransmit');
      }
    }
    if (now >= this.#deadPeerAt) {
      this.#deadPeerAt = OFF;
      expired.push('dead-peer');
    }
    const passive = now >= this.#keepaliveAt;
    if (passive) {
      this.#keepaliveAt = OFF;
      this.#anotherKeepalive = this.#moreData;
      this.#moreData = false;
    }
    const persistent = now >= this.#persistentAt;
    if (persistent) this.#persistentAt = now + this.#persistentInterval;
    if (passive || persistent) expired.push('keepalive');
    return expired;
  }

  /** Forgets the handshake that was sent last, so that another may follow at once. */
  allowInitiation(): void {
    this.#lastHandshakeSent = Number.NEGATIVE_INFINITY;
  }

  /** Switches all timers off. */
  stop(): void {
    this.handshakeCompleted();
    this.allowInitiation();
    this.#keepaliveAt = OFF;
    this.#deadPeerAt = OFF;
    this.#wipeAt = OFF;
    this.#persistentAt = OFF;
    this.#moreData = false;
    this.#anotherKeepalive = false;
  }

  get #limits(): Limits {
    return this.#environment.limits;
  }

  #handshakeWait(): number {
    return this.#limits.rekeyTimeout + this.#environment.random() * this.#limits.jitter;
  }

  #authenticSent(now: number): void {
    this.#keepaliveAt = OFF;
    this.#moreData = false;
    this.#anotherKeepalive = false;
    this.#traversed(now);
  }

  #traversed(now: number): void {
    if (this.#persistentInterval > 0) this.#persistentAt = now + this.#persistentInterval;
  }

  #mayInitiate(now: number): boolean {
    if (now - this.#lastHandshakeSent >= this.#limits.rekeyTimeout) return true;
    if (this.#retransmitAt === OFF) this.#retransmitAt = this.#lastHandshakeSent + this.#handshakeWait();
    return false;
  }
}

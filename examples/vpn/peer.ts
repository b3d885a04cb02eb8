/** What is known of the other end, and its sessions as they replace one another. */

import type { Endpoint } from 'tuntap-native/tunnel';
import { keyId } from './handshake.ts';
import type { Session, SessionTable } from './session.ts';
import { Traffic } from './statistics.ts';

export class Peer {
  readonly name: string;
  readonly psk: Buffer;
  readonly keyId: bigint;
  readonly traffic = new Traffic();
  /** Where to send; of a client unknown until its first authentic packet. */
  endpoint: Endpoint | undefined;
  /** What is sealed with. */
  current: Session | undefined;
  /** The one before, for packets that are still under way. */
  previous: Session | undefined;
  /** Of a responder: used once a packet has come by it, which proves that the initiator has its keys. */
  next: Session | undefined;
  /** Of the last initiation that was taken, so that an older one is refused. */
  lastTimestamp = -1n;
  sentAt = Number.NEGATIVE_INFINITY;
  receivedAt = Number.NEGATIVE_INFINITY;
  readonly #sessions: SessionTable;

  constructor(name: string, psk: Buffer, sessions: SessionTable) {
    this.name = name;
    this.psk = psk;
    this.keyId = keyId(psk);
    this.#sessions = sessions;
  }

  /** Seals with a session from now on. */
  use(session: Session): void {
    if (session === this.next) this.next = undefined;
    this.#sessions.remove(this.previous);
    this.previous = this.current;
    this.current = session;
  }

  /** Takes a responder's session, which waits for the initiator's first packet. */
  offer(session: Session): void {
    this.#sessions.remove(this.next);
    this.next = session;
  }

  /** Forgets sessions made before a time, as performance.now() gives it. */
  expire(before: number): void {
    for (const slot of ['current', 'previous', 'next'] as const) {
      const session = this[slot];
      if (session === undefined || session.established >= before) continue;
      this.#sessions.remove(session);
      this[slot] = undefined;
    }
  }
}

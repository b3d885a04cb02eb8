/**
 * A session: the two keys of one handshake, and the replay window. A sealed packet is
 * `4 0 0 0 | the receiver's session index, 4 bytes | counter, 8 bytes | ciphertext | tag, 16 bytes`, all little-endian.
 */

import { Aead, type AeadCipher, ReplayWindow } from 'tuntap-native/tunnel';
import type { SessionKeys } from './handshake.ts';
import type { Peer } from './peer.ts';

export const DATA = 4;
export const DATA_HEADER = 16;
export const DATA_OVERHEAD = DATA_HEADER + Aead.tagLength;
/** Where the counter is in a packet whose header was taken off. */
export const COUNTER = -8;

export class Session {
  readonly peer: Peer;
  readonly index: number;
  readonly established: number;
  readonly sending: Aead;
  readonly receiving: Aead;
  readonly window = new ReplayWindow();
  readonly header = new Uint8Array(DATA_HEADER);

  /** @param counterLimit packets after which the session no longer seals */
  constructor(
    peer: Peer,
    index: number,
    cipher: AeadCipher,
    { sendKey, receiveKey, remoteIndex }: SessionKeys,
    counterLimit: number,
  ) {
    this.peer = peer;
    this.index = index;
    this.established = performance.now();
    this.sending = new Aead(cipher, sendKey, { headerLength: DATA_HEADER, counterLimit });
    this.receiving = new Aead(cipher, receiveKey, { headerLength: DATA_HEADER });
    sendKey.fill(0);
    receiveKey.fill(0);
    const view = new DataView(this.header.buffer);
    view.setUint8(0, DATA);
    view.setUint32(4, remoteIndex, true);
  }

  /** Whether so many packets more can be sealed. */
  canSeal(packets: number): boolean {
    return packets <= this.sending.counterLimit - this.sending.counter;
  }

  dispose(): void {
    this.sending.dispose();
    this.receiving.dispose();
  }
}

/** The living sessions, by the index that their packets carry. */
export class SessionTable {
  readonly #sessions = new Map<number, Session>();

  get(index: number): Session | undefined {
    return this.#sessions.get(index);
  }

  /** An index that none has, which nobody can guess. */
  newIndex(): number {
    for (;;) {
      const [index] = crypto.getRandomValues(new Uint32Array(1));
      if (!this.#sessions.has(index)) return index;
    }
  }

  add(session: Session): void {
    this.#sessions.set(session.index, session);
  }

  remove(session: Session | undefined): void {
    if (session === undefined) return;
    this.#sessions.delete(session.index);
    session.dispose();
  }
}

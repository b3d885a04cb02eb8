/**
 * The way of the packets: from the device, sealed in place, to the socket, and back. Batches only; nothing is allocated
 * for a packet.
 */

import { PacketBatch, type TunDevice } from 'tuntap-native';
import { Aead, DatagramTable, type Endpoint, type UdpBatchSocket } from 'tuntap-native/tunnel';
import type { AllowedAddresses } from './allowed-addresses.ts';
import { INITIATION, INITIATION_LENGTH, RESPONSE, RESPONSE_LENGTH } from './handshake.ts';
import type { Peer } from './peer.ts';
import { COUNTER, DATA, DATA_HEADER, DATA_OVERHEAD, type Session, type SessionTable } from './session.ts';

/** Room that the device keeps around each packet. What comes from the socket only loses its header and tag. */
export const ROOM = { headroom: DATA_HEADER, tailroom: Aead.tagLength } as const;

// No IP packet begins so: the receiver learns that the sender is there, and nothing else.
const KEEPALIVE = Uint8Array.of(0);

/** What the data path tells the side that it serves. */
export interface DataPathEvents {
  /** A message of a handshake's length and type; its bytes are the batch's. */
  handshake(message: Buffer, from: Endpoint): void;
  /** New authentic packets came by this session, the last of them from entry `last` of `socket.received`. */
  authentic(session: Session, last: number): void;
}

export interface DataPathParts {
  readonly tun: TunDevice;
  readonly socket: UdpBatchSocket;
  readonly sessions: SessionTable;
  readonly allowed: AllowedAddresses<Peer>;
}

export class DataPath {
  /** Datagrams that no session is known for, or that are nothing at all. */
  strange = 0;
  readonly #tun: TunDevice;
  readonly #socket: UdpBatchSocket;
  readonly #sessions: SessionTable;
  readonly #allowed: AllowedAddresses<Peer>;
  readonly #remotes = new DatagramTable();
  readonly #keepalive = new PacketBatch({ capacity: 1, size: 64, ...ROOM });

  constructor({ tun, socket, sessions, allowed }: DataPathParts) {
    this.#tun = tun;
    this.#socket = socket;
    this.#sessions = sessions;
    this.#allowed = allowed;
  }

  /** Sends what comes from the device until that is closed. */
  async sendPackets(): Promise<void> {
    for await (const batch of this.#tun.batches()) this.#seal(batch);
  }

  /** Gives the device what comes from the socket until that is closed. */
  async receivePackets(events: DataPathEvents): Promise<void> {
    for await (const batch of this.#socket.batches()) {
      this.#open(batch, events);
      this.#tun.writeBatch(batch);
    }
  }

  /** Tells the peer that this side is there. */
  sendKeepalive(peer: Peer): void {
    const batch = this.#keepalive;
    batch.clear();
    batch.push(KEEPALIVE);
    if (this.#sealRun(batch, peer, 0, 1)) this.#send(batch, peer, false);
  }

  #seal(batch: PacketBatch): void {
    const count = batch.length;
    let first: Peer | undefined;
    let several = false;
    for (let start = 0; start < count; ) {
      const peer = this.#allowed.destination(batch, start);
      let end = start + 1;
      while (end < count && this.#allowed.destination(batch, end) === peer) end++;
      if (this.#sealRun(batch, peer, start, end) && peer?.endpoint) {
        // Which remote each packet has is written down only where there are several.
        if (first !== undefined && first !== peer && !several) {
          several = true;
          if (first.endpoint) for (let i = 0; i < start; i++) this.#remotes.setRemote(i, first.endpoint);
        }
        first ??= peer;
        if (several) for (let i = start; i < end; i++) this.#remotes.setRemote(i, peer.endpoint);
      }
      start = end;
    }
    if (first !== undefined) this.#send(batch, first, several);
  }

  /** Seals packets for one peer, or drops them where that can't be. */
  #sealRun(batch: PacketBatch, peer: Peer | undefined, start: number, end: number): boolean {
    const session = peer?.current;
    if (peer?.endpoint === undefined || session === undefined || !session.canSeal(end - start)) {
      for (let i = start; i < end; i++) batch.drop(i);
      if (peer) peer.traffic.dropped += end - start;
      return false;
    }
    const { sent } = peer.traffic;
    for (let i = start; i < end; i++) sent.bytes += batch.lengthOf(i);
    sent.packets += session.sending.sealBatch(batch, session.header, start, end);
    peer.sentAt = performance.now();
    return true;
  }

  #send(batch: PacketBatch, peer: Peer, several: boolean): void {
    this.#socket.writeBatch(batch, several ? this.#remotes : peer.endpoint);
    // IP may lose packets: to wait for room would make them old, and the kernel's queue in front longer.
    peer.traffic.dropped += batch.length - batch.firstUnsent;
  }

  #open(batch: PacketBatch, events: DataPathEvents): void {
    const count = batch.length;
    for (let start = 0; start < count; ) {
      // Looked up only now: what came before may have ended a session.
      const session = this.#sessions.get(sessionIndex(batch, start));
      let end = start + 1;
      if (session === undefined) {
        this.#takeOther(batch, start, events);
      } else {
        while (end < count && sessionIndex(batch, end) === session.index) end++;
        this.#openRun(batch, session, start, end, events);
      }
      start = end;
    }
  }

  /** A datagram of no session goes no further, a handshake message only to who reads those. */
  #takeOther(batch: PacketBatch, i: number, events: DataPathEvents): void {
    const length = batch.lengthOf(i);
    const type = length > 4 ? batch.readUInt32LE(i, 0) : 0;
    const isHandshake =
      (type === INITIATION && length === INITIATION_LENGTH) ||
      (type === RESPONSE && length === RESPONSE_LENGTH);
    const from = isHandshake ? this.#socket.received.remote(i) : undefined;
    if (from) events.handshake(batch.at(i), from);
    else this.strange++;
    batch.drop(i);
  }

  #openRun(batch: PacketBatch, session: Session, start: number, end: number, events: DataPathEvents): void {
    const { peer } = session;
    const { traffic } = peer;
    const authentic = session.receiving.openBatch(batch, start, end);
    const fresh = session.window.checkBatch(batch, COUNTER, start, end);
    traffic.forged += end - start - authentic;
    traffic.replayed += authentic - fresh;
    if (fresh === 0) return;
    let last = end - 1;
    while (batch.status(last) !== 0) last--;
    events.authentic(session, last);
    const { received } = traffic;
    received.packets += fresh;
    for (let i = start; i < end; i++) {
      const length = batch.lengthOf(i);
      if (length === 0) continue;
      if (this.#allowed.source(batch, i) === peer) {
        received.bytes += length;
        continue;
      }
      if (length > KEEPALIVE.length) traffic.spoofed++;
      batch.drop(i);
    }
  }
}

/** Which session a datagram says that it belongs to; -1 for what is no data. */
function sessionIndex(batch: PacketBatch, i: number): number {
  const isData = batch.lengthOf(i) > DATA_OVERHEAD && batch.readUInt32LE(i, 0) === DATA;
  return isData ? batch.readUInt32LE(i, 4) : -1;
}

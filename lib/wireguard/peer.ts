import type { Source } from './cookie.js';
import type { PrivateKey } from './crypto.js';
import type { Environment } from './environment.js';
import { type CompletedHandshake, Handshake } from './handshake.js';
import type { IndexTable } from './index-table.js';
import { Keypair, Keypairs, type Transport, type TransportParameters } from './keypair.js';
import { INITIATION_LENGTH, RESPONSE_LENGTH } from './messages.js';
import type { ReceivedInitiation, Remote } from './noise.js';
import { PeerTimers } from './timers.js';

/**
 * What the rim has to do, in this order.
 * - `send`: send a handshake message to the peer's endpoint
 * - `reply`: send a cookie reply to where the datagram came from
 * - `endpoint`: send to this source from now on, from the local address that it sent to
 * - `forget-source`: let the kernel choose the local address again
 * - `keepalive`: send the staged packets, or if there are none an empty one
 * - `send-staged`: send the staged packets
 * - `drop-staged`: drop them
 * - `handshake`: both sides have new keys; tell the user
 * - `expired`: the peer did not answer, or all of its keys were wiped; tell the user
 */
export type Action<T extends Transport> =
  | { readonly type: 'send'; readonly peer: Peer<T>; readonly message: Buffer }
  | { readonly type: 'reply'; readonly source: Source; readonly message: Buffer }
  | { readonly type: 'endpoint'; readonly peer: Peer<T>; readonly source: Source }
  | { readonly type: 'expired'; readonly peer: Peer<T>; readonly reason: 'unanswered' | 'wiped' }
  | {
      readonly type: 'forget-source' | 'keepalive' | 'send-staged' | 'drop-staged' | 'handshake';
      readonly peer: Peer<T>;
    };

/** Whose an index is: a keypair's, or without one a handshake's. */
export interface IndexEntry<T extends Transport> {
  readonly peer: Peer<T>;
  readonly keypair?: Keypair<T>;
}

/** What a peer has of the device that it belongs to. */
export interface PeerContext<T extends Transport> {
  readonly environment: Environment;
  readonly indices: IndexTable<IndexEntry<T>>;
  readonly identity: () => PrivateKey | undefined;
  readonly createTransport: (parameters: TransportParameters, peer: Peer<T>) => T;
  readonly emit: (action: Action<T>) => void;
  /** The peer's next deadline may have changed. */
  readonly schedule: (peer: Peer<T>) => void;
}

/**
 * One peer: its handshakes, keypairs, timers and counters. All methods take the time in milliseconds of a clock that
 * never goes back and counts suspended time.
 */
export class Peer<T extends Transport> {
  /** Whether an endpoint is known. Without one, nothing is sent. */
  reachable = false;
  /** Whole UDP payloads, those of handshakes included. */
  bytesSent = 0;
  bytesReceived = 0;
  /** When both sides had new keys, in milliseconds since the Unix epoch; undefined if never. */
  latestHandshake: number | undefined;
  readonly #context: PeerContext<T>;
  readonly #timers: PeerTimers;
  readonly #handshake: Handshake<IndexEntry<T>>;
  readonly #keypairs: Keypairs<T>;
  #running = true;
  #persistentKeepalive = 0;

  constructor(publicKey: Uint8Array, context: PeerContext<T>) {
    const { environment, indices } = context;
    this.#context = context;
    this.#timers = new PeerTimers(environment);
    this.#handshake = new Handshake(publicKey, environment, indices, { peer: this });
    this.remote.meet(context.identity());
    this.#keypairs = new Keypairs((keypair) => {
      indices.delete(keypair.localIndex);
      keypair.transport[Symbol.dispose]();
    });
  }

  /** The peer as handshakes know it. */
  get remote(): Remote {
    return this.#handshake.remote;
  }

  /** 32 bytes. */
  get publicKey(): Buffer {
    return this.remote.key;
  }

  /** Whether there is a preshared key. */
  get hasPresharedKey(): boolean {
    return this.remote.presharedKey.some((byte) => byte !== 0);
  }

  /** Seconds between keepalives that are sent without need, 0: none. */
  get persistentKeepalive(): number {
    return this.#persistentKeepalive;
  }

  /** How many initiations followed the first one without a response: many, and its host name may have moved. */
  get retransmissions(): number {
    return this.#timers.retransmissions;
  }

  /** When {@link tick} has something to do next; infinite if never. */
  get nextDeadline(): number {
    return this.#timers.nextDeadline;
  }

  /** Sets the preshared key, 32 bytes, for the handshakes from now on; zeros or undefined: none. */
  setPresharedKey(key: Uint8Array | undefined): void {
    this.remote.presharedKey.fill(0).set(key ?? []);
  }

  /** Sets the persistent keepalive, 0 to 65,535 seconds. Switching it on sends one at once. */
  setPersistentKeepalive(seconds: number, now: number): void {
    const switchedOn = this.#persistentKeepalive === 0 && seconds > 0;
    this.#persistentKeepalive = seconds;
    if (!this.#running) return;
    this.#timers.setPersistentKeepalive(1000 * seconds, now);
    if (switchedOn) this.#keepalive(now);
    this.#context.schedule(this);
  }

  /**
   * The keypair to send by. Without one, the caller stages its packets, and a handshake begins if it may.
   * @param packets how many are to be sent
   */
  keypairToSend(now: number, packets = 1): Keypair<T> | undefined {
    if (!this.#running) return undefined;
    const { current } = this.#keypairs;
    if (current?.maySend(now, packets)) return current;
    // After suspend, what was due meanwhile comes first, or wiping would take the handshake that begins now.
    if (now >= this.nextDeadline) this.tick(now);
    this.#requestHandshake(now);
    this.#context.schedule(this);
    return undefined;
  }

  /** Messages with data were sent. @param bytes of UDP payload, together */
  dataSent(now: number, bytes: number): void {
    if (!this.#running) return;
    this.#timers.dataSent(now);
    this.#sent(now, bytes);
  }

  /** An empty message was sent. */
  keepaliveSent(now: number, bytes: number): void {
    if (!this.#running) return;
    this.#timers.keepaliveSent(now);
    this.#sent(now, bytes);
  }

  /**
   * Messages came that are authentic and not replayed. The rim sets the peer's endpoint to where the last of them came
   * from, whatever is in them.
   * @param hasData whether one of them is not empty
   * @param bytes of UDP payload, together
   */
  received(keypair: Keypair<T>, now: number, hasData: boolean, bytes: number): void {
    if (!this.#running) return;
    this.bytesReceived += bytes;
    if (this.#keypairs.confirm(keypair)) {
      this.#completed();
      this.#emit('send-staged');
    }
    const { current } = this.#keypairs;
    if (current && !current.renewed && current.isStaleForReceiving(now)) {
      current.renewed = true;
      this.#requestHandshake(now);
    }
    this.#timers.authenticReceived(now);
    if (hasData) this.#timers.dataReceived(now);
    this.#context.schedule(this);
  }

  /** Answers an initiation that is authentic, unless it was seen before or comes too soon. */
  acceptInitiation(initiation: ReceivedInitiation, source: Source, now: number): void {
    const answer = this.#running ? this.#handshake.answer(initiation, now) : undefined;
    if (!answer) return;
    this.#handshakeReceived(source, INITIATION_LENGTH, now);
    this.#addKeypair(answer, false, now);
    this.#timers.responseSent(now);
    this.#send(answer.message);
    this.#context.schedule(this);
  }

  /** Ends the handshake that this side began, if the response is authentic. */
  acceptResponse(message: Uint8Array, index: number, source: Source, now: number): void {
    const identity = this.#context.identity();
    const completed = identity && this.#handshake.finish(identity, message, index);
    if (!completed) return;
    this.#handshakeReceived(source, RESPONSE_LENGTH, now);
    this.#addKeypair(completed, true, now);
    this.#completed();
    // The peer may not send before it got something under the new keys.
    this.#emit('keepalive');
    this.#context.schedule(this);
  }

  /** Keeps a cookie for the next handshake message. */
  acceptCookieReply(message: Uint8Array, now: number): void {
    this.#handshake.acceptCookieReply(message, now);
  }

  /** Does what is due. */
  tick(now: number): void {
    for (const expiry of this.#timers.tick(now)) {
      switch (expiry) {
        case 'wipe':
          this.#handshake.drop();
          this.#keypairs.clear();
          this.#context.emit({ type: 'expired', peer: this, reason: 'wiped' });
          break;
        case 'give-up':
          this.#emit('drop-staged');
          this.#context.emit({ type: 'expired', peer: this, reason: 'unanswered' });
          break;
        case 'retransmit':
          this.#emit('forget-source');
          this.#initiate(now);
          break;
        case 'dead-peer':
          this.#emit('forget-source');
          this.#requestHandshake(now);
          break;
        case 'keepalive':
          this.#keepalive(now);
      }
    }
    this.#context.schedule(this);
  }

  /** The device has another private key, or none: sessions of the old one end. */
  changeIdentity(identity: PrivateKey | undefined): void {
    this.remote.meet(identity);
    this.#handshake.drop();
    this.#keypairs.stopSending();
    this.#timers.allowInitiation();
  }

  /** Begins again after {@link stop}. */
  start(now: number): void {
    if (this.#running) return;
    this.#running = true;
    this.#timers.setPersistentKeepalive(1000 * this.#persistentKeepalive, now);
    if (this.#persistentKeepalive > 0) this.#keepalive(now);
    this.#context.schedule(this);
  }

  /** Deletes all keys; until {@link start} the peer neither sends nor answers. */
  stop(): void {
    this.#running = false;
    this.#timers.stop();
    this.#handshake.wipe();
    this.#keypairs.clear();
    this.#emit('drop-staged');
  }

  #sent(now: number, bytes: number): void {
    this.bytesSent += bytes;
    if (this.#keypairs.current?.isStaleForSending(now)) this.#requestHandshake(now);
    this.#context.schedule(this);
  }

  #keepalive(now: number): void {
    if (this.#keypairs.current?.maySend(now, 1)) this.#emit('keepalive');
    else this.#requestHandshake(now);
  }

  #requestHandshake(now: number): void {
    if (this.#timers.requestInitiation(now)) this.#initiate(now);
  }

  #initiate(now: number): void {
    const identity = this.#context.identity();
    const message = identity && this.reachable ? this.#handshake.begin(identity, now) : undefined;
    if (!message) return;
    this.#timers.initiationSent(now);
    this.#send(message);
  }

  #handshakeReceived(source: Source, bytes: number, now: number): void {
    this.reachable = true;
    this.bytesReceived += bytes;
    this.#timers.authenticReceived(now);
    this.#context.emit({ type: 'endpoint', peer: this, source });
  }

  #addKeypair({ keys, localIndex, remoteIndex }: CompletedHandshake, initiator: boolean, now: number): void {
    const { environment, indices, createTransport } = this.#context;
    const { limits } = environment;
    const parameters = { ...keys, localIndex, remoteIndex, receivesUntil: now + limits.rejectAfterTime };
    const transport = createTransport(parameters, this);
    keys.sending.fill(0);
    keys.receiving.fill(0);
    const keypair = new Keypair(transport, parameters, initiator, now, limits);
    indices.replace(localIndex, { peer: this, keypair });
    this.#keypairs.add(keypair);
    this.#timers.sessionDerived(now);
  }

  #completed(): void {
    this.latestHandshake = this.#context.environment.wallClock();
    this.#timers.handshakeCompleted();
    this.#emit('handshake');
  }

  #send(message: Buffer): void {
    this.bytesSent += message.length;
    this.#context.emit({ type: 'send', peer: this, message });
  }

  #emit(type: 'forget-source' | 'keepalive' | 'send-staged' | 'drop-staged' | 'handshake'): void {
    this.#context.emit({ type, peer: this });
  }
}

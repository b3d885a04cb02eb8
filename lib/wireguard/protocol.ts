import { CookieChecker, type Source } from './cookie.js';
import { importPrivateKey, type PrivateKey } from './crypto.js';
import { DeadlineQueue } from './deadline-queue.js';
import { ENVIRONMENT, type Environment } from './environment.js';
import { IndexTable } from './index-table.js';
import type { Transport, TransportParameters } from './keypair.js';
import { equalKeys, formatKey } from './keys.js';
import { COOKIE_REPLY, MessageType, messageType, RESPONSE, readUInt32 } from './messages.js';
import { readInitiation } from './noise.js';
import { type Action, type IndexEntry, Peer, type PeerContext } from './peer.js';
import { RateLimiter } from './rate-limiter.js';

const NO_ACTIONS: readonly never[] = [];

/**
 * The protocol of one device: its key, its peers, their handshakes and timers. It does no I/O and has no clock: the
 * rim calls its methods and those of its peers, each with the time, and then does what {@link takeActions} says.
 *
 * Data messages don't pass through here. The rim seals and opens them by each keypair's transport, and only tells the
 * peer how much there was.
 */
export class Protocol<T extends Transport> {
  readonly #environment: Environment;
  readonly #context: PeerContext<T>;
  readonly #indices: IndexTable<IndexEntry<T>>;
  readonly #peers = new Map<string, Peer<T>>();
  readonly #deadlines = new DeadlineQueue<Peer<T>>();
  readonly #limiter = new RateLimiter();
  #identity: PrivateKey | undefined;
  #checker: CookieChecker | undefined;
  #actions: Action<T>[] = [];
  #running = true;
  #underLoadUntil = Number.NEGATIVE_INFINITY;

  /**
   * @param createTransport makes what seals and opens the data of a new keypair; it copies the keys, which are wiped
   * afterwards
   */
  constructor(
    createTransport: (parameters: TransportParameters, peer: Peer<T>) => T,
    environment: Environment = ENVIRONMENT,
  ) {
    this.#environment = environment;
    this.#indices = new IndexTable(environment.randomBytes);
    this.#context = {
      environment,
      indices: this.#indices,
      identity: () => this.#identity,
      createTransport,
      emit: (action) => this.#actions.push(action),
      schedule: (peer) => this.#deadlines.require(peer, peer.nextDeadline),
    };
  }

  /** 32 bytes, or undefined without a private key. */
  get publicKey(): Buffer | undefined {
    return this.#identity?.publicKey;
  }

  /** How many indices are in use, by handshakes and keypairs. */
  get indexCount(): number {
    return this.#indices.size;
  }

  /** When {@link tick} has something to do next; infinite if never. */
  get nextDeadline(): number {
    return this.#deadlines.next;
  }

  /** All peers, in the order in which they were added. */
  get peers(): Iterable<Peer<T>> {
    return this.#peers.values();
  }

  /**
   * Sets the private key; without one, nothing is sent or answered. A peer that has the new public key is this device
   * itself, and is removed.
   * @param privateKey 32 bytes; the caller can wipe them afterwards
   */
  setPrivateKey(privateKey: Uint8Array | undefined): void {
    const identity = privateKey && importPrivateKey(privateKey);
    if (identity && this.publicKey && equalKeys(identity.publicKey, this.publicKey)) {
      identity.bytes.fill(0);
      return;
    }
    this.#identity?.bytes.fill(0);
    this.#identity = identity;
    this.#checker = this.#identity && new CookieChecker(this.#identity.publicKey, this.#environment);
    const self = this.publicKey && this.peer(this.publicKey);
    if (self) this.removePeer(self);
    for (const peer of this.#peers.values()) peer.changeIdentity(this.#identity);
  }

  /** The peer with a public key. */
  peer(publicKey: Uint8Array): Peer<T> | undefined {
    return this.#peers.get(formatKey(publicKey));
  }

  /** Adds a peer, or finds it. @returns undefined for this device's own key */
  addPeer(publicKey: Uint8Array): Peer<T> | undefined {
    if (this.publicKey && equalKeys(publicKey, this.publicKey)) return undefined;
    const existing = this.peer(publicKey);
    if (existing) return existing;
    const peer = new Peer(publicKey, this.#context);
    if (!this.#running) peer.stop();
    this.#peers.set(formatKey(publicKey), peer);
    return peer;
  }

  /** Removes a peer and deletes its keys. */
  removePeer(peer: Peer<T>): void {
    this.#peers.delete(formatKey(peer.publicKey));
    this.#deadlines.delete(peer);
    peer.stop();
    peer.remote.wipe();
  }

  /** Whose keypair a data message is for. */
  find(index: number): IndexEntry<T> | undefined {
    return this.#indices.get(index);
  }

  /** Whether a handshake message is for this device, as far as is quick to see: by its mac1 or its index. */
  isForHere(message: Uint8Array): boolean {
    const type = messageType(message);
    if (!this.#running || !this.#checker) return false;
    if (type === MessageType.cookieReply)
      return this.find(readUInt32(message, COOKIE_REPLY.receiver)) !== undefined;
    const hasMac1 = type === MessageType.initiation || type === MessageType.response;
    return hasMac1 && this.#checker.hasMac1(message);
  }

  /**
   * Takes an initiation, a response or a cookie reply in. Whatever is wrong with it, nobody gets an answer.
   * @param queued how many handshake messages wait behind this one
   */
  receiveHandshake(message: Uint8Array, source: Source, now: number, queued = 0): void {
    const type = messageType(message);
    if (!this.#identity || !this.#checker || !this.#running) return;
    if (type === MessageType.cookieReply) {
      this.find(readUInt32(message, COOKIE_REPLY.receiver))?.peer.acceptCookieReply(message, now);
    } else if (type === MessageType.initiation || type === MessageType.response) {
      if (!this.#checker.hasMac1(message)) return;
      if (this.#isUnderLoad(queued, now) && !this.#mayAnswer(this.#checker, message, source, now)) return;
      if (type === MessageType.initiation) this.#receiveInitiation(this.#identity, message, source, now);
      else this.#receiveResponse(message, source, now);
    }
  }

  /** Does what is due. */
  tick(now: number): void {
    // A peer that has something else to do at once is due in the next tick.
    const due: Peer<T>[] = [];
    for (let peer = this.#deadlines.take(now); peer; peer = this.#deadlines.take(now)) due.push(peer);
    for (const peer of due) peer.tick(now);
  }

  /** What the rim has to do now. Each action is handed out once. */
  takeActions(): readonly Action<T>[] {
    if (this.#actions.length === 0) return NO_ACTIONS;
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  /** Begins again after {@link stop}: with peers that have a persistent keepalive, at once. */
  start(now: number): void {
    this.#running = true;
    for (const peer of this.#peers.values()) peer.start(now);
  }

  /** Deletes all keys of sessions; until {@link start} nothing is sent or answered. */
  stop(): void {
    this.#running = false;
    for (const peer of this.#peers.values()) {
      this.#deadlines.delete(peer);
      peer.stop();
    }
  }

  #isUnderLoad(queued: number, now: number): boolean {
    const { loadThreshold, loadTime } = this.#environment.limits;
    if (queued >= loadThreshold) this.#underLoadUntil = now + loadTime;
    return now < this.#underLoadUntil;
  }

  /** Whether a message is answered under load; its sender may have to show first that it is where it says. */
  #mayAnswer(checker: CookieChecker, message: Uint8Array, source: Source, now: number): boolean {
    if (checker.hasMac2(message, source, now)) return this.#limiter.allow(source.address, now);
    this.#actions.push({ type: 'reply', source, message: checker.reply(message, source, now) });
    return false;
  }

  #receiveInitiation(identity: PrivateKey, message: Uint8Array, source: Source, now: number): void {
    let peer: Peer<T> | undefined;
    const initiation = readInitiation(identity, message, (publicKey) => {
      peer = this.peer(publicKey);
      return peer?.remote;
    });
    if (initiation) peer?.acceptInitiation(initiation, source, now);
  }

  #receiveResponse(message: Uint8Array, source: Source, now: number): void {
    const index = readUInt32(message, RESPONSE.receiver);
    this.find(index)?.peer.acceptResponse(message, index, source, now);
  }
}

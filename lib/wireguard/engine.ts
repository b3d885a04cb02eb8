import type { TunDevice } from '../device/tun-tap-device.js';
import { DatagramTable } from '../socket/datagram-table.js';
import type { UdpBatchSocket } from '../socket/udp-batch-socket.js';
import { bootTime } from '../tunnel/boot-time.js';
import { SessionTable } from '../tunnel/session-table.js';
import { AllowedIps } from './allowed-ips.js';
import type { Source } from './cookie.js';
import { DataPath, type DataPathOwner } from './data-path.js';
import { ENVIRONMENT, type Environment } from './environment.js';
import type { Keypair } from './keypair.js';
import type { Action, Peer } from './peer.js';
import { Protocol } from './protocol.js';
import { DATA_CIPHER, DATA_LAYOUT, SessionTransport } from './session-transport.js';
import { TunnelPeer } from './tunnel-peer.js';

/** Handshake messages that wait; more are dropped. */
const MAX_WAITING = 256;
/** DSCP AF41 and ECN-capable, as Linux sends handshake messages. */
const HANDSHAKE_TOS = 0x88;

/** What an {@link Engine} tells whoever owns it. */
export interface EngineListener {
  /** Both sides have new keys. */
  handshake(peer: TunnelPeer): void;
  /** The peer sends from another endpoint. */
  roamed(peer: TunnelPeer): void;
  /** The peer did not answer any more, or its keys were deleted since they were not used. */
  expired(peer: TunnelPeer, reason: 'unanswered' | 'wiped'): void;
  /** Initiation number `count` follows without an answer to those before. */
  retransmitted(peer: TunnelPeer, count: number): void;
}

/** Where a handshake message came from, and which address of this host it came to. */
interface DatagramSource extends Source {
  readonly entry: DatagramTable;
}

/** A tunnel at work: the protocol's core, its clock, and the way of the data. */
export class Engine implements DataPathOwner {
  readonly allowedIps = new AllowedIps<TunnelPeer>();
  readonly prefixes = this.allowedIps.table;
  readonly sessions: SessionTable;
  readonly protocol: Protocol<SessionTransport>;
  readonly stagedLimit: number;
  readonly mtu: number;
  readonly #listener: EngineListener;
  readonly #now: () => number;
  readonly #dataPath: DataPath;
  readonly #peers: (TunnelPeer | undefined)[] = [];
  readonly #ofCore = new Map<Peer<SessionTransport>, TunnelPeer>();
  readonly #waiting: { readonly message: Buffer; readonly source: DatagramSource }[] = [];
  #working = false;
  #socket: UdpBatchSocket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #deadline = Number.POSITIVE_INFINITY;

  /**
   * @param now milliseconds of a clock that never goes back and counts suspended time
   * @param threads how many seal and send what goes to peers; 0: the caller's
   */
  constructor(
    mtu: number,
    listener: EngineListener,
    now: () => number,
    threads = 0,
    environment: Environment = ENVIRONMENT,
  ) {
    this.mtu = mtu;
    this.#listener = listener;
    this.#now = now;
    const { rejectAfterMessages, stagedPackets } = environment.limits;
    this.stagedLimit = stagedPackets;
    this.sessions = new SessionTable(DATA_CIPHER, { ...DATA_LAYOUT, counterLimit: rejectAfterMessages });
    this.protocol = new Protocol(
      (parameters, core) =>
        new SessionTransport(parameters, this.sessions, this.#of(core).number, rejectAfterMessages, threads),
      environment,
    );
    // What peers send before there is a socket would be lost, and they would wait for the answer.
    this.protocol.stop();
    this.#dataPath = new DataPath(this, threads, now === bootTime);
  }

  /** All peers, in the order in which they were added. */
  get peers(): Iterable<TunnelPeer> {
    this.#dataPath.keepBooks();
    return this.#ofCore.values();
  }

  /** The peer with a public key, which is added if `add` is set. Undefined also for the own key. */
  peerWithKey(publicKey: Uint8Array, add: boolean): TunnelPeer | undefined {
    this.#dataPath.keepBooks();
    const core = add ? this.protocol.addPeer(publicKey) : this.protocol.peer(publicKey);
    if (!core) return undefined;
    const existing = this.#ofCore.get(core);
    if (existing) return existing;
    const free = this.#peers.indexOf(undefined);
    const number = free === -1 ? this.#peers.length : free;
    const peer = new TunnelPeer(number, core);
    this.#peers[number] = peer;
    this.#ofCore.set(core, peer);
    return peer;
  }

  /** Removes a peer, its keys and its prefixes. */
  removePeer(peer: TunnelPeer): void {
    this.allowedIps.removePeer(peer);
    this.protocol.removePeer(peer.core);
    this.settle();
    this.#dataPath.keysChanged(peer);
    peer.takeStaged();
    this.#peers[peer.number] = undefined;
    this.#ofCore.delete(peer.core);
  }

  /** Sets the private key; without one, nothing is sent or answered. A peer that is this device itself goes. */
  setPrivateKey(privateKey: Uint8Array | undefined): void {
    this.protocol.setPrivateKey(privateKey);
    const kept = new Set(this.protocol.peers);
    for (const peer of [...this.peers]) {
      this.#dataPath.keysChanged(peer);
      if (!kept.has(peer.core)) this.removePeer(peer);
    }
    this.settle();
  }

  /** Reads the device until it is closed. */
  serve(tun: TunDevice): Promise<void> {
    return this.#dataPath.send(tun, () => this.#socket);
  }

  /** Sends and receives by this socket, until it is closed or another one takes its place. */
  listen(socket: UdpBatchSocket, tun: TunDevice): Promise<void> {
    this.#socket = socket;
    this.#dataPath.useSocket(socket);
    this.protocol.start(this.#now());
    this.settle();
    return this.#dataPath.receive(socket, tun);
  }

  /** Deletes all session keys; nothing is sent or answered until {@link listen}. */
  stop(): void {
    this.#dataPath.keepBooks();
    this.protocol.stop();
    this.settle();
    this.#socket = undefined;
    this.#dataPath.useSocket(undefined);
    this.#waiting.length = 0;
  }

  now(): number {
    return this.#now();
  }

  peer(number: number): TunnelPeer | undefined {
    return this.#peers[number];
  }

  keypair(index: number): Keypair<SessionTransport> | undefined {
    return this.protocol.find(index)?.keypair;
  }

  roamed(peer: TunnelPeer): void {
    this.#listener.roamed(peer);
  }

  /**
   * Takes handshake messages one at a time, so that many of them leave time for data. One that is for nobody here takes
   * no place: who does not know the public key can't keep others out.
   */
  handshake(message: Buffer, table: DatagramTable, at: number): void {
    if (this.#waiting.length >= MAX_WAITING || !this.protocol.isForHere(message)) return;
    const entry = new DatagramTable(1);
    entry.copy(0, table, at);
    const source = { address: entry.addressBytes(0), port: entry.port(0), entry };
    this.#waiting.push({ message: Buffer.from(message), source });
    if (!this.#working) {
      this.#working = true;
      setImmediate(this.#work);
    }
  }

  readonly #work = (): void => {
    this.#dataPath.keepBooks();
    const next = this.#waiting.shift();
    if (next) this.protocol.receiveHandshake(next.message, next.source, this.#now(), this.#waiting.length);
    this.settle();
    this.#working = this.#waiting.length > 0;
    if (this.#working) setImmediate(this.#work);
  };

  /**
   * Does what the core asks for, and sets the timer. That one stands still while the machine is suspended, so what became
   * due meanwhile is done as soon as anything comes or goes.
   */
  settle(): void {
    if (this.#now() >= this.#deadline) this.#tickCore();
    for (
      let actions = this.protocol.takeActions();
      actions.length > 0;
      actions = this.protocol.takeActions()
    ) {
      for (const action of actions) this.#do(action);
    }
    this.#schedule();
  }

  #do(action: Action<SessionTransport>): void {
    const socket = this.#socket;
    if (action.type === 'reply') {
      const { entry } = action.source as DatagramSource;
      if (socket) this.#send(action.message, entry, socket);
      return;
    }
    const peer = this.#of(action.peer);
    switch (action.type) {
      case 'send':
        if (!socket || !peer.endpoint) return;
        this.#send(action.message, peer.route, socket);
        if (peer.core.retransmissions > 0) this.#listener.retransmitted(peer, peer.core.retransmissions);
        return;
      case 'endpoint':
        if (peer.follow((action.source as DatagramSource).entry, 0)) this.#listener.roamed(peer);
        return;
      case 'forget-source':
        peer.forgetSource();
        return;
      case 'keepalive':
        if (socket && !this.#dataPath.sendStaged(peer, socket)) this.#dataPath.sendKeepalive(peer, socket);
        return;
      case 'send-staged':
        if (socket) this.#dataPath.sendStaged(peer, socket);
        return;
      case 'drop-staged':
        peer.takeStaged();
        return;
      case 'handshake':
        this.#dataPath.keysChanged(peer);
        this.#listener.handshake(peer);
        return;
      case 'expired':
        this.#listener.expired(peer, action.reason);
    }
  }

  #send(message: Buffer, route: DatagramTable, socket: UdpBatchSocket): void {
    route.setTos(0, HANDSHAKE_TOS);
    this.#dataPath.sendMessage(message, route, socket);
  }

  /** One timer for all peers, at the earliest deadline. */
  #schedule(): void {
    const next = this.protocol.nextDeadline;
    if (next === this.#deadline) return;
    this.#deadline = next;
    clearTimeout(this.#timer);
    if (next === Number.POSITIVE_INFINITY) return;
    const delay = Math.min(Math.max(0, next - this.#now()), 0x7fff_ffff);
    this.#timer = setTimeout(this.#tick, Math.ceil(delay));
  }

  readonly #tick = (): void => {
    this.#deadline = Number.POSITIVE_INFINITY;
    this.#tickCore();
    this.settle();
  };

  #tickCore(): void {
    this.#dataPath.keepBooks();
    this.protocol.tick(this.#now());
  }

  #of(core: Peer<SessionTransport>): TunnelPeer {
    const peer = this.#ofCore.get(core);
    if (!peer) throw new Error('A peer of the core is missing');
    return peer;
  }

  /** Deletes all keys and ends the timer. */
  close(): void {
    this.stop();
    for (const peer of [...this.peers]) this.removePeer(peer);
    this.protocol.setPrivateKey(undefined);
    this.#dataPath.close();
    this.sessions.dispose();
    clearTimeout(this.#timer);
    this.#deadline = Number.POSITIVE_INFINITY;
  }
}

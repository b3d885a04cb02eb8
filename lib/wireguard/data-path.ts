import type { TunDevice } from '../device/tun-tap-device.js';
import { PacketBatch } from '../io/packet-batch.js';
import { PacketRuns } from '../io/packet-runs.js';
import { closingOnError } from '../native/descriptor.js';
import { EINVAL, ENETUNREACH } from '../native/errno.js';
import { LAYOUT } from '../native/layout.js';
import { DatagramTable } from '../socket/datagram-table.js';
import type { UdpBatchSocket } from '../socket/udp-batch-socket.js';
import type { PrefixTable } from '../tunnel/prefix-table.js';
import { SealingThreads } from '../tunnel/sealing-threads.js';
import type { SessionTable } from '../tunnel/session-table.js';
import { Shortcut } from '../tunnel/shortcut.js';
import type { Keypair } from './keypair.js';
import { DATA_OVERHEAD, MessageType, messageType } from './messages.js';
import { ROOM, type SessionTransport } from './session-transport.js';
import { forgetSource, type TunnelPeer } from './tunnel-peer.js';

const PADDING = LAYOUT.kShortcutPadding;
const MAX_RUNS = 4096;
/** To wake a thread costs as much as to seal some packets. */
const FEW_PACKETS = 8;

/** The local address that the peer sent to, or its link, may be gone. */
const isWithoutSource = (status: number): boolean => status === EINVAL || status === ENETUNREACH;

/** What the data path needs of the device that it belongs to. */
export interface DataPathOwner {
  readonly prefixes: PrefixTable;
  readonly sessions: SessionTable;
  readonly stagedLimit: number;
  /** The tunnel's MTU, which padding never exceeds. */
  readonly mtu: number;
  now(): number;
  peer(number: number): TunnelPeer | undefined;
  /** The keypair that a session's index belongs to. */
  keypair(index: number): Keypair<SessionTransport> | undefined;
  /** A datagram that may be a handshake message, to be copied, and where it came from. */
  handshake(message: Buffer, table: DatagramTable, entry: number): void;
  /** The peer's endpoint changed since it sent from another one. */
  roamed(peer: TunnelPeer): void;
  /** The core may have something to do. */
  settle(): void;
}

/**
 * Moves the packets of a tunnel: from the device, sealed, to the peers; and back, opened, to the device. Packets of a
 * peer with valid keys pass in runs, without JavaScript for each.
 */
export class DataPath {
  readonly #owner: DataPathOwner;
  readonly #runs = new PacketRuns(MAX_RUNS);
  readonly #receivedRuns = new PacketRuns(MAX_RUNS);
  /** Where the packets of each run go. */
  readonly #routes = new DatagramTable(256);
  /** For packets that do not come in a batch: staged ones and keepalives. */
  readonly #single = new PacketBatch({ ...ROOM, capacity: 128 });

  readonly #threads: SealingThreads | undefined;
  readonly #shortcut: Shortcut | undefined;
  /** By which the shortcut seals, by the peer's number. */
  readonly #shortcutKeypairs: (Keypair<SessionTransport> | undefined)[] = [];
  #tun: TunDevice | undefined;
  /** The peer of the first packet of each batch that threads sent last. */
  readonly #firstPeers = new WeakMap<PacketBatch, TunnelPeer>();

  /**
   * @param threads how many seal and send; 0: the caller's
   * @param shortcut whether native code may carry packets by itself, which it does by the clock of `bootTime()`
   */
  constructor(owner: DataPathOwner, threads: number, shortcut: boolean) {
    this.#owner = owner;
    if (shortcut) {
      const { mtu, prefixes, sessions } = owner;
      const runs = { sentRuns: this.#runs, receivedRuns: this.#receivedRuns, routes: this.#routes };
      this.#shortcut = new Shortcut({ mtu, prefixes, sessions, ...runs }, () => {
        this.keepBooks();
        owner.settle();
      });
    }
    const begin = () => (threads === 0 ? undefined : new SealingThreads(threads, ROOM));
    this.#threads = closingOnError({ close: () => this.#shortcut?.[Symbol.dispose]() }, begin);
  }

  /** Sends what the device gives, until it is closed. */
  async send(tun: TunDevice, socket: () => UdpBatchSocket | undefined): Promise<void> {
    this.#tun = tun;
    const batches = this.#threads ? tun.batches(this.#nextBatch) : tun.batches();
    for await (const batch of batches) this.#sendBatch(batch, socket());
  }

  /** Where packets are sent; undefined: nowhere. What threads have goes to where it should before. */
  useSocket(socket: UdpBatchSocket | undefined): void {
    this.#threads?.useSocket(socket);
    if (!this.#shortcut || !this.#tun) return;
    if (!this.#threads) this.#shortcut.toSocket(this.#tun, socket);
    if (socket) this.#shortcut.toDevice(socket, this.#tun);
  }

  /** The peer may send by another keypair than before, or by none. */
  keysChanged(peer: TunnelPeer): void {
    this.keepBooks();
    this.#shortcut?.removeSender(peer.number);
    this.#shortcutKeypairs[peer.number] = undefined;
  }

  /** Keeps the books of what native code has carried by itself. The core may have something to do then. */
  keepBooks(): void {
    for (const book of this.#shortcut?.takeBooks() ?? []) {
      const { sentBytes, sentAt, receivedBytes, receivedAt, hasData } = book;
      const core = this.#owner.peer(book.peer)?.core;
      const keypair = this.#owner.keypair(book.localIndex);
      const sentFirst = sentAt <= receivedAt;
      if (sentBytes > 0 && sentFirst) core?.dataSent(sentAt, sentBytes);
      if (receivedBytes > 0 && keypair) core?.received(keypair, receivedAt, hasData, receivedBytes);
      if (sentBytes > 0 && !sentFirst) core?.dataSent(sentAt, sentBytes);
    }
  }

  /** Ends the threads and the timer. */
  close(): void {
    this.#threads?.[Symbol.dispose]();
    this.#shortcut?.[Symbol.dispose]();
  }

  /** Gives the device what the socket receives, until it is closed. */
  async receive(socket: UdpBatchSocket, tun: TunDevice): Promise<void> {
    for await (const batch of socket.batches()) {
      this.#receiveBatch(batch, socket.received, tun);
      this.#owner.settle();
    }
  }

  /** Sends the packets of a peer that wait for a keypair; returns whether there were any. */
  sendStaged(peer: TunnelPeer, socket: UdpBatchSocket): boolean {
    const any = peer.stagedCount > 0;
    while (peer.stagedCount > 0) {
      const batch = this.#single;
      const keypair = peer.core.keypairToSend(this.#owner.now(), Math.min(peer.stagedCount, batch.capacity));
      if (!keypair) break;
      batch.clear();
      for (const packet of peer.takeStaged(batch.capacity)) batch.push(packet);
      this.#sealRun(batch, peer, keypair, 0, batch.length);
      this.#write(batch, peer, 0, socket);
    }
    return any;
  }

  /** Sends an empty message. */
  sendKeepalive(peer: TunnelPeer, socket: UdpBatchSocket): void {
    const keypair = peer.core.keypairToSend(this.#owner.now());
    if (!keypair) return;
    const batch = this.#single;
    batch.clear();
    batch.push(new Uint8Array(0));
    keypair.transport.aead.sealBatch(batch, keypair.transport.header);
    peer.core.keepaliveSent(this.#owner.now(), DATA_OVERHEAD);
    this.#write(batch, peer, 0, socket);
  }

  readonly #nextBatch = (): PacketBatch => {
    const batch = (this.#threads as SealingThreads).next();
    const peer = this.#firstPeers.get(batch);
    if (peer && batch.length > 0 && isWithoutSource(batch.status(0))) peer.forgetSource();
    return batch;
  };

  #sendBatch(batch: PacketBatch, socket: UdpBatchSocket | undefined): void {
    const runs = this.#runs;
    this.keepBooks();
    if (this.#shortcut?.takeSent(batch)) {
      this.#wasSent(batch, socket);
      return;
    }
    this.#owner.prefixes.runsByDestination(batch, runs);
    const many = batch.length >= FEW_PACKETS || this.#threads?.idle === false;
    const threads = many ? this.#threads : undefined;
    let first: TunnelPeer | undefined;
    for (let run = 0; run < runs.length; run++) {
      const [start, end] = [runs.start(run), runs.end(run)];
      const peer = this.#owner.peer(runs.value(run));
      const keypair = socket && peer?.core.keypairToSend(this.#owner.now(), end - start);
      if (!peer || !keypair) {
        if (socket) peer?.stage(batch, start, end, this.#owner.stagedLimit);
        for (let i = start; i < end; i++) batch.drop(i);
        continue;
      }
      this.#sealRun(batch, peer, keypair, start, end, threads);
      if (!threads) this.#useForShortcut(peer, keypair);
      this.#routes.copy(run, peer.route, 0);
      this.#routes.setTos(run, runs.ecn(run));
      first ??= peer;
    }
    if (threads && first) {
      this.#firstPeers.set(batch, first);
      threads.send(this.#routes, runs);
    } else if (socket && first) {
      this.#writeRuns(batch, socket);
    }
    this.#owner.settle();
  }

  /** Does what is left to do for a batch that native code has sealed and sent. */
  #wasSent(batch: PacketBatch, socket: UdpBatchSocket | undefined): void {
    const now = this.#owner.now();
    for (let run = 0; run < this.#runs.length; run++) {
      this.#owner.peer(this.#runs.value(run))?.core.dataSent(now, this.#runs.bytes(run));
    }
    const taken = batch.transferred;
    socket?.settleBatch(batch, taken);
    if (socket && taken < batch.length) this.#sendAgain(batch, socket);
    this.#owner.settle();
  }

  #useForShortcut(peer: TunnelPeer, keypair: Keypair<SessionTransport>): void {
    if (this.#shortcutKeypairs[peer.number] === keypair) return;
    this.#shortcut?.setSender(peer.number, { ...keypair.transport, route: peer.route });
    this.#shortcutKeypairs[peer.number] = keypair;
  }

  #sealRun(
    batch: PacketBatch,
    peer: TunnelPeer,
    { transport: { aead, header } }: Keypair<SessionTransport>,
    start: number,
    end: number,
    threads?: SealingThreads,
  ): void {
    const padding = { multiple: PADDING, limit: this.#owner.mtu };
    if (threads) {
      peer.core.dataSent(this.#owner.now(), threads.sealBatch(aead, header, start, end, padding));
    } else {
      aead.sealBatch(batch, header, start, end, padding);
      peer.core.dataSent(this.#owner.now(), batch.transferredBytes);
    }
  }

  /** Sends a batch, each of its runs to its peer. What the kernel refuses is lost, as on any network. */
  #writeRuns(batch: PacketBatch, socket: UdpBatchSocket): void {
    const taken = socket.writeBatch(batch, this.#routes, 0, this.#runs);
    if (taken < batch.length) this.#sendAgain(batch, socket);
  }

  /** Sends what was refused since a peer's local address or link is gone, and nothing else, once more without them. */
  #sendAgain(batch: PacketBatch, socket: UdpBatchSocket): void {
    const runs = this.#runs;
    let any = false;
    for (let run = 0; run < runs.length; run++) {
      let refused = false;
      for (let i = runs.start(run); i < runs.end(run); i++) {
        if (!batch.isDropped(i) && isWithoutSource(batch.status(i))) refused = true;
        else batch.drop(i);
      }
      if (!refused) continue;
      this.#owner.peer(runs.value(run))?.forgetSource();
      forgetSource(this.#routes, run);
      any = true;
    }
    if (any) socket.writeBatch(batch, this.#routes, 0, runs);
  }

  /** Sends a handshake message. */
  sendMessage(message: Uint8Array, route: DatagramTable, socket: UdpBatchSocket): void {
    const batch = this.#single;
    batch.clear();
    batch.push(message);
    this.#writeTo(batch, route, socket);
  }

  #write(batch: PacketBatch, peer: TunnelPeer, tos: number, socket: UdpBatchSocket): void {
    peer.route.setTos(0, tos);
    this.#writeTo(batch, peer.route, socket);
  }

  /** Sends a batch. What the kernel refuses is lost, as on any network. */
  #writeTo(batch: PacketBatch, route: DatagramTable, socket: UdpBatchSocket): void {
    if (socket.writeBatch(batch, route) > 0 || !isWithoutSource(batch.status(0))) return;
    forgetSource(route, 0);
    socket.writeBatch(batch, route);
  }

  /** Gives the device what was received, unless native code has done so. */
  #receiveBatch(batch: PacketBatch, datagrams: DatagramTable, tun: TunDevice): void {
    this.keepBooks();
    if (this.#shortcut?.takeReceived(batch)) {
      const taken = batch.transferred;
      if (this.#takeRuns(batch, datagrams)) tun.settleBatch(batch, 0, taken);
      return;
    }
    const { sessions, prefixes } = this.#owner;
    sessions.openBatch(batch, this.#receivedRuns, { sources: prefixes, datagrams });
    if (this.#takeRuns(batch, datagrams)) tun.writeBatch(batch);
  }

  /** Keeps the books of what was opened; returns whether there is something for the device. */
  #takeRuns(batch: PacketBatch, datagrams: DatagramTable): boolean {
    const runs = this.#receivedRuns;
    let any = false;
    for (let run = 0; run < runs.length; run++) {
      const peer = this.#owner.peer(runs.value(run));
      const keypair = peer && this.#owner.keypair(runs.sessionIndex(run));
      if (!peer || !keypair) this.#takeOthers(batch, datagrams, runs.start(run), runs.end(run));
      else if (runs.packets(run) > 0 && this.#received(peer, keypair, runs, run, batch, datagrams))
        any = true;
    }
    return any;
  }

  #received(
    peer: TunnelPeer,
    keypair: Keypair<SessionTransport>,
    runs: PacketRuns,
    run: number,
    batch: PacketBatch,
    datagrams: DatagramTable,
  ): boolean {
    const now = this.#owner.now();
    const hasData = runs.dataPackets(run) > 0;
    if (!keypair.mayReceive(now)) {
      for (let i = runs.start(run); i < runs.end(run); i++) batch.drop(i);
      return false;
    }
    if (peer.follow(datagrams, runs.lastPacket(run))) this.#owner.roamed(peer);
    peer.core.received(keypair, now, hasData, runs.bytes(run));
    return hasData;
  }

  /** Takes what is no data message of a known session out of a batch. */
  #takeOthers(batch: PacketBatch, datagrams: DatagramTable, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      const datagram = batch.at(i);
      const type = messageType(datagram);
      if (type !== undefined && type !== MessageType.data) {
        this.#owner.handshake(datagram, datagrams, i);
      }
      batch.drop(i);
    }
  }
}

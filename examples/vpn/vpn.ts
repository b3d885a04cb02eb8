/** What client and server share: the device, the socket, the packets between them, a clock, and an orderly end. */

import { openTun, type TunDevice } from 'tuntap-native';
import { type Endpoint, openUdp, type UdpBatchSocket } from 'tuntap-native/tunnel';
import { AllowedAddresses } from './allowed-addresses.ts';
import type { ClientConfig, ServerConfig } from './config.ts';
import { DataPath, type DataPathEvents, ROOM } from './data-path.ts';
import type { SessionKeys } from './handshake.ts';
import type { Peer } from './peer.ts';
import { addRoutes } from './routes.ts';
import { Session, SessionTable } from './session.ts';
import { Statistics } from './statistics.ts';

// The socket's buffers hold what comes while the other direction has its turn; the kernel may grant less.
const BUFFER = 7 * 1024 * 1024;
const TICK_MS = 100;
// After so many keepalives without an answer the peer counts as gone.
const SILENT_KEEPALIVES = 3;

/** A side's part in the protocol. */
export interface Role extends DataPathEvents {
  /** Called ten times a second. */
  tick(now: number): void;
}

export class Vpn {
  readonly config: ClientConfig | ServerConfig;
  readonly sessions = new SessionTable();
  readonly allowed = new AllowedAddresses<Peer>();
  readonly peers: Peer[] = [];
  readonly #networks: string[] = [];
  #tun: TunDevice | undefined;
  #socket: UdpBatchSocket | undefined;
  #path: DataPath | undefined;

  constructor(config: ClientConfig | ServerConfig) {
    this.config = config;
  }

  addPeer(peer: Peer, networks: readonly string[]): void {
    this.peers.push(peer);
    this.#networks.push(...networks);
    for (const network of networks) this.allowed.add(network, peer);
  }

  /**
   * Opens device and socket and carries packets until the signal aborts. Rejects where something of it fails for good;
   * either way nothing is left behind.
   * @param local where the socket listens
   * @param around the server, whose datagrams go round the tunnel
   */
  async run(role: Role, local: Endpoint, signal: AbortSignal, around?: Endpoint): Promise<void> {
    const { addresses, mtu, keepaliveSeconds } = this.config;
    await using socket = openUdp({
      address: local.address,
      port: local.port,
      receiveBuffer: BUFFER,
      sendBuffer: BUFFER,
    });
    await using tun = openTun(this.config.interface, {
      addresses,
      mtu,
      up: true,
      txQueueLength: 1000,
      ...ROOM,
    });
    this.#socket = socket;
    this.#tun = tun;
    const path = new DataPath({ tun, socket, sessions: this.sessions, allowed: this.allowed });
    this.#path = path;
    const removeRules = await addRoutes(tun.name, this.#networks, around);
    const stop = (): void => {
      void socket.close();
      tun.close();
    };
    const ticking = setInterval(() => this.#tick(role), TICK_MS);
    const reporting = this.#report(path);
    try {
      if (signal.aborted) return;
      signal.addEventListener('abort', stop);
      this.log(`${tun.name} is up, ${socket.local} listens, keepalive ${keepaliveSeconds} s`);
      this.#tick(role);
      // Whichever ends first ends the other.
      const ways = [path.sendPackets(), path.receivePackets(role)];
      await Promise.race(ways).finally(stop);
      await Promise.all(ways);
    } finally {
      signal.removeEventListener('abort', stop);
      clearInterval(ticking);
      clearInterval(reporting);
      await removeRules();
      for (const peer of this.peers) peer.expire(Number.POSITIVE_INFINITY);
    }
  }

  /** Makes the session that a handshake gave keys for. */
  establish(peer: Peer, index: number, keys: SessionKeys): Session {
    const { cipher, rekeyPackets } = this.config;
    const session = new Session(peer, index, cipher, keys, 2 * rekeyPackets);
    this.sessions.add(session);
    peer.traffic.handshakes++;
    return session;
  }

  /** Sends a handshake message; like any datagram it may be lost. */
  send(message: Uint8Array, to: Endpoint): void {
    try {
      this.#socket?.send(message, to);
    } catch (error) {
      this.log(`${to}: ${(error as Error).message}`);
    }
  }

  sendKeepalive(peer: Peer): void {
    this.#path?.sendKeepalive(peer);
  }

  /** Whose datagram it was that entry `index` of the batch just read belongs to. */
  received(index: number, known: Endpoint | undefined): Endpoint | undefined {
    const table = this.#socket?.received;
    return known !== undefined && table?.isRemote(index, known) ? known : table?.remote(index);
  }

  /** Whether nothing has come from the peer for too long. */
  isSilent(peer: Peer, now: number): boolean {
    return now - peer.receivedAt > SILENT_KEEPALIVES * 1000 * this.config.keepaliveSeconds;
  }

  log(text: string): void {
    console.log(text);
  }

  #tick(role: Role): void {
    if (this.#tun === undefined || this.#tun.destroyed) return;
    const now = performance.now();
    role.tick(now);
    const { keepaliveSeconds, rekeySeconds } = this.config;
    for (const peer of this.peers) {
      peer.expire(now - 1500 * rekeySeconds);
      if (peer.current && now - peer.sentAt >= 1000 * keepaliveSeconds) this.sendKeepalive(peer);
    }
  }

  #report(path: DataPath): NodeJS.Timeout | undefined {
    const { statisticsSeconds } = this.config;
    if (statisticsSeconds === 0) return undefined;
    const lines = this.peers.map((peer) => ({ peer, statistics: new Statistics(peer.traffic) }));
    return setInterval(() => {
      for (const { peer, statistics } of lines) this.log(`${peer.name}: ${statistics.line()}`);
      if (path.strange > 0) this.log(`${path.strange} datagrams belonged to no session`);
    }, 1000 * statisticsSeconds);
  }
}

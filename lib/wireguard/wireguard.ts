import { EventEmitter } from 'node:events';
import { codedError } from '../arguments.js';
import type { LinkEvent } from '../device/device-link.js';
import type { TunDevice } from '../device/tun-tap-device.js';
import type { UdpBatchSocket } from '../socket/udp-batch-socket.js';
import { interfaceChange, numericEndpoint, peerChange, resolveEndpoint } from './checks.js';
import type { ControlledDevice, DeviceChanges, DeviceState, PeerChange } from './controlled-device.js';
import { Engine } from './engine.js';
import { clampKey, formatKey, parseKey } from './keys.js';
import type { Key, PeerInfo } from './options.js';
import { peerInfo, peerState } from './peer-views.js';
import { type RoutedPeer, RoutedPeers } from './routed-peers.js';
import type { TunnelRoutes } from './routes.js';
import type { TunnelPeer } from './tunnel-peer.js';
import type { InterfaceChanges, PeerChanges, WireGuardEvents, WireGuardParts } from './tunnel-types.js';

// A host name is looked up again after this many initiations without an answer.
const RESOLVE_AFTER = 3;
const FOLLOW_AFTER = 1000;

/** A WireGuard tunnel, made by `openWireGuard`. */
export class WireGuard extends EventEmitter<WireGuardEvents> implements AsyncDisposable, ControlledDevice {
  /** @internal */
  readonly tun: TunDevice;
  readonly #engine: Engine;
  readonly #parts: WireGuardParts;
  #socket: UdpBatchSocket | undefined;
  #privateKey: Buffer | undefined;
  #listenPort: number;
  #fwmark: number;
  #closed: Promise<void> | undefined;
  #routes: TunnelRoutes | undefined;
  #following: NodeJS.Timeout | undefined;
  #started = false;
  readonly #undo: (() => Promise<void> | void)[] = [];

  /** @internal */
  constructor(parts: WireGuardParts) {
    super();
    this.#parts = parts;
    this.tun = parts.tun;
    this.#listenPort = parts.listenPort;
    this.#fwmark = parts.fwmark;
    const listener = {
      handshake: (peer: TunnelPeer) => this.emit('handshake', this.#describe(peer)),
      roamed: (peer: TunnelPeer) => {
        this.#followEndpoint(peer);
        this.emit('roam', this.#describe(peer));
      },
      expired: (peer: TunnelPeer, reason: 'unanswered' | 'wiped') =>
        this.emit('expired', this.#describe(peer), reason),
      retransmitted: (peer: TunnelPeer, count: number) => this.#resolveAgain(peer, count),
    };
    this.#engine = new Engine(parts.mtu, listener, parts.now, parts.threads, parts.environment);
  }

  /** The interface's name. */
  get name(): string {
    return this.tun.name;
  }

  /** The interface's public key, if it has a private one. */
  get publicKey(): string | undefined {
    const key = this.#engine.protocol.publicKey;
    return key && formatKey(key);
  }

  /** The UDP port; 0 while the interface is down and none was asked for. */
  get listenPort(): number {
    return this.#listenPort;
  }

  /** The mark of outgoing datagrams; 0: none. */
  get fwmark(): number {
    return this.#fwmark;
  }

  /** What all peers together sent and received, in bytes of UDP payload. */
  get counters(): Pick<PeerInfo, 'rxBytes' | 'txBytes'> {
    let [rxBytes, txBytes] = [0, 0];
    for (const { core } of this.#engine.peers) {
      rxBytes += core.bytesReceived;
      txBytes += core.bytesSent;
    }
    return { rxBytes, txBytes };
  }

  /** All peers, in the order in which they were added. */
  peers(): PeerInfo[] {
    return [...this.#engine.peers].map((peer) => this.#describe(peer));
  }

  /**
   * Changes a peer, or adds it. A host name as endpoint is looked up before anything changes. If that or a route fails,
   * nothing has changed.
   * @throws Error `ERR_WG_KEY`, `ERR_WG_ENDPOINT`, `ERR_WG_ALLOWED_IP`, `ERR_WG_CLOSED`; EEXIST if another link has a route to
   * one of the networks
   */
  async setPeer(changes: PeerChanges): Promise<void> {
    this.#requireOpen();
    await this.apply({ replacePeers: false, peers: [peerChange('peer', changes)] });
  }

  /** Removes a peer and deletes its keys. @returns whether there was one @throws Error `ERR_WG_KEY`, `ERR_WG_CLOSED` */
  async removePeer(publicKey: Key): Promise<boolean> {
    this.#requireOpen();
    const peer = this.#engine.peerWithKey(parseKey('publicKey', publicKey), false);
    if (peer) this.#engine.removePeer(peer);
    await this.#updateRoutes();
    return peer !== undefined;
  }

  /**
   * Changes the interface. If the port can't be had, nothing changes.
   * @throws system errors such as EADDRINUSE; Error `ERR_WG_KEY`, `ERR_WG_CLOSED`
   */
  async set(changes: InterfaceChanges): Promise<void> {
    this.#requireOpen();
    await this.apply(interfaceChange(changes));
  }

  /** The state as the control socket tells it. @internal */
  get(): DeviceState {
    return {
      privateKey: this.#privateKey,
      listenPort: this.#listenPort,
      fwmark: this.#fwmark,
      peers: [...this.#engine.peers].map((peer) => peerState(peer, this.#engine.allowedIps.prefixes(peer))),
    };
  }

  /** Changes all that is asked for, or if something fails, nothing. @internal */
  async apply({ privateKey, listenPort, fwmark, replacePeers, peers }: DeviceChanges): Promise<void> {
    this.#requireOpen();
    const changes = await Promise.all(peers.map((change) => this.#resolve(change)));
    this.#requireOpen();
    // What can fail comes first.
    const markBefore = this.#fwmark;
    if (fwmark !== undefined) this.setMark(fwmark);
    try {
      const future = new RoutedPeers(replacePeers ? [] : this.#routedPeers());
      for (const change of changes) future.apply(change);
      await this.#routes?.update(future.allowedIps, future.endpoints);
      this.#requireOpen();
      if (listenPort !== undefined && (listenPort !== this.#listenPort || listenPort === 0))
        this.#rebind(listenPort);
    } catch (error) {
      if (fwmark !== undefined && !this.#closed) this.setMark(markBefore);
      await this.#updateRoutes().catch(() => {});
      throw error;
    }
    if (privateKey !== undefined) this.#setPrivateKey(privateKey ?? undefined);
    if (replacePeers) for (const peer of [...this.#engine.peers]) this.#engine.removePeer(peer);
    for (const change of changes) this.#applyChange(change);
    // A new key may be that of a peer, which is none then.
    if (privateKey) await this.#updateRoutes();
  }

  async #resolve(change: PeerChange): Promise<PeerChange> {
    if (change.endpoint === undefined || change.resolved) return change;
    const { signal, findLink } = this.#parts;
    return { ...change, resolved: await resolveEndpoint(change.endpoint, findLink, signal) };
  }

  /** Makes the routes that the peers need, from now on. @internal */
  async useRoutes(routes: TunnelRoutes): Promise<void> {
    this.#routes = routes;
    this.onClose(() => routes.close());
    await this.#updateRoutes();
  }

  async #updateRoutes(): Promise<void> {
    if (!this.#routes) return;
    const { allowedIps, endpoints } = new RoutedPeers(this.#routedPeers());
    await this.#routes.update(allowedIps, endpoints);
  }

  #routedPeers(): RoutedPeer[] {
    return [...this.#engine.peers].map((peer) => ({
      publicKey: peer.core.publicKey,
      endpoint: peer.endpoint,
      allowedIps: this.#engine.allowedIps.prefixes(peer),
    }));
  }

  /** A network that an endpoint moved into needs another route. Whoever moves on and on costs an update a second. */
  #followEndpoint({ endpoint }: TunnelPeer): void {
    if (!this.#routes || !endpoint || this.#following) return;
    const [address] = endpoint.address.split('%');
    if (this.#engine.prefixes.lookup(address) === undefined) return;
    this.#following = setTimeout(() => {
      this.#following = undefined;
      // If it fails, the routes are as before.
      this.#updateRoutes().catch(() => {});
    }, FOLLOW_AFTER);
  }

  /** Marks what the socket sends. @internal */
  setMark(fwmark: number): void {
    this.#socket?.setMark(fwmark);
    this.#fwmark = fwmark;
  }

  #setPrivateKey(privateKey: Uint8Array | undefined): void {
    this.#privateKey?.fill(0);
    if (privateKey) clampKey(privateKey);
    this.#privateKey = privateKey && Buffer.from(privateKey.buffer, privateKey.byteOffset, privateKey.length);
    this.#engine.setPrivateKey(privateKey);
  }

  #applyChange(change: PeerChange): void {
    const { publicKey, updateOnly, remove, presharedKey, endpoint, resolved } = change;
    const peer = this.#engine.peerWithKey(publicKey, !updateOnly && !remove);
    if (peer && remove) {
      this.#engine.removePeer(peer);
    } else if (peer) {
      if (change.replaceAllowedIps) this.#engine.allowedIps.removePeer(peer);
      if (presharedKey) peer.core.setPresharedKey(presharedKey);
      if (endpoint !== undefined && resolved) {
        peer.setEndpoint(resolved);
        peer.hostEndpoint = numericEndpoint(endpoint) ? undefined : endpoint;
      }
      for (const prefix of change.allowedIps) {
        if (prefix.remove) this.#engine.allowedIps.remove(prefix, peer);
        else this.#engine.allowedIps.add(prefix, peer);
      }
      this.#settlePeer(peer, change.persistentKeepalive);
    }
    presharedKey?.fill(0);
  }

  #settlePeer(peer: TunnelPeer, persistentKeepalive: number | undefined): void {
    if (persistentKeepalive !== undefined) {
      peer.core.setPersistentKeepalive(persistentKeepalive, this.#engine.now());
    }
    this.#engine.settle();
  }

  /** Begins to carry packets, and follows the link: while it is down, nothing is sent or answered. @internal */
  start(): void {
    this.#requireOpen();
    this.#started = true;
    this.tun.on('link', this.#onLink);
    this.tun.once('close', () => this.closeUnattended());
    void this.#engine.serve(this.tun).catch((error) => this.fail(error));
    if (this.tun.isUp && !this.#socket) this.#rebind(this.#listenPort);
  }

  readonly #onLink = ({ change }: LinkEvent): void => {
    if (change === 'down') {
      this.#engine.stop();
      void this.#socket?.close();
      this.#socket = undefined;
    } else if (change === 'up' && !this.#socket) {
      try {
        this.#rebind(this.#listenPort);
      } catch (error) {
        this.fail(error as Error);
      }
    }
  };

  /** Opens a socket on another port before the one in use is closed. */
  #rebind(port: number): void {
    if (!this.#socket && !this.tun.isUp) {
      this.#listenPort = port;
      return;
    }
    const socket = this.#parts.openSocket(port, this.#fwmark);
    const old = this.#socket;
    this.#socket = socket;
    this.#listenPort = socket.local.port;
    void this.#engine.listen(socket, this.tun).catch((error) => {
      if (this.#socket === socket) this.fail(error);
    });
    void old?.close();
  }

  #resolveAgain(peer: TunnelPeer, count: number): void {
    const { hostEndpoint } = peer;
    if (hostEndpoint === undefined || count % RESOLVE_AFTER !== 0) return;
    const use = (endpoint: Parameters<TunnelPeer['setEndpoint']>[0]) => {
      if (peer.hostEndpoint !== hostEndpoint || peer.endpoint?.equals(endpoint)) return;
      peer.setEndpoint(endpoint);
      this.#followEndpoint(peer);
    };
    resolveEndpoint(hostEndpoint, this.#parts.findLink, this.#parts.signal, 1).then(use, () => {});
  }

  #describe(peer: TunnelPeer): PeerInfo {
    return peerInfo(peer, this.#engine.allowedIps.prefixes(peer));
  }

  #requireOpen(): void {
    if (this.#closed) throw codedError('ERR_WG_CLOSED', `'${this.name}' is closed`);
  }

  /** Closes, and tells why. @internal */
  fail(error: Error): void {
    if (this.#closed) return;
    this.closeUnattended();
    this.emit('error', error);
  }

  /** Closes where nobody waits for it: what fails is told by an event, once somebody can listen. @internal */
  closeUnattended(): void {
    this.close().catch((error) => this.#started && this.emit('error', error));
  }

  /** Does something when the tunnel closes, the last one first. @internal */
  onClose(undo: () => Promise<void> | void): void {
    this.#undo.push(undo);
  }

  /** Closes the tunnel: interface, socket, routes, rules and control socket are gone then, and its keys are wiped. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const errors: unknown[] = [];
    clearTimeout(this.#following);
    for (const undo of this.#undo.reverse()) {
      try {
        await undo();
      } catch (error) {
        errors.push(error);
      }
    }
    this.#engine.close();
    this.#privateKey?.fill(0);
    await this.#socket?.close();
    await this.tun.close();
    this.emit('close');
    if (errors.length > 0) throw errors[0];
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

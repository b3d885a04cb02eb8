import { EventEmitter } from 'node:events';
import { abortError, requireInteger } from '../arguments.js';
import type { LinkEvent } from '../device/device-link.js';
import type { TunDevice } from '../device/tun-tap-device.js';
import type { Endpoint } from '../endpoint.js';
import type { UdpBatchSocket } from '../socket/udp-batch-socket.js';
import { type CheckedPeer, checkPeer, numericEndpoint, resolveEndpoint, wireGuardError } from './checks.js';
import type { ControlledDevice, DeviceChanges, DeviceState, PeerChange } from './controlled-device.js';
import { Engine } from './engine.js';
import { clampKey, formatKey, parseKey } from './keys.js';
import type { Key, PeerInfo } from './options.js';
import { peerInfo, peerState } from './peer-views.js';
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
    const onAbort = () => parts.signal && this.#fail(abortError(parts.signal));
    parts.signal?.addEventListener('abort', onAbort, { once: true });
    this.#undo.push(() => parts.signal?.removeEventListener('abort', onAbort));
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
   * Changes a peer, or adds it. A host name as endpoint is looked up before anything changes.
   * @throws Error `ERR_WG_KEY`, `ERR_WG_ENDPOINT`, `ERR_WG_ALLOWED_IP`, `ERR_WG_CLOSED`
   */
  async setPeer(changes: PeerChanges): Promise<void> {
    this.#requireOpen();
    const checked = checkPeer('peer', changes);
    const { endpoint: text } = checked;
    const endpoint = text === undefined ? undefined : await resolveEndpoint(text, this.#parts.signal);
    await this.usePeer(checked, endpoint, changes);
  }

  /** Changes a peer whose options were checked and whose endpoint was looked up, or adds it. @internal */
  async usePeer(
    checked: CheckedPeer,
    endpoint: Endpoint | undefined,
    { updateOnly = false, replaceAllowedIps = true }: PeerChanges,
  ): Promise<void> {
    this.#requireOpen();
    const peer = this.#engine.peerWithKey(checked.publicKey, !updateOnly);
    if (!peer) return;
    this.#apply(peer, checked, replaceAllowedIps && checked.allowedIps !== undefined);
    if (endpoint && checked.endpoint) {
      peer.setEndpoint(endpoint);
      peer.hostEndpoint = numericEndpoint(checked.endpoint) ? undefined : checked.endpoint;
    }
    this.#settlePeer(peer, checked.persistentKeepalive);
    await this.#updateRoutes();
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
  async set({ privateKey, listenPort, fwmark, replacePeers = false }: InterfaceChanges): Promise<void> {
    this.#requireOpen();
    const key = privateKey === undefined ? undefined : parseKey('privateKey', privateKey);
    if (listenPort !== undefined) requireInteger('listenPort', listenPort, 0, 65535);
    if (fwmark !== undefined) requireInteger('fwmark', fwmark, 0, 0xffffffff);
    await this.apply({ privateKey: key, listenPort, fwmark, replacePeers, peers: [] });
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

  /** @internal */
  async apply({ privateKey, listenPort, fwmark, replacePeers, peers }: DeviceChanges): Promise<void> {
    this.#requireOpen();
    // What can fail comes first.
    if (listenPort !== undefined && (listenPort !== this.#listenPort || listenPort === 0))
      this.#rebind(listenPort);
    if (fwmark !== undefined) this.setMark(fwmark);
    if (privateKey !== undefined) this.#setPrivateKey(privateKey ?? undefined);
    if (replacePeers) for (const peer of [...this.#engine.peers]) this.#engine.removePeer(peer);
    for (const change of peers) this.#applyChange(change);
    await this.#updateRoutes();
  }

  /** Makes the routes that the peers need, from now on. @internal */
  async useRoutes(routes: TunnelRoutes): Promise<void> {
    this.#routes = routes;
    this.onClose(() => routes.close());
    await this.#updateRoutes();
  }

  async #updateRoutes(): Promise<void> {
    if (!this.#routes) return;
    const peers = [...this.#engine.peers];
    const allowedIps = peers.flatMap((peer) => this.#engine.allowedIps.prefixes(peer));
    const endpoints = peers.flatMap(({ endpoint }) => (endpoint ? [endpoint.address] : []));
    await this.#routes.update(allowedIps, endpoints);
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
    const peer = this.#engine.peerWithKey(change.publicKey, !change.updateOnly && !change.remove);
    if (!peer) return;
    if (change.remove) {
      this.#engine.removePeer(peer);
      return;
    }
    if (change.replaceAllowedIps) this.#engine.allowedIps.removePeer(peer);
    if (change.presharedKey) peer.core.setPresharedKey(change.presharedKey);
    const endpoint = change.endpoint === undefined ? undefined : numericEndpoint(change.endpoint);
    if (endpoint) {
      peer.setEndpoint(endpoint);
      peer.hostEndpoint = undefined;
    }
    for (const prefix of change.allowedIps) {
      if (prefix.remove) this.#engine.allowedIps.remove(prefix, peer);
      else this.#engine.allowedIps.add(prefix, peer);
    }
    this.#settlePeer(peer, change.persistentKeepalive);
  }

  #apply(peer: TunnelPeer, { presharedKey, allowedIps = [] }: CheckedPeer, replaceAllowedIps: boolean): void {
    if (presharedKey) {
      peer.core.setPresharedKey(presharedKey);
      presharedKey.fill(0);
    }
    if (replaceAllowedIps) this.#engine.allowedIps.removePeer(peer);
    for (const prefix of allowedIps) this.#engine.allowedIps.add(prefix, peer);
  }

  #settlePeer(peer: TunnelPeer, persistentKeepalive: number | undefined): void {
    if (persistentKeepalive !== undefined) {
      peer.core.setPersistentKeepalive(persistentKeepalive, this.#engine.now());
    }
    this.#engine.settle();
  }

  /** Begins to carry packets, and follows the link: while it is down, nothing is sent or answered. @internal */
  start(): void {
    this.tun.on('link', this.#onLink);
    this.tun.once('close', () => this.closeUnattended());
    void this.#engine.serve(this.tun).catch((error) => this.#fail(error));
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
        this.#fail(error as Error);
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
      if (this.#socket === socket) this.#fail(error);
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
    resolveEndpoint(hostEndpoint, this.#parts.signal, 1).then(use, () => {});
  }

  #describe(peer: TunnelPeer): PeerInfo {
    return peerInfo(peer, this.#engine.allowedIps.prefixes(peer));
  }

  #requireOpen(): void {
    if (this.#closed) throw wireGuardError('ERR_WG_CLOSED', `'${this.name}' is closed`);
  }

  #fail(error: Error): void {
    if (this.#closed) return;
    this.closeUnattended();
    this.emit('error', error);
  }

  /** Closes where nobody waits for it: what fails is told by an event. @internal */
  closeUnattended(): void {
    this.close().catch((error) => this.emit('error', error));
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

/** A device without packets: what the control socket changes, by the rules of the protocol. */

import { publicKey } from 'tuntap-native/wireguard';
import type {
  ControlledDevice,
  DeviceChanges,
  DeviceState,
  PeerChange,
  PeerState,
} from '#dist/wireguard/controlled-device.js';
import { formatPrefix } from '#dist/wireguard/prefix.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
interface FakePeer extends Mutable<Omit<PeerState, 'allowedIps'>> {
  allowedIps: string[];
}

export class FakeDevice implements ControlledDevice {
  readonly peers = new Map<string, FakePeer>();
  readonly applied: DeviceChanges[] = [];
  privateKey: Uint8Array | undefined;
  listenPort = 0;
  fwmark = 0;
  /** Thrown by the next call, if set. */
  failure: Error | undefined;
  /** Awaited in apply(). */
  gate: Promise<void> = Promise.resolve();
  busy = 0;
  readonly #owners = new Map<string, FakePeer>();

  #fail(): void {
    const { failure } = this;
    this.failure = undefined;
    if (failure) throw failure;
  }

  get(): DeviceState {
    this.#fail();
    const { privateKey, listenPort, fwmark, peers } = this;
    return { privateKey, listenPort, fwmark, peers: [...peers.values()] };
  }

  async apply(changes: DeviceChanges): Promise<void> {
    if (this.busy++ > 0) throw new Error('two changes at once');
    try {
      await this.gate;
      this.#fail();
      this.applied.push(changes);
      const { privateKey, listenPort, fwmark, replacePeers } = changes;
      if (privateKey !== undefined) this.privateKey = privateKey ?? undefined;
      if (listenPort !== undefined) this.listenPort = listenPort || 12345;
      if (fwmark !== undefined) this.fwmark = fwmark;
      if (replacePeers) this.peers.clear();
      const own = this.privateKey && Buffer.from(publicKey(this.privateKey), 'base64').toString('hex');
      if (own) this.peers.delete(own);
      for (const change of changes.peers) {
        const id = Buffer.from(change.publicKey).toString('hex');
        if (id !== own) this.#change(id, change);
      }
    } finally {
      this.busy--;
    }
  }

  #change(id: string, change: PeerChange): void {
    const known = this.peers.get(id);
    if (change.remove) {
      this.peers.delete(id);
      return;
    }
    if (known === undefined && change.updateOnly) return;
    const peer = known ?? newPeer(change.publicKey);
    this.peers.set(id, peer);
    if (change.presharedKey) peer.presharedKey = change.presharedKey;
    if (change.endpoint !== undefined) peer.endpoint = change.endpoint;
    if (change.persistentKeepalive !== undefined) peer.persistentKeepalive = change.persistentKeepalive;
    if (change.replaceAllowedIps) peer.allowedIps = [];
    for (const network of change.allowedIps) {
      const text = formatPrefix(network);
      const owner = this.#owners.get(text);
      if (owner && (owner === peer) === network.remove) {
        owner.allowedIps = owner.allowedIps.filter((each) => each !== text);
      }
      if (network.remove) continue;
      if (!peer.allowedIps.includes(text)) peer.allowedIps.push(text);
      this.#owners.set(text, peer);
    }
  }
}

export function newPeer(publicKeyBytes: Uint8Array): FakePeer {
  return { publicKey: publicKeyBytes, txBytes: 0, rxBytes: 0, persistentKeepalive: 0, allowedIps: [] };
}

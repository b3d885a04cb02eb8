/** What a tunnel is built from, what can be changed of it, and what it tells. */

import type { TunDevice } from '../device/tun-tap-device.js';
import type { UdpBatchSocket } from '../socket/udp-batch-socket.js';
import type { Environment } from './environment.js';
import type { Key, PeerInfo, PeerOptions } from './options.js';

/** What `WireGuard.setPeer` changes: options left out keep their value, or have their default for a new peer. */
export interface PeerChanges extends PeerOptions {
  /** Change the peer only if there is one with this key. **Default:** `false` */
  readonly updateOnly?: boolean;
  /** Whether `allowedIps` replace those of before instead of joining them. **Default:** `true` */
  readonly replaceAllowedIps?: boolean;
}

/** What `WireGuard.set` changes. */
export interface InterfaceChanges {
  /** The interface's own key. */
  readonly privateKey?: Key;
  /** UDP port; 0: the kernel chooses. */
  readonly listenPort?: number;
  /** The mark of outgoing datagrams; 0: none. */
  readonly fwmark?: number;
  /** Remove all peers. **Default:** `false` */
  readonly replacePeers?: boolean;
}

/** The events of a `WireGuard`. */
export interface WireGuardEvents {
  /** Both sides have new keys. */
  handshake: [peer: PeerInfo];
  /** An authentic message came from another address or port than before. */
  roam: [peer: PeerInfo];
  /** The peer does not answer any more, or its keys were deleted since nobody used them. */
  expired: [peer: PeerInfo, reason: 'unanswered' | 'wiped'];
  /** The tunnel failed and is closed. */
  error: [error: Error];
  /** The tunnel is closed. */
  close: [];
}

/** What a `WireGuard` is built from. */
export interface WireGuardParts {
  readonly tun: TunDevice;
  readonly mtu: number;
  readonly now: () => number;
  /** Opens a socket on a port; 0: the kernel chooses. */
  readonly openSocket: (port: number, fwmark: number) => UdpBatchSocket;
  /** The index of the link of that name where the socket is. @throws ENODEV */
  readonly findLink: (name: string) => Promise<number>;
  readonly listenPort: number;
  readonly fwmark: number;
  /** How many threads seal and send; 0: the caller's. */
  readonly threads: number;
  readonly signal?: AbortSignal;
  readonly environment: Environment;
}

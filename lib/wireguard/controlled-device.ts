/** What the control socket reads from a device and asks of it. */

import type { Endpoint } from '../endpoint.js';
import type { Prefix } from './prefix.js';

/** A peer as `wg show` tells it. */
export interface PeerState {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes; zeros or undefined: none. */
  readonly presharedKey?: Uint8Array;
  /** `192.0.2.1:51820`, `[2001:db8::1]:51820`. */
  readonly endpoint?: string;
  /** In milliseconds since 1970. */
  readonly latestHandshake?: number;
  readonly txBytes: number;
  readonly rxBytes: number;
  /** In seconds; 0: off. */
  readonly persistentKeepalive: number;
  /** Networks such as `10.0.0.0/24`. */
  readonly allowedIps: readonly string[];
}

/** A device as `wg show` tells it. */
export interface DeviceState {
  /** 32 bytes. */
  readonly privateKey?: Uint8Array;
  /** 0: none yet. */
  readonly listenPort: number;
  /** 0: none. */
  readonly fwmark: number;
  readonly peers: readonly PeerState[];
}

/** A network to give to a peer or to take from it. */
export interface AllowedIpChange extends Prefix {
  readonly remove: boolean;
}

/**
 * What to change of a peer, or a peer to add. The own key is skipped, and with `updateOnly` an unknown one.
 * The allowed IPs are changed in their order, after `replaceAllowedIps` removed all that there were.
 */
export interface PeerChange {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly updateOnly: boolean;
  /** Nothing else of the change matters then. */
  readonly remove: boolean;
  /** 32 bytes; zeros: none. Undefined: stays as it is. */
  readonly presharedKey?: Uint8Array;
  /** An address and a port, never a host name; an IPv6 zone may be a link's name. */
  readonly endpoint?: string;
  /** The same as the socket takes it, if it was looked up already. */
  readonly resolved?: Endpoint;
  readonly persistentKeepalive?: number;
  readonly replaceAllowedIps: boolean;
  readonly allowedIps: readonly AllowedIpChange[];
}

/** What to change of a device: its own values, then `replacePeers`, then the peers in their order. */
export interface DeviceChanges {
  /** 32 bytes, clamped; null: remove it. */
  readonly privateKey?: Uint8Array | null;
  /** 0: a random port. */
  readonly listenPort?: number;
  /** 0: none. */
  readonly fwmark?: number;
  /** Remove all peers first. */
  readonly replacePeers: boolean;
  /** One peer may come up more than once. */
  readonly peers: readonly PeerChange[];
}

/** The device behind a control socket. */
export interface ControlledDevice {
  /** Called once per `get` request. The bytes of keys stay the device's. */
  get(): DeviceState;
  /**
   * Applies changes that are valid each by itself. Calls never overlap. The bytes of keys are the device's from then on.
   * Rejects with a system error, such as EADDRINUSE for the port, which is passed on to the client.
   */
  apply(changes: DeviceChanges): Promise<void>;
}

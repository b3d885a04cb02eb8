/** What is told of a peer: to programs, and to wg(8). */

import type { PeerState } from './controlled-device.js';
import { formatKey } from './keys.js';
import type { PeerInfo } from './options.js';
import type { TunnelPeer } from './tunnel-peer.js';

/** A peer as a program may see it: without secrets. */
export function peerInfo({ core, endpoint }: TunnelPeer, allowedIps: readonly string[]): PeerInfo {
  return {
    publicKey: formatKey(core.publicKey),
    hasPresharedKey: core.hasPresharedKey,
    endpoint: endpoint?.toString(),
    allowedIps,
    persistentKeepalive: core.persistentKeepalive,
    latestHandshake: core.latestHandshake,
    rxBytes: core.bytesReceived,
    txBytes: core.bytesSent,
  };
}

/** A peer as the control socket tells it. */
export function peerState({ core, endpoint }: TunnelPeer, allowedIps: readonly string[]): PeerState {
  return {
    publicKey: core.publicKey,
    presharedKey: core.remote.presharedKey,
    endpoint: endpoint?.toString(),
    latestHandshake: core.latestHandshake,
    txBytes: core.bytesSent,
    rxBytes: core.bytesReceived,
    persistentKeepalive: core.persistentKeepalive,
    allowedIps,
  };
}

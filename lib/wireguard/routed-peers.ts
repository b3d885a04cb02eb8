/** What routes are for, before it is so: routes can fail, and then nothing else must have changed. */

import type { Endpoint } from '../endpoint.js';
import type { PeerChange } from './controlled-device.js';
import { formatKey } from './keys.js';
import { formatPrefix } from './prefix.js';

/** A peer as far as routes depend on it. */
export interface RoutedPeer {
  readonly publicKey: Uint8Array;
  readonly endpoint: Endpoint | undefined;
  readonly allowedIps: readonly string[];
}

/** The networks and endpoints of peers. */
export class RoutedPeers {
  /** Whose a network is. */
  readonly #owners = new Map<string, string>();
  readonly #endpoints = new Map<string, Endpoint | undefined>();

  constructor(peers: Iterable<RoutedPeer>) {
    for (const { publicKey, endpoint, allowedIps } of peers) {
      const key = formatKey(publicKey);
      this.#endpoints.set(key, endpoint);
      for (const network of allowedIps) this.#owners.set(network, key);
    }
  }

  get allowedIps(): readonly string[] {
    return [...this.#owners.keys()];
  }

  /** Addresses, without ports. */
  get endpoints(): readonly string[] {
    return [...this.#endpoints.values()].flatMap((endpoint) => (endpoint ? [endpoint.address] : []));
  }

  /** Does what `WireGuard.apply` does, in the same order. */
  apply({ publicKey, updateOnly, remove, replaceAllowedIps, allowedIps, resolved }: PeerChange): void {
    const key = formatKey(publicKey);
    if ((updateOnly || remove) && !this.#endpoints.has(key)) return;
    if (remove || replaceAllowedIps) {
      for (const [network, owner] of this.#owners) if (owner === key) this.#owners.delete(network);
    }
    if (remove) {
      this.#endpoints.delete(key);
      return;
    }
    this.#endpoints.set(key, resolved ?? this.#endpoints.get(key));
    for (const prefix of allowedIps) {
      const network = formatPrefix(prefix);
      if (!prefix.remove) this.#owners.set(network, key);
      else if (this.#owners.get(network) === key) this.#owners.delete(network);
    }
  }
}

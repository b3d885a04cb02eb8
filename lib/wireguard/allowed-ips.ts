import { PrefixTable } from '../tunnel/prefix-table.js';
import { formatPrefix, maskPrefix, type Prefix } from './prefix.js';

/**
 * Which peer an address belongs to: that with the longest prefix that holds it. A packet goes to the peer of its
 * destination, and is accepted only from the peer of its source.
 *
 * Each prefix belongs to one peer. Its host bits are cleared.
 */
export class AllowedIps<P extends { readonly number: number }> {
  /** Finds the number of an address's peer, for all packets of a batch at once. */
  readonly table = new PrefixTable();
  readonly #owners = new Map<string, P>();
  readonly #prefixes = new Map<P, Set<string>>();

  /** Gives a prefix to a peer, and takes it from whoever has it. */
  add(prefix: Prefix, peer: P): void {
    const network = formatPrefix(maskPrefix(prefix));
    const owner = this.#owners.get(network);
    if (owner === peer) return;
    if (owner !== undefined) this.#prefixes.get(owner)?.delete(network);
    this.#owners.set(network, peer);
    this.#prefixes.set(peer, (this.#prefixes.get(peer) ?? new Set()).add(network));
    this.table.set(network, peer.number);
  }

  /** Takes a prefix from a peer. @returns whether the peer had it */
  remove(prefix: Prefix, peer: P): boolean {
    return this.#remove(formatPrefix(maskPrefix(prefix)), peer);
  }

  /** Takes all prefixes from a peer. */
  removePeer(peer: P): void {
    for (const network of this.prefixes(peer)) this.#remove(network, peer);
    this.#prefixes.delete(peer);
  }

  /** A peer's prefixes, such as `10.0.0.0/8`, in the order in which it got them. */
  prefixes(peer: P): string[] {
    return [...(this.#prefixes.get(peer) ?? [])];
  }

  #remove(network: string, peer: P): boolean {
    if (!this.#prefixes.get(peer)?.delete(network)) return false;
    this.#owners.delete(network);
    this.table.delete(network);
    return true;
  }
}

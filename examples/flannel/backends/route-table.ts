/** Longest-prefix match: which of many IPv4 networks an address belongs to, the narrowest one winning. */

import { formatNetwork, network, parseNetwork } from '../network.ts';

interface Level<T> {
  readonly mask: number;
  readonly prefixLength: number;
  readonly routes: Map<number, T>;
}

/**
 * A Map for each prefix length in use, asked from the longest on. An overlay whose hosts all have a /24 is one Map: a
 * hit costs one lookup, however many hosts there are, and a change touches one entry.
 */
export class RouteTable<T> {
  #levels: readonly Level<T>[] = [];

  /** Adds the route to a network, in place of the one that it has. */
  set(network: string, value: T): void {
    const { address, mask, prefixLength } = parseNetwork(network);
    let level = this.#levels.find((other) => other.prefixLength === prefixLength);
    if (level === undefined) {
      level = { mask, prefixLength, routes: new Map() };
      this.#levels = [...this.#levels, level].sort((a, b) => b.prefixLength - a.prefixLength);
    }
    level.routes.set(address, value);
  }

  /** Removes the route to exactly this network; false if there is none. */
  delete(network: string): boolean {
    const { address, prefixLength } = parseNetwork(network);
    const level = this.#levels.find((other) => other.prefixLength === prefixLength);
    const found = level?.routes.delete(address) ?? false;
    this.#levels = this.#levels.filter(({ routes }) => routes.size > 0);
    return found;
  }

  lookup(address: number): T | undefined {
    for (const { mask, routes } of this.#levels) {
      const value = routes.get(address & mask);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** The networks with their values, longest prefixes first. */
  *[Symbol.iterator](): Generator<[network: string, value: T]> {
    for (const { prefixLength, routes } of this.#levels) {
      for (const [address, value] of routes) {
        yield [formatNetwork(network(address, prefixLength)), value];
      }
    }
  }
}

/** Longest-prefix match: which of many IPv4 networks an address belongs to, the narrowest one winning. */

import { formatIpv4, parseCidr } from 'tuntap-native/packet';

/** Addresses are signed 32-bit integers, as `bytes.readInt32BE()` gives them: V8 allocates nothing for these. */
export interface Network {
  readonly address: number;
  readonly mask: number;
  readonly prefixLength: number;
}

/** @throws TypeError for what is no IPv4 network; one with host bits set is none, as for `ip route` */
export function parseNetwork(text: string): Network {
  const { family, address: bytes, prefixLength } = parseCidr(text);
  const address = bytes.readInt32BE(0);
  // JavaScript, as C on most machines, takes a shift by 32 for one by 0.
  const mask = prefixLength === 0 ? 0 : -1 << (32 - prefixLength);
  if (family !== 4 || (address & ~mask) !== 0) throw new TypeError(`${text} is no IPv4 network`);
  return { address, mask, prefixLength };
}

export function contains({ address, mask }: Network, member: number): boolean {
  return (member & mask) === address;
}

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
        yield [
          `${formatIpv4(Uint8Array.of(address >> 24, address >> 16, address >> 8, address))}/${prefixLength}`,
          value,
        ];
      }
    }
  }
}

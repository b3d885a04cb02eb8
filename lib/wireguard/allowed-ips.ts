import { type Cidr, formatIp } from '../address.js';

/** Is told each change of {@link AllowedIps}, so that another table, one for packets by batches, can follow. */
export interface AllowedIpsMirror<P> {
  /** A prefix belongs to this peer now, whomever it belonged to. */
  set(prefix: Cidr, peer: P): void;
  delete(prefix: Cidr): void;
}

/**
 * Which peer an address belongs to: that with the longest prefix that holds it. A packet goes to the peer of its
 * destination, and is accepted only from the peer of its source.
 *
 * Each prefix belongs to one peer. Its host bits are cleared.
 */
export class AllowedIps<P> {
  /** For each family the lengths of prefixes, the longest first, and for each length who has which network. */
  readonly #owners = { 4: new Map<number, Map<string, P>>(), 6: new Map<number, Map<string, P>>() };
  readonly #prefixes = new Map<P, Map<string, Cidr>>();
  readonly #mirror: AllowedIpsMirror<P> | undefined;

  constructor(mirror?: AllowedIpsMirror<P>) {
    this.#mirror = mirror;
  }

  /** Gives a prefix to a peer, and takes it from whoever has it. */
  add(prefix: Cidr, peer: P): void {
    const masked = mask(prefix);
    const network = formatIp(masked.address);
    const networks = this.#networks(masked);
    const owner = networks.get(network);
    if (owner === peer) return;
    if (owner !== undefined) this.#prefixes.get(owner)?.delete(textOf(masked));
    networks.set(network, peer);
    const prefixes = this.#prefixes.get(peer) ?? new Map<string, Cidr>();
    this.#prefixes.set(peer, prefixes.set(textOf(masked), masked));
    this.#mirror?.set(masked, peer);
  }

  /** Takes a prefix from a peer. @returns whether the peer had it */
  remove(prefix: Cidr, peer: P): boolean {
    const masked = mask(prefix);
    if (!this.#prefixes.get(peer)?.delete(textOf(masked))) return false;
    const networks = this.#networks(masked);
    networks.delete(formatIp(masked.address));
    if (networks.size === 0) this.#owners[masked.family].delete(masked.prefixLength);
    this.#mirror?.delete(masked);
    return true;
  }

  /** Takes all prefixes from a peer. */
  removePeer(peer: P): void {
    for (const prefix of this.prefixes(peer)) this.remove(prefix, peer);
    this.#prefixes.delete(peer);
  }

  /** A peer's prefixes, in the order in which it got them. */
  prefixes(peer: P): Cidr[] {
    return [...(this.#prefixes.get(peer)?.values() ?? [])];
  }

  /** The peer that an address belongs to. @param address 4 or 16 bytes in network order */
  find(address: Uint8Array): P | undefined {
    for (const [length, networks] of this.#owners[address.length === 4 ? 4 : 6]) {
      const owner = networks.get(formatIp(maskBits(address, length)));
      if (owner !== undefined) return owner;
    }
    return undefined;
  }

  #networks({ family, prefixLength }: Cidr): Map<string, P> {
    const existing = this.#owners[family].get(prefixLength);
    if (existing) return existing;
    const networks = new Map<string, P>();
    const lengths = [...this.#owners[family], [prefixLength, networks] as const];
    this.#owners[family] = new Map(lengths.sort(([one], [other]) => other - one));
    return networks;
  }
}

function textOf({ address, prefixLength }: Cidr): string {
  return `${formatIp(address)}/${prefixLength}`;
}

function maskBits(address: Uint8Array, bits: number): Buffer {
  const masked = Buffer.from(address).fill(0, Math.ceil(bits / 8));
  if (bits % 8 > 0) masked[bits >> 3] &= 0xff << (8 - (bits % 8));
  return masked;
}

function mask({ family, address, prefixLength }: Cidr): Cidr {
  return { family, address: maskBits(address, prefixLength), prefixLength };
}

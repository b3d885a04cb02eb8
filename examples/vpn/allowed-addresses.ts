/**
 * Which peer an address belongs to: a binary trie over networks, in which the longest prefix wins. A packet to an
 * address goes to its peer only, and one from an address is taken from its peer only (WireGuard's cryptokey routing).
 */

import type { PacketBatch } from 'tuntap-native';
import { DatagramTable, Endpoint } from 'tuntap-native/tunnel';

const IPV4 = { headerLength: 20, source: 12, destination: 16, words: 1 } as const;
const IPV6 = { headerLength: 40, source: 8, destination: 24, words: 4 } as const;

interface Node<Peer> {
  peer: Peer | undefined;
  readonly children: [Node<Peer> | undefined, Node<Peer> | undefined];
}

const node = <Peer>(): Node<Peer> => ({ peer: undefined, children: [undefined, undefined] });

/** Of one address family, with the answer to the last question: packets come in runs. */
class Trie<Peer> {
  readonly #root = node<Peer>();
  readonly #words: number;
  readonly #last: Uint32Array;
  #answer: Peer | undefined;
  #answered = false;

  constructor(words: number) {
    this.#words = words;
    this.#last = new Uint32Array(words);
  }

  set(words: ArrayLike<number>, length: number, peer: Peer | undefined): void {
    let at = this.#root;
    for (let bit = 0; bit < length; bit++) at = at.children[bitOf(words, bit)] ??= node<Peer>();
    at.peer = peer;
    this.#answered = false;
  }

  /** The peer of the address that begins at `offset` of a packet. */
  find(batch: PacketBatch, packet: number, offset: number): Peer | undefined {
    let same = this.#answered;
    for (let i = 0; i < this.#words; i++) {
      const word = batch.readUInt32BE(packet, offset + 4 * i);
      same &&= word === this.#last[i];
      this.#last[i] = word;
    }
    if (!same) this.#answer = this.#search(this.#last);
    this.#answered = true;
    return this.#answer;
  }

  #search(words: ArrayLike<number>): Peer | undefined {
    let best = this.#root.peer;
    let at: Node<Peer> | undefined = this.#root;
    for (let bit = 0; bit < 32 * this.#words; bit++) {
      at = at.children[bitOf(words, bit)];
      if (at === undefined) break;
      best = at.peer ?? best;
    }
    return best;
  }
}

const bitOf = (words: ArrayLike<number>, bit: number): 0 | 1 =>
  ((words[bit >> 5] >>> (31 - (bit & 31))) & 1) as 0 | 1;

export class AllowedAddresses<Peer> {
  readonly #ipv4 = new Trie<Peer>(IPV4.words);
  readonly #ipv6 = new Trie<Peer>(IPV6.words);

  /** Gives a network, such as `192.0.2.0/24`, to a peer; a network that was another's is no longer. */
  add(network: string, peer: Peer): void {
    const { words, length } = parseNetwork(network);
    (words.length === IPV4.words ? this.#ipv4 : this.#ipv6).set(words, length, peer);
  }

  /** Whom a packet from the device is for; undefined for what is no IP packet, too. */
  destination(batch: PacketBatch, packet: number): Peer | undefined {
    return this.#find(batch, packet, IPV4.destination, IPV6.destination);
  }

  /** Whom a packet may come from. */
  source(batch: PacketBatch, packet: number): Peer | undefined {
    return this.#find(batch, packet, IPV4.source, IPV6.source);
  }

  #find(batch: PacketBatch, packet: number, at4: number, at6: number): Peer | undefined {
    const length = batch.lengthOf(packet);
    if (length < IPV4.headerLength) return undefined;
    const version = batch.readUInt8(packet, 0) >> 4;
    if (version === 4) return this.#ipv4.find(batch, packet, at4);
    if (version === 6 && length >= IPV6.headerLength) return this.#ipv6.find(batch, packet, at6);
    return undefined;
  }
}

/** A network's address in words of 32 bits, one for IPv4 and four for IPv6, and its prefix length. */
export function parseNetwork(network: string): {
  readonly words: readonly number[];
  readonly length: number;
} {
  const [address, length] = network.split('/');
  const table = new DatagramTable(1);
  table.setRemote(0, new Endpoint(address, 0));
  const count = table.family(0) === 4 ? IPV4.words : IPV6.words;
  return { words: Array.from({ length: count }, (_, i) => table.addressWord(0, i)), length: Number(length) };
}

/** Whether an address lies in a network. */
export function contains(network: string, address: string): boolean {
  const { words, length } = parseNetwork(network);
  const other = parseNetwork(`${address}/${length}`).words;
  if (other.length !== words.length) return false;
  for (let bit = 0; bit < length; bit++) if (bitOf(words, bit) !== bitOf(other, bit)) return false;
  return true;
}

import type { Endpoint } from '../endpoint.js';
import type { PacketBatch } from '../io/packet-batch.js';
import { DatagramTable } from '../socket/datagram-table.js';
import type { Peer } from './peer.js';
import type { SessionTransport } from './session-transport.js';

/** Lets the kernel choose the local address and link that an entry is sent from. */
export function forgetSource(table: DatagramTable, entry: number): void {
  table.setLocalAddress(entry, undefined);
  table.setInterfaceIndex(entry, 0);
}

/** A peer as the data path has it: where its datagrams go, and the packets that wait for a keypair. */
export class TunnelPeer {
  /** Its number in the tables of prefixes and sessions. */
  readonly number: number;
  readonly core: Peer<SessionTransport>;
  /** One entry for everything that is sent to the peer: its endpoint, and the local address and link to send from. */
  readonly route = new DatagramTable(1);
  /** The host name that the endpoint was looked up by, with its port. */
  hostEndpoint: string | undefined;
  #endpoint: Endpoint | undefined;
  #staged: Buffer[] = [];

  constructor(number: number, core: Peer<SessionTransport>) {
    this.number = number;
    this.core = core;
  }

  get endpoint(): Endpoint | undefined {
    return this.#endpoint;
  }

  /** Sets the endpoint; the kernel chooses the local address until a datagram comes. */
  setEndpoint(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    this.route.setRemote(0, endpoint);
    this.core.reachable = true;
  }

  /**
   * Follows the peer to where an authentic datagram came from, and answers from where that came to.
   * @returns whether the endpoint is another one than before
   */
  follow(table: DatagramTable, entry: number): boolean {
    const same = this.#endpoint !== undefined && table.isRemote(entry, this.#endpoint);
    this.route.copy(0, table, entry);
    if (!same) this.#endpoint = table.remote(entry);
    this.core.reachable = true;
    return !same;
  }

  /** Lets the kernel choose the local address and link again. */
  forgetSource(): void {
    forgetSource(this.route, 0);
  }

  /** Keeps copies of packets until there is a keypair; the oldest go if there are more than `limit`. */
  stage(batch: PacketBatch, start: number, end: number, limit: number): void {
    for (let i = start; i < end; i++) this.#staged.push(Buffer.from(batch.at(i)));
    if (this.#staged.length > limit) this.#staged.splice(0, this.#staged.length - limit);
  }

  get stagedCount(): number {
    return this.#staged.length;
  }

  /** Takes up to `count` staged packets, the oldest first. */
  takeStaged(count = this.#staged.length): Buffer[] {
    return this.#staged.splice(0, count);
  }
}

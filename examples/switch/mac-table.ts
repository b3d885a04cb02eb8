/** Which port each station was last heard on: the filtering database of IEEE 802.1Q-2022 clause 8.8. */

interface Entry<P> {
  port: P;
  /** In the clock's milliseconds. */
  heard: number;
}

/** What the table knows of a station. */
export interface Station<P> {
  readonly vlan: number;
  /** The 48 bits as a number, as `frame.readUIntBE(offset, 6)` gives them. */
  readonly mac: number;
  readonly port: P;
  readonly ageMs: number;
}

export interface MacTableOptions {
  /** How long a silent station is remembered. **Default:** 300,000, as the standard recommends */
  readonly ageingMs?: number;
  /** Stations in all, so that invented addresses can't fill the memory; others are flooded. **Default:** 8,192 */
  readonly capacity?: number;
  /** Milliseconds that never go back. **Default:** `performance.now` */
  readonly clock?: () => number;
}

/** Each VLAN has stations of its own (independent learning): the same address may be on two ports in two VLANs. */
export class MacTable<P> {
  readonly #vlans = new Map<number, Map<number, Entry<P>>>();
  readonly #ageingMs: number;
  readonly #capacity: number;
  readonly #clock: () => number;
  #size = 0;

  constructor({
    ageingMs = 300_000,
    capacity = 8192,
    clock = () => performance.now(),
  }: MacTableOptions = {}) {
    this.#ageingMs = ageingMs;
    this.#capacity = capacity;
    this.#clock = clock;
  }

  /** A station was heard on a port; one that has moved is found there from now on. */
  learn(vlan: number, mac: number, port: P): void {
    let stations = this.#vlans.get(vlan);
    if (stations === undefined) {
      stations = new Map();
      this.#vlans.set(vlan, stations);
    }
    const entry = stations.get(mac);
    if (entry) {
      entry.port = port;
      entry.heard = this.#clock();
    } else if (this.#size < this.#capacity) {
      stations.set(mac, { port, heard: this.#clock() });
      this.#size++;
    }
  }

  /** The port to a station, or undefined where it has not been heard for too long. */
  lookup(vlan: number, mac: number): P | undefined {
    const entry = this.#vlans.get(vlan)?.get(mac);
    return entry && this.#clock() - entry.heard < this.#ageingMs ? entry.port : undefined;
  }

  /** Forgets those that have aged, which lookup no longer finds but which still take their place. */
  sweep(): void {
    const now = this.#clock();
    for (const stations of this.#vlans.values()) {
      for (const [mac, { heard }] of stations) {
        if (now - heard >= this.#ageingMs && stations.delete(mac)) this.#size--;
      }
    }
  }

  *[Symbol.iterator](): Generator<Station<P>> {
    const now = this.#clock();
    for (const [vlan, stations] of this.#vlans) {
      for (const [mac, { port, heard }] of stations) yield { vlan, mac, port, ageMs: now - heard };
    }
  }
}

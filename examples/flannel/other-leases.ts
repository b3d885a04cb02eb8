/** The other hosts' subnets: followed in etcd, and given to the backend as they change. */

import { setTimeout } from 'node:timers/promises';
import type { Backend } from './backend.ts';
import type { NetworkConfig } from './config.ts';
import { type Change, type Etcd, EtcdError, type Entry as StoredEntry } from './etcd.ts';
import { type Lease, parseLease, subnetsPrefix } from './lease.ts';
import { covers, equal, formatNetwork, overlap } from './network.ts';
import type { OwnLease } from './own-lease.ts';
import { Pause } from './retry.ts';

type Entry = Pick<StoredEntry, 'key' | 'value'>;

// A device may be down for a while, or a limit of the kernel reached.
const RETRY_MS = 5000;

export interface Following {
  readonly etcd: Etcd;
  readonly prefix: string;
  readonly config: NetworkConfig;
  readonly own: OwnLease;
  readonly publicIp: string;
  readonly backendType: string;
  readonly backend: Backend;
}

/** Keeps the backend at what etcd has. */
export class OtherLeases {
  readonly #following: Following;
  /** What the backend has, by keys. */
  readonly #known = new Map<string, { readonly value: string; readonly lease: Lease }>();
  /** What the backend did not take, and why. */
  readonly #refused = new Map<string, { readonly entry: Entry; readonly reason: string }>();
  /** The backend does one thing after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(following: Following) {
    this.#following = following;
  }

  /**
   * Follows the leases until `signal` aborts: a list, and then what changes after it. If the connection is lost, or etcd
   * has compacted what would come next, it begins again with a list. What the backend knows stays meanwhile.
   * @throws Error if another host took this host's own lease over
   */
  async follow(signal: AbortSignal): Promise<never> {
    const { etcd, prefix, own } = this.#following;
    const pause = new Pause();
    for (;;) {
      try {
        const { entries, revision } = await etcd.list(subnetsPrefix(prefix), signal);
        if (entries.find(({ key }) => key === own.key)?.value !== own.value) await own.takeAgain(signal);
        await this.#inTurn(() => this.#useList(entries));
        for await (const changes of etcd.watch(subnetsPrefix(prefix), revision + 1, signal)) {
          for (const change of changes) await this.#useChange(change, signal);
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof EtcdError)) throw error;
        console.error(`lists all leases again: ${error.message}`);
        await pause.wait(signal);
      }
    }
  }

  /** Gives the backend what it did not take once more, again and again, until `signal` aborts. */
  async retry(signal: AbortSignal): Promise<never> {
    for (;;) {
      await setTimeout(RETRY_MS, undefined, { signal });
      for (const key of [...this.#refused.keys()]) {
        await this.#inTurn(async () => {
          const refused = this.#refused.get(key);
          if (refused !== undefined) await this.#use(refused.entry);
        });
      }
    }
  }

  #inTurn(action: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(action);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #useList(entries: readonly StoredEntry[]): Promise<void> {
    const listed = new Set(entries.map(({ key }) => key));
    const had = [...this.#known.keys(), ...this.#refused.keys()];
    for (const key of had.filter((key) => !listed.has(key))) await this.#forget(key);
    // If two name the same, the later one is right, as it is while they come one by one.
    const ordered = [...entries].sort((a, b) => Number(a.modRevision) - Number(b.modRevision));
    for (const entry of ordered) await this.#use(entry);
  }

  async #useChange(change: Change, signal: AbortSignal): Promise<void> {
    const { own } = this.#following;
    if (change.type === 'put') {
      const { key, value } = change.entry;
      if (key === own.key && value !== own.value) await own.takeAgain(signal);
      return this.#inTurn(() => this.#use(change.entry));
    }
    // It may have ended while this host could not reach etcd, or the host was asleep.
    if (change.key === own.key) return own.takeAgain(signal);
    await this.#inTurn(() => this.#forget(change.key));
  }

  async #use(entry: Entry): Promise<void> {
    const { own, backend } = this.#following;
    const { key, value } = entry;
    const old = this.#known.get(key);
    // Flannel renews a lease by writing it again.
    if (key === own.key || old?.value === value) return;
    const refused = this.#refused.get(key);
    try {
      const lease = parseLease(key, value);
      check(this.#following, lease);
      await backend.set(lease, old?.lease);
      this.#refused.delete(key);
      this.#known.set(key, { value, lease });
      console.error(`${formatNetwork(lease.subnet)} is on ${lease.publicIp}`);
      if (old === undefined || this.#peer(old.lease) === this.#peer(lease)) return;
      await this.#giveBack((other) => this.#peer(other) === this.#peer(old.lease));
    } catch (error) {
      const reason = (error as Error).message;
      if (refused?.reason !== reason || refused.entry.value !== value)
        console.error(`passes over ${key}: ${reason}`);
      await this.#forget(key);
      this.#refused.set(key, { entry, reason });
    }
  }

  async #forget(key: string): Promise<void> {
    const lease = this.#known.get(key)?.lease;
    this.#known.delete(key);
    this.#refused.delete(key);
    if (lease === undefined) return;
    try {
      await this.#following.backend.remove(lease);
      console.error(`${formatNetwork(lease.subnet)} is gone from ${lease.publicIp}`);
    } catch (error) {
      console.error(`can't remove ${formatNetwork(lease.subnet)}: ${(error as Error).message}`);
    }
    await this.#giveBack(
      (other) => this.#peer(other) === this.#peer(lease) || equal(other.subnet, lease.subnet),
    );
  }

  #peer(lease: Lease): string {
    return this.#following.backend.peerOf?.(lease) ?? formatNetwork(lease.subnet);
  }

  /** Sets leases once more that lost something together with another one, as both named the same. */
  async #giveBack(shares: (lease: Lease) => boolean): Promise<void> {
    for (const [key, { value, lease }] of [...this.#known]) {
      if (!shares(lease)) continue;
      this.#known.delete(key);
      await this.#use({ key, value });
    }
  }
}

/** Nobody who writes a lease may draw more to himself than a subnet of this network that this host does not have. */
function check({ config, own, publicIp, backendType }: Following, lease: Lease): void {
  if (lease.backendType !== backendType)
    throw new Error(`its backend is ${lease.backendType}, not ${backendType}`);
  if (!covers(config.network, lease.subnet)) throw new Error(`it is not in ${formatNetwork(config.network)}`);
  if (overlap(lease.subnet, own.subnet))
    throw new Error(`it overlaps ${formatNetwork(own.subnet)}, of this host`);
  if (lease.publicIp === publicIp) throw new Error(`it names the address of this host, ${publicIp}`);
}

/** The other hosts' subnets: followed in etcd, and given to the backend as they change. */

import type { Backend } from './backend.ts';
import type { NetworkConfig } from './config.ts';
import { type Change, type Entry, type Etcd, EtcdError } from './etcd.ts';
import { type Lease, parseLease, subnetsPrefix } from './lease.ts';
import { covers, formatNetwork, overlap } from './network.ts';
import type { OwnLease } from './own-lease.ts';
import { Pause } from './retry.ts';

/** What the backend has, by keys. */
type Known = Map<string, { readonly value: string; readonly lease: Lease }>;

export interface Following {
  readonly etcd: Etcd;
  readonly prefix: string;
  readonly config: NetworkConfig;
  readonly own: OwnLease;
  readonly publicIp: string;
  readonly backendType: string;
  readonly backend: Backend;
}

/**
 * Follows the leases until `signal` aborts: a list, and then what changes after it. If the connection is lost, or etcd has
 * compacted what would come next, it begins again with a list. What the backend knows stays meanwhile.
 * @throws Error if another host took this host's own lease over
 */
export async function followLeases(following: Following, signal: AbortSignal): Promise<never> {
  const { etcd, prefix, own } = following;
  const known: Known = new Map();
  const pause = new Pause();
  for (;;) {
    try {
      const { entries, revision } = await etcd.list(subnetsPrefix(prefix), signal);
      if (entries.find(({ key }) => key === own.key)?.value !== own.value) await own.takeAgain(signal);
      await useList(following, known, entries);
      for await (const changes of etcd.watch(subnetsPrefix(prefix), revision + 1, signal)) {
        for (const change of changes) await useChange(following, known, change, signal);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof EtcdError)) throw error;
      console.error(`lists all leases again: ${error.message}`);
      await pause.wait(signal);
    }
  }
}

async function useList(following: Following, known: Known, entries: readonly Entry[]): Promise<void> {
  const listed = new Set(entries.map(({ key }) => key));
  for (const key of [...known.keys()].filter((key) => !listed.has(key))) await forget(following, known, key);
  for (const entry of entries) await use(following, known, entry);
}

async function useChange(
  following: Following,
  known: Known,
  change: Change,
  signal: AbortSignal,
): Promise<void> {
  const { own } = following;
  if (change.type === 'put') {
    const { key, value } = change.entry;
    if (key === own.key && value !== own.value) await own.takeAgain(signal);
    return use(following, known, change.entry);
  }
  // It may have ended while this host could not reach etcd, or the host was asleep.
  if (change.key === own.key) return own.takeAgain(signal);
  await forget(following, known, change.key);
}

async function use(following: Following, known: Known, { key, value }: Entry): Promise<void> {
  const old = known.get(key);
  // Flannel renews a lease by writing it again.
  if (key === following.own.key || old?.value === value) return;
  try {
    const lease = parseLease(key, value);
    check(following, lease);
    await following.backend.set(lease, old?.lease);
    known.set(key, { value, lease });
    console.error(`${formatNetwork(lease.subnet)} is on ${lease.publicIp}`);
  } catch (error) {
    console.error(`passes over ${key}: ${(error as Error).message}`);
    await forget(following, known, key);
  }
}

async function forget({ backend }: Following, known: Known, key: string): Promise<void> {
  const lease = known.get(key)?.lease;
  known.delete(key);
  if (lease === undefined) return;
  try {
    await backend.remove(lease);
    console.error(`${formatNetwork(lease.subnet)} is gone from ${lease.publicIp}`);
  } catch (error) {
    console.error(`can't remove ${formatNetwork(lease.subnet)}: ${(error as Error).message}`);
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

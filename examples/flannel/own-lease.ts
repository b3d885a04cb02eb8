/** This host's subnet: how it is taken and kept. */

import { randomInt } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { allows, type NetworkConfig } from './config.ts';
import type { Condition, Entry, Etcd } from './etcd.ts';
import {
  type Attributes,
  formatAttributes,
  parseLease,
  parseSubnetKey,
  subnetKey,
  subnetsPrefix,
} from './lease.ts';
import { equal, formatAddress, formatNetwork, type Network, network, overlap, size } from './network.ts';
import { untilAvailable } from './retry.ts';

// As Flannel: hosts that join at once choose among many, and try again if another was first.
const CHOICES = 100;
const ATTEMPTS = 10;
// Enough for a lease of 24 hours to outlive an etcd that is away for 16.
const RENEWALS_PER_LEASE = 3;

export interface Claim {
  readonly prefix: string;
  readonly config: NetworkConfig;
  readonly attributes: Attributes;
  /** How long the lease lasts if nobody renews it. */
  readonly seconds: number;
  /** The subnet that this host had before, if any. */
  readonly previous?: Network;
  /** The etcd lease that this process holds it under, if it does. */
  readonly heldUnder?: string;
}

/** A taken subnet and the etcd lease that it is written under. */
export class OwnLease {
  readonly subnet: Network;
  readonly #etcd: Etcd;
  readonly #claim: Claim;
  #lease: string;
  #seconds: number;
  #taking: Promise<void> | undefined;

  constructor(
    etcd: Etcd,
    claim: Claim,
    subnet: Network,
    lease: { readonly id: string; readonly seconds: number },
  ) {
    this.subnet = subnet;
    this.#etcd = etcd;
    this.#claim = claim;
    this.#lease = lease.id;
    this.#seconds = lease.seconds;
  }

  get key(): string {
    return subnetKey(this.#claim.prefix, this.subnet);
  }

  /** What is written there. */
  get value(): string {
    return formatAttributes(this.#claim.attributes);
  }

  /** The etcd lease. */
  get id(): string {
    return this.#lease;
  }

  /** Renews it until `signal` aborts. The waits are timers, which a wall clock that is set back does not change. */
  async keep(signal: AbortSignal): Promise<never> {
    for (;;) {
      await setTimeout((this.#seconds * 1000) / RENEWALS_PER_LEASE, undefined, { signal });
      await untilAvailable('renew the lease', signal, async () => {
        if (!(await this.#etcd.keepAlive(this.#lease, signal))) await this.takeAgain(signal);
      });
    }
  }

  /**
   * Writes it once more, unless it is there: etcd has lost it, it ended while this host could not reach etcd, or
   * somebody deleted it.
   * @throws Error if another host has the subnet now
   */
  takeAgain(signal: AbortSignal): Promise<void> {
    this.#taking ??= this.#takeAgain(signal).finally(() => {
      this.#taking = undefined;
    });
    return this.#taking;
  }

  async #takeAgain(signal: AbortSignal): Promise<void> {
    const { seconds } = this.#claim;
    const { key, value } = this;
    const found = await this.#etcd.get(key, signal);
    if (found !== undefined && found.value !== value) {
      throw new Error(`Another host has taken ${formatNetwork(this.subnet)}: ${found.value}`);
    }
    if (found?.lease === this.#lease) return;
    const lease = await this.#etcd.grant(seconds, signal);
    const taken = await this.#etcd.putIf(found ?? 'absent', { key, value, lease: lease.id }, signal);
    if (!taken) {
      await this.#etcd.revoke(lease.id, signal).catch(() => {}); // else it ends by itself
      return this.#takeAgain(signal);
    }
    this.#lease = lease.id;
    this.#seconds = lease.seconds;
    console.error(`took ${formatNetwork(this.subnet)} again: etcd had no lease of it`);
  }
}

/**
 * Takes a subnet for this host: the one that this process has; else the one that the host had before; else the one
 * whose key has the host's public address; else one at random.
 * @throws Error if the network is full
 */
export async function takeSubnet(etcd: Etcd, claim: Claim, signal: AbortSignal): Promise<OwnLease> {
  const { prefix, attributes, seconds } = claim;
  const lease = await etcd.grant(seconds, signal);
  let mayBeWritten = false;
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { entries } = await etcd.list(subnetsPrefix(prefix), signal);
      const [subnet, condition] = await choose(etcd, claim, entries, signal);
      const written = {
        key: subnetKey(prefix, subnet),
        value: formatAttributes(attributes),
        lease: lease.id,
      };
      mayBeWritten = true;
      if (await etcd.putIf(condition, written, signal)) return new OwnLease(etcd, claim, subnet, lease);
      mayBeWritten = false;
    }
    throw new Error(`Other hosts took a subnet first, ${ATTEMPTS} times`);
  } catch (error) {
    // A subnet that etcd may have given stays this host's, which finds it by its address.
    if (!mayBeWritten) await etcd.revoke(lease.id).catch(() => {}); // else it ends by itself
    throw error;
  }
}

/** The subnet to write, and under which condition nobody else was first. */
async function choose(
  etcd: Etcd,
  { prefix, config, attributes, previous, heldUnder }: Claim,
  entries: readonly Entry[],
  signal: AbortSignal,
): Promise<[Network, Condition]> {
  const taken: Network[] = [];
  const held: { readonly subnet: Network; readonly entry: Entry }[] = [];
  for (const entry of entries) {
    // A lease with an unreadable value still takes up its subnet.
    const subnet = attempt(() => parseSubnetKey(entry.key));
    if (subnet === undefined) continue;
    const publicIp = attempt(() => parseLease(entry.key, entry.value).publicIp);
    const isOwn = publicIp === attributes.publicIp || entry.lease === heldUnder;
    // A key with an IPv6 subnet too is that of a daemon that knows IPv6. This one writes another key.
    if (!isOwn || entry.key !== subnetKey(prefix, subnet)) taken.push(subnet);
    else if (allows(config, subnet)) held.push({ subnet, entry });
    else {
      console.error(`gives up ${formatNetwork(subnet)}: the configuration does not allow it any more`);
      await etcd.deleteIf(entry, entry.key, signal);
    }
  }
  const isFree = (subnet: Network): boolean => !taken.some((other) => overlap(subnet, other));
  const isPrevious = (subnet: Network): boolean => previous !== undefined && equal(subnet, previous);
  const best =
    held.find(({ entry }) => entry.lease === heldUnder) ?? held.find(({ subnet }) => isPrevious(subnet));
  if (best !== undefined) return [best.subnet, best.entry];
  if (previous !== undefined && allows(config, previous) && isFree(previous)) return [previous, 'absent'];
  if (held.length > 0) return [held[0].subnet, held[0].entry];
  return [anyFree(config, isFree), 'absent'];
}

function anyFree(config: NetworkConfig, isFree: (subnet: Network) => boolean): Network {
  const { subnetLength, subnetMin, subnetMax } = config;
  const step = size(network(0, subnetLength));
  const free: Network[] = [];
  for (let address = subnetMin; address <= subnetMax && free.length < CHOICES; address += step) {
    const subnet = network(address | 0, subnetLength);
    if (isFree(subnet)) free.push(subnet);
  }
  if (free.length > 0) return free[randomInt(free.length)];
  const range = `from ${formatAddress(subnetMin)} to ${formatAddress(subnetMax)}`;
  throw new Error(
    `The network ${formatNetwork(config.network)} is full: each /${subnetLength} ${range} is taken`,
  );
}

function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

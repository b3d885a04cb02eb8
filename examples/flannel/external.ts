/** The interface that leads to the other hosts. */

import type { NetworkNamespace } from 'tuntap-native/net';
import { type Network, networkOf } from './network.ts';

/** What the command line says of it; at most one of the two is needed. */
export interface Wanted {
  readonly interface?: string;
  readonly public?: string;
}

export interface External {
  readonly name: string;
  readonly index: number;
  readonly mtu: number;
  /** Its address, which packets to the other hosts come from. */
  readonly address: string;
  /** The network of that address. */
  readonly link: Network;
  /** Where the other hosts reach it: another address if there is a NAT between. */
  readonly publicIp: string;
}

/** Waits until the interface is there, is up, and has an IPv4 address. */
export async function findExternal(
  host: NetworkNamespace,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<External> {
  let told = false;
  for await (const _ of host.monitor({ types: ['link', 'address', 'route'], snapshot: true, signal })) {
    const found = await find(host, wanted);
    if (found !== undefined) return found;
    const what = wanted.interface ?? wanted.public ?? 'a default route';
    if (!told) console.error(`waits for ${what}: this host has no such interface with an IPv4 address`);
    told = true;
  }
  throw new Error('The monitor has ended');
}

/** Resolves once the interface does not have the address any more. */
export async function addressLost(
  host: NetworkNamespace,
  { name, address }: External,
  signal: AbortSignal,
): Promise<void> {
  for await (const _ of host.monitor({ types: ['address'], snapshot: true, signal })) {
    const addresses = await host.addresses();
    if (!addresses.some((other) => other.device === name && other.address === address)) return;
  }
}

async function find(host: NetworkNamespace, wanted: Wanted): Promise<External | undefined> {
  const [addresses, links, routes] = await Promise.all([
    host.addresses({ family: 4 }),
    host.links({ up: true }),
    host.routes({ destination: 'default' }),
  ]);
  const name = wanted.interface ?? (wanted.public === undefined ? routes[0]?.device : undefined);
  const found = addresses.find(({ device, address, scope }) =>
    name === undefined ? address === wanted.public : device === name && scope === 'global',
  );
  const link = links.find((other) => other.name === found?.device);
  if (found === undefined || link === undefined) return undefined;
  const { address, prefixLength } = found;
  return {
    name: link.name,
    index: link.index,
    mtu: link.mtu,
    address,
    link: networkOf(`${address}/${prefixLength}`),
    publicIp: wanted.public ?? address,
  };
}

/** /run/flannel/subnet.env: what the containers' runtime reads, and the subnet that this host takes again. */

import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatAddress, formatNetwork, type Network, networkOf } from './network.ts';

export interface SubnetFile {
  /** Of all containers. */
  readonly network: Network;
  /** Of this host's containers. */
  readonly subnet: Network;
  readonly mtu: number;
}

/** The address of the containers' bridge: the first one of the subnet, as Flannel writes it. */
export function gatewayOf(subnet: Network): string {
  return `${formatAddress(subnet.address + 1)}/${subnet.prefixLength}`;
}

/** Replaces the file in one step, so that nobody reads half of it. */
export async function writeSubnetFile(path: string, { network, subnet, mtu }: SubnetFile): Promise<void> {
  const text = [
    `FLANNEL_NETWORK=${formatNetwork(network)}`,
    `FLANNEL_SUBNET=${gatewayOf(subnet)}`,
    `FLANNEL_MTU=${mtu}`,
    // Masquerading is the firewall's business: this daemon makes no rules.
    'FLANNEL_IPMASQ=false',
    '',
  ].join('\n');
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

/** The variables of the file; none if there is no file. */
export async function readSubnetFile(path: string): Promise<Readonly<Record<string, string>>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
  return Object.fromEntries([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
}

/** The subnet in the file, if it is one. */
export async function previousSubnet(path: string): Promise<Network | undefined> {
  const { FLANNEL_SUBNET: text = '' } = await readSubnetFile(path);
  try {
    return networkOf(text);
  } catch {
    return undefined;
  }
}

/** Hosts on one network with an etcd; and containers behind veth pairs and the bridge `cni0`, as Flannel has them. */

import { createLab, type Lab, type LabDescription, type LabEnd } from 'tuntap-native/lab';
import { createBridge, createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { parseCidr } from 'tuntap-native/packet';
import { formatAddress } from './network.ts';

/** Of etcd's own host. */
export const ETCD_ADDRESS = '192.0.2.254';
const BRIDGE = 'cni0';

export interface Host {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  /** On the network that joins the hosts. */
  readonly address: string;
}

export interface Container {
  readonly address: string;
  readonly namespace: NetworkNamespace;
}

export interface Hosts {
  readonly lab: Lab;
  readonly hosts: readonly Host[];
  /** Where etcd runs. */
  readonly store: NetworkNamespace;
}

/** Builds the hosts. They are gone once the lab is closed and no program runs in them. */
export async function createHosts(count = 3): Promise<Hosts> {
  const names = Array.from({ length: count }, (_, i) => `host${i + 1}`);
  const address = (i: number): string => `192.0.2.${i + 1}`;
  const description: LabDescription = {
    hosts: {
      lan: { bridges: [{ name: 'lan' }] },
      store: {},
      ...Object.fromEntries(names.map((name) => [name, { forwarding: true }])),
    },
    links: [
      ...names.map((name, i): [LabEnd, LabEnd] => [
        { host: name, addresses: [`${address(i)}/24`] },
        { host: 'lan', name, master: 'lan' },
      ]),
      [
        { host: 'store', addresses: [`${ETCD_ADDRESS}/24`] },
        { host: 'lan', name: 'store', master: 'lan' },
      ],
    ],
  };
  const lab = await createLab(description);
  const hosts = names.map((name, i) => ({ name, namespace: lab.hosts[name], address: address(i) }));
  return { lab, hosts, store: lab.hosts.store };
}

/**
 * Does what a containers' runtime does with subnet.env: makes the bridge, and containers behind it.
 * @param gateway FLANNEL_SUBNET, the bridge's address
 * @param mtu FLANNEL_MTU
 */
export async function startContainers(
  { namespace: host }: Host,
  gateway: string,
  mtu: number,
  count = 2,
): Promise<readonly Container[]> {
  const { address, prefixLength } = parseCidr(gateway);
  const bridge = await createBridge({ namespace: host, name: BRIDGE, addresses: [gateway], mtu, up: true });
  const containers = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const namespace = await NetworkNamespace.create();
      const own = formatAddress(address.readInt32BE(0) + 1 + i);
      const inside = { name: 'eth0', namespace, addresses: [`${own}/${prefixLength}`], mtu, up: true };
      await createVethPair(inside, { name: `veth${i}`, namespace: host, master: bridge, mtu, up: true });
      await namespace.addRoute({ destination: 'default', via: formatAddress(address.readInt32BE(0)) });
      await operational(namespace, 'eth0');
      return { address: own, namespace };
    }),
  );
  // Without a container the bridge has no carrier.
  if (count > 0) await operational(host, BRIDGE, 'veth0', 'veth1');
  return containers;
}

/** Waits for links to work: the kernel drops what is sent in the moment after they are switched on. */
async function operational(namespace: NetworkNamespace, ...names: readonly string[]): Promise<void> {
  for await (const _ of namespace.monitor({ types: ['link'], snapshot: true })) {
    const links = await namespace.links();
    if (links.every(({ name, state }) => !names.includes(name) || state === 'UP')) return;
  }
}

/** Removes the containers and the bridge of a host. */
export async function stopContainers({ namespace }: Host, containers: readonly Container[]): Promise<void> {
  for (const [i, container] of containers.entries()) {
    await (await namespace.link(`veth${i}`)).delete();
    await container.namespace.close();
  }
  await (await namespace.link(BRIDGE)).delete();
}

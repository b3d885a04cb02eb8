/** Three hosts on one network, each with two containers behind veth pairs and the bridge `cni0`, as Flannel has them. */

import { createLab, type Lab, type LabDescription, type LabEnd } from 'tuntap-native/lab';
import type { NetworkNamespace } from 'tuntap-native/net';

export const OVERLAY = '10.244.0.0/16';
// What Ethernet's 1,500 bytes leave once IPv4 and UDP are around a packet.
const MTU = 1472;

export interface Container {
  readonly name: string;
  readonly address: string;
  readonly namespace: NetworkNamespace;
}

export interface Host {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  /** On the network that joins the hosts. */
  readonly address: string;
  /** Its part of the overlay. */
  readonly subnet: string;
  readonly containers: readonly Container[];
}

const plan = [1, 2, 3].map((n) => ({
  name: `host${n}`,
  address: `192.0.2.${n}`,
  subnet: `10.244.${n}.0/24`,
  gateway: `10.244.${n}.1`,
  containers: [2, 3].map((m) => ({ name: `host${n}-container${m}`, address: `10.244.${n}.${m}` })),
}));

const description: LabDescription = {
  hosts: {
    lan: { bridges: [{ name: 'lan' }] },
    ...Object.fromEntries(
      plan.flatMap(({ name, gateway, containers }) => [
        [name, { forwarding: true, bridges: [{ name: 'cni0', addresses: [`${gateway}/24`] }] }],
        ...containers.map((container) => [
          container.name,
          { routes: [{ destination: 'default', via: gateway }] },
        ]),
      ]),
    ),
  },
  links: plan.flatMap(({ name, address, containers }): [LabEnd, LabEnd][] => [
    [
      { host: name, addresses: [`${address}/24`] },
      { host: 'lan', name, master: 'lan' },
    ],
    ...containers.map((container, i): [LabEnd, LabEnd] => [
      { host: container.name, addresses: [`${container.address}/24`], mtu: MTU },
      { host: name, name: `veth${i}`, master: 'cni0', mtu: MTU },
    ]),
  ]),
};

/** Builds it. The hosts are gone once the lab is closed and no program runs in them. */
export async function createHosts(): Promise<{ readonly lab: Lab; readonly hosts: readonly Host[] }> {
  const lab = await createLab(description);
  const hosts = plan.map((host) => ({
    ...host,
    namespace: lab.hosts[host.name],
    containers: host.containers.map((container) => ({ ...container, namespace: lab.hosts[container.name] })),
  }));
  return { lab, hosts };
}

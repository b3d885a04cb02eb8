/** Two switches joined by a trunk, each with hosts of VLAN 10 ("red") and VLAN 20 ("blue"). */

import { fileURLToPath } from 'node:url';
import { createLab } from 'tuntap-native/lab';
import type { NetworkNamespace } from 'tuntap-native/net';
import { ControlledProcess } from '../controlled-process.ts';

const DAEMON = fileURLToPath(new URL('./daemon.js', import.meta.url));
const SWITCHES = [
  { name: 'left', address: '192.0.2.1', remote: '192.0.2.2' },
  { name: 'right', address: '192.0.2.2', remote: '192.0.2.1' },
] as const;
const HOSTS = [
  { name: 'red1', switch: 'left', vlan: 10, address: '198.51.100.1' },
  { name: 'blue1', switch: 'left', vlan: 20, address: '198.51.100.2' },
  { name: 'red2', switch: 'right', vlan: 10, address: '198.51.100.3' },
  { name: 'blue2', switch: 'right', vlan: 20, address: '198.51.100.4' },
  { name: 'red3', switch: 'right', vlan: 10, address: '198.51.100.5' },
] as const;

export interface Host {
  readonly name: string;
  readonly vlan: number;
  readonly address: string;
  readonly namespace: NetworkNamespace;
}

export interface Switch {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  readonly daemon: ControlledProcess;
}

export interface SwitchLab {
  readonly hosts: readonly Host[];
  readonly switches: readonly Switch[];
  close(): Promise<void>;
}

/** @param args more arguments of the switches */
export async function createSwitches(...args: readonly string[]): Promise<SwitchLab> {
  const lab = await createLab({
    hosts: Object.fromEntries([...SWITCHES, ...HOSTS].map(({ name }) => [name, {}])),
    links: [
      [
        { host: 'left', addresses: ['192.0.2.1/24'] },
        { host: 'right', addresses: ['192.0.2.2/24'] },
      ],
    ],
  });
  const hosts = HOSTS.map((host) => ({ ...host, namespace: lab.hosts[host.name] }));
  const switches = await Promise.all(
    SWITCHES.map(async ({ name, address, remote }) => {
      // A namespace without a name has a path, in the process that holds it open.
      const ports = hosts
        .filter((host) => host.switch === name)
        .flatMap(({ vlan, namespace }) => ['--port', `eth0:${vlan}:/proc/${process.pid}/fd/${namespace.fd}`]);
      const namespace = lab.hosts[name];
      const options = ['--local', address, '--remote', remote, ...ports, ...args];
      return { name, namespace, daemon: await ControlledProcess.start(namespace, DAEMON, options) };
    }),
  );
  for (const { namespace, address } of hosts) {
    const card = await namespace.link('eth0');
    await card.addAddress(`${address}/24`);
  }
  return {
    hosts,
    switches,
    async close() {
      await Promise.all(switches.map(({ daemon }) => daemon.stop()));
      await lab.close();
    },
  };
}

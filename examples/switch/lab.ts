/** Two switches joined by a trunk, each with hosts of VLAN 10 ("red") and 20 ("blue"). */

import { fileURLToPath } from 'node:url';
import { createLab, type NetworkNamespace } from 'tuntap-native/net';
import { ControlledProcess } from '../controlled-process.ts';

const DAEMON = fileURLToPath(new URL('./daemon.js', import.meta.url));
const VLANS = { red: 10, blue: 20 } as const;

export interface Host {
  readonly name: string;
  readonly vlan: number;
  readonly address: string;
  readonly namespace: NetworkNamespace;
}

export interface SwitchLab {
  readonly hosts: readonly Host[];
  readonly switches: readonly {
    readonly name: string;
    readonly namespace: NetworkNamespace;
    readonly daemon: ControlledProcess;
  }[];
  close(): Promise<void>;
}

/** @param args more arguments of the switches */
export async function createSwitches(...args: readonly string[]): Promise<SwitchLab> {
  const lab = await createLab({
    hosts: { left: {}, right: {}, red1: {}, blue1: {}, red2: {}, blue2: {}, red3: {} },
    links: [
      [
        { host: 'left', addresses: ['192.0.2.1/24'] },
        { host: 'right', addresses: ['192.0.2.2/24'] },
      ],
    ],
  });
  const host = (name: 'red1' | 'blue1' | 'red2' | 'blue2' | 'red3', vlan: number, n: number): Host => {
    return { name, vlan, address: `198.51.100.${n}`, namespace: lab.hosts[name] };
  };
  const left = [host('red1', VLANS.red, 1), host('blue1', VLANS.blue, 2)];
  const right = [host('red2', VLANS.red, 3), host('blue2', VLANS.blue, 4), host('red3', VLANS.red, 5)];
  // Of every host the namespace by a path that the switch's process can open.
  const port = ({ vlan, namespace }: Host): string => `eth0:${vlan}:/proc/${process.pid}/fd/${namespace.fd}`;
  const start = (namespace: NetworkNamespace, hosts: readonly Host[], ends: readonly string[]) =>
    ControlledProcess.start(namespace, DAEMON, [
      ...hosts.flatMap((each) => ['--port', port(each)]),
      ...ends,
      ...args,
    ]);
  const [a, b] = await Promise.all([
    start(lab.hosts.left, left, ['--local', '192.0.2.1', '--remote', '192.0.2.2']),
    start(lab.hosts.right, right, ['--local', '192.0.2.2', '--remote', '192.0.2.1']),
  ]);
  const hosts = [...left, ...right];
  for (const { namespace, address } of hosts)
    await (await namespace.link('eth0')).addAddress(`${address}/24`);
  return {
    hosts,
    switches: [
      { name: 'left', namespace: lab.hosts.left, daemon: a },
      { name: 'right', namespace: lab.hosts.right, daemon: b },
    ],
    async close() {
      await Promise.all([a.stop(), b.stop()]);
      await lab.close();
    },
  };
}

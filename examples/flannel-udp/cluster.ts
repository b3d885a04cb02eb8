/** A daemon on each host, told of the other hosts' subnets, as Flannel's agent tells its own what etcd has. */

import { fileURLToPath } from 'node:url';
import { ControlledProcess } from '../controlled-process.ts';
import { type Host, OVERLAY } from './lab.ts';
import type { Path } from './overlay.ts';

const DAEMON = fileURLToPath(new URL('./daemon.js', import.meta.url));

export async function startDaemons(
  hosts: readonly Host[],
  path: Path = 'offloads',
): Promise<readonly ControlledProcess[]> {
  const daemons = await Promise.all(
    hosts.map(({ namespace, address, subnet }) => {
      const args = ['--public', address, '--overlay', OVERLAY, '--subnet', subnet, '--path', path];
      return ControlledProcess.start(namespace, DAEMON, args);
    }),
  );
  for (const [i, daemon] of daemons.entries()) {
    for (const { subnet, address } of hosts.filter((_, j) => j !== i)) {
      await daemon.command(`set ${subnet} ${address}`);
    }
  }
  return daemons;
}

export async function stopDaemons(daemons: readonly ControlledProcess[]): Promise<void> {
  await Promise.all(daemons.map((daemon) => daemon.stop()));
}

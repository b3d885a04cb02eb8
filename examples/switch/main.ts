/**
 * Two learning switches joined by a trunk, and hosts of two VLANs on both: `node out/examples/switch/main.js`.
 *
 * Each switch is a process of its own (daemon.ts), each host a network namespace whose network card is a TAP device of
 * its switch. All are in one IP network, so that nothing but the VLANs keeps them apart. Prints who reaches whom by
 * ping, and what the switches have learned. Needs root, /dev/net/tun and ping; nothing is left behind.
 */

import { once } from 'node:events';
import { createSwitches, type Host, type SwitchLab } from './lab.ts';

async function reaches(from: Host, to: Host): Promise<boolean> {
  const child = from.namespace.spawn('ping', ['-n', '-q', '-c1', '-W0.5', to.address], { stdio: 'ignore' });
  const [status] = await once(child, 'close');
  return status === 0;
}

/** Prints a row for each host; returns whether each reaches its VLAN and nobody else. */
async function showReach({ hosts }: SwitchLab): Promise<boolean> {
  const reached = await Promise.all(hosts.map((from) => Promise.all(hosts.map((to) => reaches(from, to)))));
  console.log(`${'ping'.padEnd(8)}${hosts.map(({ name }) => name.padStart(8)).join('')}`);
  for (const [i, { name }] of hosts.entries()) {
    console.log(`${name.padEnd(8)}${reached[i].map((yes) => (yes ? 'yes' : 'no').padStart(8)).join('')}`);
  }
  return hosts.every((from, i) => hosts.every((to, j) => reached[i][j] === (from.vlan === to.vlan)));
}

const lab = await createSwitches();
try {
  if (!(await showReach(lab))) process.exitCode = 1;
  for (const { name, daemon } of lab.switches) {
    console.log(`\n${name}: vlan, station, port, seconds since it was heard`);
    for (const line of await daemon.command('show')) console.log(line);
  }
} finally {
  await lab.close();
}

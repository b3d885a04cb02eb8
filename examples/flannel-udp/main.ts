/**
 * Flannel's UDP mode again, and why it was given up: three hosts with two containers each, joined by an overlay.
 *
 *   node out/examples/flannel-udp/main.js [--rounds=1] [--seconds=3]
 *
 * Shows that all containers reach each other, then measures TCP from one host's container to another's by each data
 * path of the daemon (daemon.ts), where iperf3 is installed. Needs root, /dev/net/tun and ping. All of it happens in
 * network namespaces; nothing is left behind.
 */

import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { startDaemons, stopDaemons } from './cluster.ts';
import { type Container, createHosts, type Host } from './lab.ts';
import { PATHS, type Path } from './overlay.ts';

const WHAT: Readonly<Record<Path, string>> = {
  offloads: 'by batches, with offloads',
  batches: 'by batches, without offloads',
  packets: 'one packet at a time, node:dgram',
};

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '1' }, seconds: { type: 'string', default: '3' } },
});
const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  return text;
}

/** The round-trip time in milliseconds, or undefined where no answer came. */
async function ping(from: Container, to: Container): Promise<number | undefined> {
  const child = from.namespace.spawn('ping', ['-n', '-c1', '-W2', to.address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [, time] = (await output(child)).match(/time=([\d.]+)/) ?? [];
  return time === undefined ? undefined : Number(time);
}

/** Prints a row for each container; returns whether each reached all others. */
async function showReach(containers: readonly Container[]): Promise<boolean> {
  console.log(`ping, ms     ${containers.map(({ address }) => address.padStart(12)).join('')}`);
  let all = true;
  for (const from of containers) {
    const times = await Promise.all(containers.map((to) => (to === from ? 0 : ping(from, to))));
    all &&= !times.includes(undefined);
    const cells = times.map((time) => (time === 0 ? '-' : (time?.toFixed(2) ?? 'lost')).padStart(12));
    console.log(`${from.address.padEnd(13)}${cells.join('')}`);
  }
  return all;
}

/** TCP from one container to another, in Gbit/s. */
async function throughput(from: Container, to: Container): Promise<number> {
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  const server = to.namespace.spawn('iperf3', ['-s', '--forceflush'], { stdio: [...stdio] });
  const served = once(server, 'close');
  await once(server.stdout as NodeJS.EventEmitter, 'data');
  const args = ['-J', '-c', to.address, '-t', values.seconds];
  const report = await output(from.namespace.spawn('iperf3', args, { stdio: [...stdio] }));
  server.kill();
  await served;
  return JSON.parse(report).end.sum_received.bits_per_second / 1e9;
}

async function compare(hosts: readonly Host[]): Promise<void> {
  const rounds: Record<Path, number>[] = [];
  for (let round = 1; round <= Number(values.rounds); round++) {
    const figures = {} as Record<Path, number>;
    for (const path of PATHS) {
      const daemons = await startDaemons(hosts, path);
      figures[path] = await throughput(hosts[0].containers[0], hosts[1].containers[0]);
      await stopDaemons(daemons);
      console.error(
        `round ${round}/${values.rounds} ${WHAT[path].padEnd(33)} ${figures[path].toFixed(3)} Gbit/s`,
      );
    }
    rounds.push(figures);
  }
  console.log(`\n${'the overlay'.padEnd(33)}  TCP, Gbit/s   ratio`);
  for (const path of PATHS) {
    const gbps = median(rounds.map((figures) => figures[path]));
    const ratio = median(rounds.map((figures) => figures[path] / figures.packets));
    console.log(`${WHAT[path].padEnd(33)}  ${gbps.toFixed(2).padStart(11)}  ${ratio.toFixed(1).padStart(6)}`);
  }
}

const { lab, hosts } = await createHosts();
try {
  const daemons = await startDaemons(hosts);
  const all = await showReach(hosts.flatMap(({ containers }) => containers));
  await stopDaemons(daemons);
  if (spawnSync('iperf3', ['--version']).status === 0) await compare(hosts);
  else console.log('\nThere is no iperf3 here, so that nothing is measured.');
  if (!all) process.exitCode = 1;
} finally {
  await lab.close();
}

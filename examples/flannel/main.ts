/**
 * Flannel again: three hosts with two containers each, an etcd, and a daemon on each host.
 *
 *   node out/examples/flannel/main.js [--rounds=1] [--seconds=3] [--backend=udp,vxlan]
 *
 * Shows for each backend that all containers reach each other. Then it shows all backends side by side, where iperf3 is
 * installed, and why Flannel gave up its UDP mode. Needs root, /dev/net/tun, etcd, ping and setpriv. All of it happens in
 * network namespaces; nothing is left behind.
 */

import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { Cluster } from './cluster.ts';
import { EtcdServer } from './etcd-server.ts';
import { type Figures, measure, median, ping } from './figures.ts';
import { type Container, createHosts, ETCD_ADDRESS } from './lab.ts';

const UNDERLAY = 'the hosts, without an overlay';
const PACKETS = 'udp, one packet at a time';
const CONTENDERS: Readonly<Record<string, { readonly type: string; readonly args: readonly string[] }>> = {
  'host-gw': { type: 'host-gw', args: [] },
  vxlan: { type: 'vxlan', args: [] },
  udp: { type: 'udp', args: [] },
  wireguard: { type: 'wireguard', args: [] },
  [PACKETS]: { type: 'udp', args: ['--udp-path', 'packets'] },
};

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '3' },
    backend: { type: 'string' },
  },
});
for (const name of ['rounds', 'seconds'] as const)
  if (!/^[1-9]\d{0,5}$/.test(values[name])) throw new Error(`--${name} is a whole number from 1 to 999,999`);
const wanted = values.backend?.split(',');
const names = Object.keys(CONTENDERS).filter((name) => wanted === undefined || wanted.includes(name));

const progress = (text: string): void => console.error(text);

/** Prints a row for each container; returns whether each reached all others. */
async function showReach(containers: readonly Container[]): Promise<boolean> {
  console.log(`ping, ms     ${containers.map(({ address }) => address.padStart(15)).join('')}`);
  let all = true;
  for (const from of containers) {
    const cells = await Promise.all(
      containers.map(async (to) => {
        if (to === from) return '-';
        const [time] = await ping(from.namespace, to.address);
        all &&= time !== undefined;
        return time?.toFixed(2) ?? 'lost';
      }),
    );
    console.log(`${from.address.padEnd(13)}${cells.map((cell) => cell.padStart(15)).join('')}`);
  }
  return all;
}

function showFigures(rounds: readonly Record<string, Figures>[]): void {
  const of = (name: string, figure: (figures: Figures, underlay: Figures) => number): number =>
    median(rounds.map((round) => figure(round[name], round[UNDERLAY])));
  console.log(`\n${'backend'.padEnd(30)} TCP, Gbit/s   ratio   CPU, s/GB   ping, ms`);
  for (const name of [UNDERLAY, ...names]) {
    const cells = [
      of(name, ({ gbps }) => gbps)
        .toFixed(2)
        .padStart(11),
      of(name, ({ gbps }, underlay) => gbps / underlay.gbps)
        .toFixed(3)
        .padStart(7),
      of(name, ({ cpuPerGB }) => cpuPerGB)
        .toFixed(2)
        .padStart(11),
      of(name, ({ pingMs }) => pingMs)
        .toFixed(3)
        .padStart(10),
    ];
    console.log(`${name.padEnd(30)} ${cells.join(' ')}`);
  }
  if (![PACKETS, 'udp', 'vxlan'].every((name) => names.includes(name))) return;
  const ratio = (name: string, to: string): string =>
    median(rounds.map((round) => round[name].gbps / round[to].gbps)).toFixed(1);
  console.log(`
Why Flannel gave up its UDP mode: one packet at a time, each packet pays for a wake-up of the daemon, two system calls
and two ways through the kernel's stack. vxlan, which stays in the kernel, carried ${ratio('vxlan', PACKETS)} times as much.
By batches with offloads the same mode carried ${ratio('udp', PACKETS)} times as much as one packet at a time.`);
}

const { lab, hosts, store } = await createHosts();
let etcd: EtcdServer | undefined;
try {
  etcd = await EtcdServer.start(store, ETCD_ADDRESS);
  const measured = spawnSync('iperf3', ['--version']).status === 0;
  const rounds: Record<string, Figures>[] = [];
  for (let round = 1; round <= Number(values.rounds); round++) {
    const figures: Record<string, Figures> = {};
    const record = async (name: string, from: Container, to: Container): Promise<void> => {
      figures[name] = await measure(from.namespace, to, values.seconds);
      const { gbps, pingMs } = figures[name];
      progress(`round ${round}/${values.rounds} ${name.padEnd(30)} ${gbps.toFixed(3)} Gbit/s, ${pingMs} ms`);
    };
    if (measured) await record(UNDERLAY, hosts[0], hosts[1]);
    for (const name of names) {
      const { type, args } = CONTENDERS[name];
      progress(`round ${round}/${values.rounds} ${name}: starting three daemons and six containers`);
      const cluster = new Cluster(hosts, etcd);
      try {
        await cluster.configure({ Type: type });
        await cluster.start(...args);
        if (round === 1) {
          console.log(`\n${name}`);
          if (!(await showReach(cluster.containers.flat()))) process.exitCode = 1;
        }
        if (measured) await record(name, cluster.containers[0][0], cluster.containers[1][0]);
      } finally {
        await cluster.stop();
      }
    }
    rounds.push(figures);
  }
  if (measured) showFigures(rounds);
  else console.log('\nThere is no iperf3 here, so that nothing is measured.');
} finally {
  await etcd?.close();
  await lab.close();
}

/**
 * Compares the backends of examples/flannel, and each with its yardstick: `node out/bench/flannel.js`.
 *
 * TCP by iperf3 and ping, from a container on one host to one on another; all of it on this machine, in namespaces. Each
 * round runs each contender once, every other round backwards; reported are medians, and medians of the ratios within a
 * round. Options:
 * --rounds=N (5), --seconds=N (3), --only=NAME,NAME, --write (puts the table into the documentation);
 * --flannel=FOLDER: a checkout of github.com/flannel-io/flannel, whose proxy in C is built and measured too;
 * --before=FOLDER: a built checkout of this package at 76e1e50, whose examples/flannel-udp is measured too.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtcdServer } from '../examples/flannel/etcd-server.ts';
import { type Figures, measure, median, ping } from '../examples/flannel/figures.ts';
import { createHosts, ETCD_ADDRESS, type Host } from '../examples/flannel/lab.ts';
import { MACHINE, publish, RATIOS, version } from './blocks.ts';
import {
  type Contender,
  daemon,
  flannelProxy,
  flannelUdpBefore,
  underlay,
  vxlanByIp,
  wireGuardAlone,
} from './flannel-contenders.ts';
import { option } from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '3');
const ONLY = option('only', '');
const FLANNEL = option('flannel', '');
const BEFORE = option('before', '');

const UNDERLAY = 'the hosts, without an overlay';
const PROXY = "Flannel's own proxy in C";
const OLD = 'examples/flannel-udp of 76e1e50';
const BY_IP = 'the same VXLAN, set up by `ip`';
const ALONE = '`openWireGuard()` alone';
/** What each is measured against, besides the underlay. */
const YARDSTICKS: readonly (readonly [string, string])[] = [
  ['vxlan', BY_IP],
  ['udp', PROXY],
  ['udp', OLD],
  ['wireguard', ALONE],
];

const folder = mkdtempSync(join(tmpdir(), 'flannel-bench-'));
process.once('exit', () => rmSync(folder, { recursive: true }));
const contenders: Readonly<Record<string, Contender>> = {
  [UNDERLAY]: underlay,
  'host-gw': daemon('host-gw'),
  vxlan: daemon('vxlan'),
  [BY_IP]: vxlanByIp,
  udp: daemon('udp'),
  ...(BEFORE !== '' && { [OLD]: flannelUdpBefore(BEFORE) }),
  ...(FLANNEL !== '' && { [PROXY]: flannelProxy(FLANNEL, folder) }),
  'udp, one packet at a time': daemon('udp', '--udp-path', 'packets'),
  wireguard: daemon('wireguard'),
  [ALONE]: wireGuardAlone,
};
const names = Object.keys(contenders).filter(
  (name) => name === UNDERLAY || ONLY === '' || ONLY.split(',').includes(name),
);

async function figuresOf(contender: Contender, hosts: readonly Host[], etcd: EtcdServer): Promise<Figures> {
  const { ends, stop } = await contender(hosts, etcd);
  try {
    const [from, to] = ends;
    for (let tries = 0; (await ping(from.namespace, to.address)).length === 0; tries++) {
      if (tries === 5) throw new Error('The ends do not reach each other');
    }
    return await measure(from.namespace, to, SECONDS);
  } finally {
    await stop();
  }
}

const { lab, hosts, store } = await createHosts(2);
const rounds: Record<string, Figures>[] = [];
try {
  const etcd = await EtcdServer.start(store, ETCD_ADDRESS);
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      const figures: Record<string, Figures> = {};
      for (const name of round % 2 === 0 ? names.toReversed() : names) {
        figures[name] = await figuresOf(contenders[name], hosts, etcd);
        const { gbps, cpuPerGB, pingMs } = figures[name];
        console.error(
          `round ${round}/${ROUNDS} ${name.padEnd(32)} ${gbps.toFixed(2)} Gbit/s, ` +
            `${cpuPerGB.toFixed(2)} s/GB, ping ${pingMs.toFixed(3)} ms`,
        );
      }
      rounds.push(figures);
    }
  } finally {
    await etcd.close();
  }
} finally {
  await lab.close();
}

const of = (name: string, figure: (figures: Figures, underlay: Figures) => number): number =>
  median(rounds.map((round) => figure(round[name], round[UNDERLAY])));
const lines = [
  '| from container to container | TCP, Gbit/s | of the hosts’ own | CPU, s/GB | ping, ms |',
  '|---|---|---|---|---|',
  ...names.map((name) => {
    const gbps = of(name, (figures) => figures.gbps).toFixed(2);
    const share = of(name, (figures, bare) => figures.gbps / bare.gbps).toFixed(2);
    const cpu = of(name, (figures) => figures.cpuPerGB).toFixed(2);
    const pingMs = of(name, (figures) => figures.pingMs).toFixed(3);
    return `| ${name} | ${gbps} | ${share} | ${cpu} | ${pingMs} |`;
  }),
  '',
  '| TCP of | to that of | ratio | lowest and highest |',
  '|---|---|---|---|',
  ...YARDSTICKS.filter((pair) => pair.every((name) => names.includes(name))).map(([name, to]) => {
    const ratios = rounds.map((round) => round[name].gbps / round[to].gbps);
    const range = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(2));
    return `| ${name} | ${to} | ${median(ratios).toFixed(2)} | ${range.join(' to ')} |`;
  }),
];
const commit =
  FLANNEL === ''
    ? ''
    : `; Flannel ${execFileSync('git', ['-C', FLANNEL, 'rev-parse', '--short=12', 'HEAD'])}`;
const source =
  `${MACHINE}; iperf3 ${version('iperf3', '--version')}${commit.trim()}; medians of ${ROUNDS} rounds of ` +
  `${SECONDS} seconds. CPU is that of the whole machine, both ends and iperf3 included. ${RATIOS}`;
publish('flannel', [...lines, '', source].join('\n'), 'docs/overlay.md');

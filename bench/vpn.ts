/**
 * Compares tunnels side by side: this package's WireGuard, wireguard-go, OpenVPN: `node out/bench/vpn.js`.
 *
 * Both ends run on this machine, in two namespaces that a veth pair joins; tunnel MTU 1,420; TCP is iperf3's. Ping is
 * sent through the tunnel before TCP and a second after it, while nothing else is. Each round runs each contender once, in
 * turn; reported are medians, and medians of the ratios within a round. Programs that are not installed are left out.
 * Options: --rounds=N (5), --seconds=N (5), --pings=N (20), --interval=SECONDS (0.2), --only=NAME,NAME, --beside=TREE (a
 * built checkout that still has examples/vpn, to compare with it), --verbose, --write (puts the table into the
 * documentation).
 */

import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { MACHINE, publish, RATIOS, version } from './blocks.ts';
import { median, option } from './measure.ts';
import { CONTENDERS, type Contender, exampleOf } from './vpn-contenders.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '5');
const PINGS = option('pings', '20');
const INTERVAL = option('interval', '0.2');
const ONLY = option('only', '');
const TUNNEL = '10.9.0.1';
const BESIDE = option('beside', '');
const OTHER = 'wireguard-go to wireguard-go';
const OLD = 'examples/vpn of another checkout';

interface Figures {
  readonly mbps: number;
  /** Before it carried anything, and after: Node.js compiles what is called often. */
  readonly rttMs: number;
  readonly laterRttMs: number;
}

async function output(namespace: NetworkNamespace, command: string, ...args: string[]): Promise<string> {
  const child = namespace.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  return text;
}

async function ping(namespace: NetworkNamespace, target: string): Promise<number> {
  const text = await output(namespace, 'ping', '-n', '-c', PINGS, '-i', INTERVAL, target);
  return median([...text.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time)));
}

/** Waits until the tunnel carries a packet there and back. */
async function comesUp(namespace: NetworkNamespace): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    const child = namespace.spawn('ping', ['-c1', '-W1', TUNNEL], { stdio: 'ignore' });
    const [status] = await once(child, 'close');
    if (status === 0) return;
    // Where there is no device yet, ping fails at once.
    await setTimeout(100);
  }
  throw new Error('The tunnel does not come up; --verbose shows what the VPN says');
}

async function stop(children: readonly ChildProcess[]): Promise<void> {
  const running = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
  await Promise.all(
    running.map((child) => {
      child.kill();
      return once(child, 'close');
    }),
  );
}

async function measure(start: Contender): Promise<Figures> {
  await using a = await NetworkNamespace.create();
  await using b = await NetworkNamespace.create();
  await createVethPair(
    { name: 'eth0', namespace: a, addresses: ['192.0.2.1/24'], up: true },
    { name: 'eth0', namespace: b, addresses: ['192.0.2.2/24'], up: true },
  );
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));
  const children: ChildProcess[] = [];
  try {
    children.push(...(await start({ a, b, folder })));
    await comesUp(b);
    const rttMs = await ping(b, TUNNEL);
    const server = a.spawn('iperf3', ['-s', '--forceflush'], { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(server);
    await once(server.stdout as NodeJS.EventEmitter, 'data');
    server.stdout?.resume();
    const tcp = JSON.parse(await output(b, 'iperf3', '-J', '-c', TUNNEL, '-t', SECONDS)) as {
      end: { sum_received: { bits_per_second: number } };
    };
    const mbps = tcp.end.sum_received.bits_per_second / 1e6;
    await setTimeout(1000);
    const laterRttMs = await ping(b, TUNNEL);
    return { mbps, rttMs, laterRttMs };
  } finally {
    await stop(children);
    rmSync(folder, { recursive: true });
  }
}

const isInstalled = (program: string): boolean => spawnSync('which', [program]).status === 0;
const contenders = Object.entries({
  ...CONTENDERS,
  ...(BESIDE === '' ? {} : { [OLD]: exampleOf(BESIDE) }),
}).filter(
  ([name]) =>
    (ONLY === '' || ONLY.split(',').includes(name)) &&
    ['wireguard-go', 'openvpn'].every(
      (program) => !name.toLowerCase().includes(program) || isInstalled(program),
    ),
);
const rounds: Record<string, Figures>[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  const figures: Record<string, Figures> = {};
  for (const [name, start] of contenders) {
    figures[name] = await measure(start);
    const { mbps, rttMs, laterRttMs } = figures[name];
    console.error(
      `round ${round}/${ROUNDS} ${name.padEnd(32)} ${mbps.toFixed(0)} Mbit/s, ` +
        `ping ${rttMs.toFixed(3)} ms, later ${laterRttMs.toFixed(3)} ms`,
    );
  }
  rounds.push(figures);
}

const lines = [
  '| from, to | TCP, Mbit/s | of wireguard-go’s | ping, ms (of wireguard-go’s) | ping after traffic |',
  '|---|---|---|---|---|',
];
for (const [name] of contenders) {
  const of = (key: keyof Figures) => median(rounds.map((figures) => figures[name][key]));
  const ratio = (key: keyof Figures, to = OTHER) =>
    median(rounds.map((figures) => figures[name][key] / (figures[to]?.[key] ?? Number.NaN))).toFixed(2);
  lines.push(
    `| ${name} | ${of('mbps').toFixed(0)} | ${ratio('mbps')} | ` +
      `${of('rttMs').toFixed(3)} (${ratio('rttMs')}) | ${of('laterRttMs').toFixed(3)} (${ratio('laterRttMs')}) |`,
  );
  if (BESIDE !== '' && name !== OLD) console.log(`${name}: ${ratio('mbps', OLD)} times ${OLD}`);
}
const versions = [
  ...(isInstalled('wireguard-go') ? [`wireguard-go ${wireguardGoVersion()}`] : []),
  ...(isInstalled('openvpn') ? [`OpenVPN ${version('openvpn', '--version')}`] : []),
  `iperf3 ${version('iperf3', '--version')}`,
];
const source = `${MACHINE}; ${versions.join(', ')}; medians of ${ROUNDS} rounds. ${RATIOS}`;
publish('vpn', [...lines, '', source].join('\n'), 'README.md', 'docs/vpn.md', 'docs/wireguard.md');

/** Debian's package has the version; the program itself only says when it was built. */
function wireguardGoVersion(): string {
  return execFileSync('dpkg-query', ['-W', 'wireguard-go'], { encoding: 'utf8' }).trim().split('\t')[1];
}

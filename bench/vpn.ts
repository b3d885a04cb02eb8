/**
 * Compares the example VPN with wireguard-go and OpenVPN, side by side: `node out/bench/vpn.js`.
 *
 * Both ends run on this machine, in two namespaces that a veth pair joins; tunnel MTU 1,420; TCP is iperf3's. Ping is
 * sent through the tunnel, before TCP and a second after it, and through the veth pair itself, while nothing else is.
 * Each round runs each VPN once, in turn; reported are medians, and medians of the ratios within a round. Options:
 * --rounds=N (5), --seconds=N (5), --pings=N (20), --interval=SECONDS (0.2), --only=NAME,NAME, --verbose,
 * --write (puts the table into the documentation).
 */

import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { MACHINE, publish, version } from './blocks.ts';
import { median, option } from './measure.ts';
import { CONTENDERS, type Contender } from './vpn-contenders.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '5');
const PINGS = option('pings', '20');
const INTERVAL = option('interval', '0.2');
const ONLY = option('only', '');
const TUNNEL = '10.9.0.1';
const WIRE = '192.0.2.1';

interface Figures {
  readonly mbps: number;
  /** Before it carried anything, and after: Node.js compiles what is called often. */
  readonly rttMs: number;
  readonly laterRttMs: number;
  readonly wireRttMs: number;
  /** How many times twice the wire's round trip and 0.15 ms go into the tunnel's: 1 and less is what is wanted. */
  readonly rttShare: number;
  readonly laterRttShare: number;
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
    { name: 'eth0', namespace: a, addresses: [`${WIRE}/24`], up: true },
    { name: 'eth0', namespace: b, addresses: ['192.0.2.2/24'], up: true },
  );
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));
  const children: ChildProcess[] = [];
  try {
    children.push(...(await start({ a, b, folder })));
    await comesUp(b);
    const rttMs = await ping(b, TUNNEL);
    const wireRttMs = await ping(b, WIRE);
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
    const wanted = 2 * wireRttMs + 0.15;
    return {
      mbps,
      rttMs,
      laterRttMs,
      wireRttMs,
      rttShare: rttMs / wanted,
      laterRttShare: laterRttMs / wanted,
    };
  } finally {
    await stop(children);
    rmSync(folder, { recursive: true });
  }
}

const names = Object.keys(CONTENDERS).filter((name) => ONLY === '' || ONLY.split(',').includes(name));
const rounds: Record<string, Figures>[] = [];
for (let round = 1; round <= ROUNDS; round++) {
  const figures: Record<string, Figures> = {};
  for (const name of names) {
    figures[name] = await measure(CONTENDERS[name]);
    const { mbps, rttMs, laterRttMs, wireRttMs } = figures[name];
    console.error(
      `round ${round}/${ROUNDS} ${name.padEnd(22)} ${mbps.toFixed(0)} Mbit/s, ` +
        `ping ${rttMs.toFixed(3)} ms, later ${laterRttMs.toFixed(3)} ms, by the wire ${wireRttMs.toFixed(3)} ms`,
    );
  }
  rounds.push(figures);
}

const lines = [
  '| VPN | TCP, Mbit/s | to wireguard-go | to OpenVPN | ping, ms (of 2 × the wire’s + 0.15 ms) | after traffic |',
  '|---|---|---|---|---|---|',
];
for (const name of names) {
  const of = (key: keyof Figures) => median(rounds.map((figures) => figures[name][key]));
  const ratio = (to: string) => {
    const ratios = rounds.map((figures) => figures[name].mbps / (figures[to]?.mbps ?? Number.NaN));
    return median(ratios).toFixed(2);
  };
  lines.push(
    `| ${name} | ${of('mbps').toFixed(0)} | ${ratio('wireguard-go')} | ${ratio('openvpn aes-256-gcm')} | ` +
      `${of('rttMs').toFixed(3)} (${of('rttShare').toFixed(2)}) | ` +
      `${of('laterRttMs').toFixed(3)} (${of('laterRttShare').toFixed(2)}) |`,
  );
}
const opponents = `wireguard-go ${wireguardGoVersion()}, OpenVPN ${version('openvpn', '--version')}`;
const source = `${MACHINE}; ${opponents}, iperf3 ${version('iperf3', '--version')}; medians of ${ROUNDS} rounds.`;
publish('vpn', [...lines, '', source].join('\n'), 'README.md', 'docs/vpn.md');

/** Debian's package has the version; the program itself only says when it was built. */
function wireguardGoVersion(): string {
  return execFileSync('dpkg-query', ['-W', 'wireguard-go'], { encoding: 'utf8' }).trim().split('\t')[1];
}

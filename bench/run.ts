/**
 * Compares forwarders of two TUN devices in two namespaces, side by side: `npm run bench`.
 *
 * Every round runs each forwarder once, in turn, so that a slow minute of the machine meets all of them. Reported are
 * medians of the rounds and of each round's ratio to the C forwarder. Options: --rounds=N (5), --seconds=N (3),
 * --only=NAME,NAME, --write (puts the table and the chart into docs/).
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NetworkNamespace } from 'tuntap-native';
import { chart, introduction, type Row, table } from './report.ts';

const ROOT = join(fileURLToPath(import.meta.url), '..', '..', '..');
const option = (name: string, fallback: string): string =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.split('=')[1] ?? fallback;
const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '3');
const UDP_RATE = option('udp-rate', '60000');
const ONLY = option('only', '');

const built = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));
for (const program of ['forwarder', 'udp-flood', 'udp-sink']) {
  execFileSync('cc', ['-O2', '-Wall', '-o', join(built, program), join(ROOT, 'bench', `${program}.c`)]);
}

const JS = join(ROOT, 'out', 'bench', 'forwarder.js');
const FORWARDERS: Record<string, (ends: string[]) => string[]> = {
  c: (ends) => [join(built, 'forwarder'), ...ends],
  'c vnet': (ends) => [join(built, 'forwarder'), ...ends, 'vnet'],
  batch: (ends) => [process.execPath, JS, ...ends, 'batch', 'off'],
  stream: (ends) => [process.execPath, JS, ...ends, 'stream', 'off'],
  'batch split': (ends) => [process.execPath, JS, ...ends, 'batch', 'split'],
  'stream split': (ends) => [process.execPath, JS, ...ends, 'stream', 'split'],
  'batch raw': (ends) => [process.execPath, JS, ...ends, 'batch', 'raw'],
  'stream raw': (ends) => [process.execPath, JS, ...ends, 'stream', 'raw'],
};

const median = (values: number[]): number => [...values].sort((x, y) => x - y)[values.length >> 1];

interface Figures {
  gbps: number;
  cpuPerGB: number;
  cpuPerPacketUs: number;
  udpDelivered: number;
  rttMs: number;
}

/** What all threads of a process have run, in seconds (Documentation/scheduler/sched-stats.rst of Linux). */
function cpuSeconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanoseconds = threads.map((id) =>
    Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0]),
  );
  return nanoseconds.reduce((sum, value) => sum + value, 0) / 1e9;
}

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`${child.spawnargs.join(' ')} ended with status ${status}`);
  return text;
}

const run = (namespace: NetworkNamespace, command: string, ...args: string[]): Promise<string> =>
  output(namespace.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] }));

async function measure(command: (ends: string[]) => string[]): Promise<Figures> {
  const a = await NetworkNamespace.create();
  const b = await NetworkNamespace.create();
  const path = (namespace: NetworkNamespace) => `/proc/${process.pid}/fd/${namespace.fd}`;
  const [program = '', ...args] = command([path(a), 'tuna', path(b), 'tunb']);
  const forwarder = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const pid = forwarder.pid ?? 0;
  let server: ChildProcess | undefined;
  let sink: ChildProcess | undefined;
  try {
    await once(forwarder.stdout as NodeJS.EventEmitter, 'data');
    for (const [namespace, name, address] of [
      [a, 'tuna', '192.0.2.1/24'],
      [b, 'tunb', '192.0.2.2/24'],
    ] as const) {
      await run(namespace, 'ip', 'addr', 'add', address, 'dev', name);
      await run(namespace, 'ip', 'link', 'set', name, 'up', 'txqueuelen', '1000');
    }
    server = b.spawn('iperf3', ['-s', '-B', '192.0.2.2', '--forceflush'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await once(server.stdout as NodeJS.EventEmitter, 'data');

    const ping = await run(a, 'ping', '-n', '-c500', '-i0.002', '192.0.2.2');
    const rttMs = median([...ping.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time)));

    const beforeTcp = cpuSeconds(pid);
    const tcp = JSON.parse(await run(a, 'iperf3', '-J', '-c', '192.0.2.2', '-t', SECONDS)) as {
      end: { sum_received: { bits_per_second: number; bytes: number } };
    };
    const { bits_per_second, bytes } = tcp.end.sum_received;
    const cpuPerGB = (cpuSeconds(pid) - beforeTcp) / (bytes / 1e9);

    sink = b.spawn(join(built, 'udp-sink'), ['192.0.2.2', '9'], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(sink.stdout as NodeJS.EventEmitter, 'data');
    const count = output(sink);
    const beforeCpu = cpuSeconds(pid);
    const sent = Number(await run(a, join(built, 'udp-flood'), '192.0.2.2', '9', SECONDS, UDP_RATE));
    const udpCpu = cpuSeconds(pid) - beforeCpu;
    sink.kill();
    const delivered = Number(await count);
    return {
      gbps: bits_per_second / 1e9,
      cpuPerGB,
      cpuPerPacketUs: (udpCpu / delivered) * 1e6,
      udpDelivered: delivered / sent,
      rttMs,
    };
  } finally {
    server?.kill();
    sink?.kill();
    forwarder.kill();
    await Promise.all([a.close(), b.close()]);
  }
}

const names = Object.keys(FORWARDERS).filter((name) => ONLY === '' || ONLY.split(',').includes(name));
const rounds: Record<string, Figures>[] = [];
try {
  for (let round = 1; round <= ROUNDS; round++) {
    const figures: Record<string, Figures> = {};
    for (const name of names) {
      figures[name] = await measure(FORWARDERS[name]);
      const { gbps, cpuPerGB, cpuPerPacketUs, udpDelivered, rttMs } = figures[name];
      console.error(
        `round ${round}/${ROUNDS} ${name.padEnd(12)} ${gbps.toFixed(2)} Gbit/s ${cpuPerGB.toFixed(2)} s/GB ` +
          `${cpuPerPacketUs.toFixed(2)} us/packet (${(udpDelivered * 100).toFixed(1)} % arrived) ${rttMs.toFixed(3)} ms`,
      );
    }
    rounds.push(figures);
  }
} finally {
  rmSync(built, { recursive: true });
}

const rows: Row[] = names.map((name) => {
  const of = (key: keyof Figures) => median(rounds.map((figures) => figures[name][key]));
  const ratio = (key: keyof Figures, to = 'c') =>
    median(rounds.map((figures) => figures[name][key] / (figures[to]?.[key] ?? Number.NaN)));
  return {
    name,
    gbps: of('gbps'),
    gbpsRatio: ratio('gbps'),
    gbpsVnetRatio: ratio('gbps', 'c vnet'),
    cpuPerGB: of('cpuPerGB'),
    cpuPerGBRatio: ratio('cpuPerGB'),
    cpuPerGBVnetRatio: ratio('cpuPerGB', 'c vnet'),
    cpuPerPacketUs: of('cpuPerPacketUs'),
    cpuPerPacketRatio: ratio('cpuPerPacketUs'),
    rttMs: of('rttMs'),
    rttRatio: ratio('rttMs'),
  };
});
const machine = `${cpus().length} cores, Linux ${release()}, Node ${process.version}; medians of ${ROUNDS} rounds`;
console.log(table(rows));
console.log(machine);
if (process.argv.includes('--write')) {
  writeFileSync(
    join(ROOT, 'docs', 'forwarding.md'),
    `${introduction(machine)}\n${table(rows)}\n\n![TCP throughput](forwarding.svg)\n`,
  );
  writeFileSync(join(ROOT, 'docs', 'forwarding.svg'), chart(rows));
}

/** What the programs of this folder measure a forwarder of two TUN devices with. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NetworkNamespace } from 'tuntap-native';

/** The package's folder. */
export const ROOT = join(fileURLToPath(import.meta.url), '..', '..', '..');

/** The file of a program of this folder. */
export const program = (name: string): string => join(ROOT, 'out', 'bench', `${name}.js`);

/** The value of `--name=value` on the command line. */
export const option = (name: string, fallback: string): string =>
  process.argv.find((argument) => argument.startsWith(`--${name}=`))?.split('=')[1] ?? fallback;

export const median = (values: readonly number[]): number =>
  [...values].sort((x, y) => x - y)[values.length >> 1];

/** Of one forwarder in one round. */
export interface Figures {
  gbps: number;
  cpuPerGB: number;
  cpuPerPacketUs: number;
  udpDelivered: number;
  rttMs: number;
  busyRttMs: number;
}

/** What all threads of a process have run, in seconds (Documentation/scheduler/sched-stats.rst of Linux). */
export function cpuSeconds(pid: number): number {
  const threads = readdirSync(`/proc/${pid}/task`);
  const nanoseconds = threads.map((id) =>
    Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0]),
  );
  return nanoseconds.reduce((sum, value) => sum + value, 0) / 1e9;
}

/** What a child prints until its end. */
export async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  const [status] = await once(child, 'close');
  if (status !== 0) throw new Error(`${child.spawnargs.join(' ')} ended with status ${status}`);
  return text;
}

/** Runs a program inside a namespace to its end. */
export const run = (namespace: NetworkNamespace, command: string, ...args: string[]): Promise<string> =>
  output(namespace.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] }));

/** A namespace of this process, as a path for its children. */
export const pathOf = ({ fd }: NetworkNamespace): string => `/proc/${process.pid}/fd/${fd}`;

/** Programs of C, compiled into a folder that {@link Programs.remove} removes. */
export class Programs {
  readonly #folder = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));

  /** @param sources below bench/, without `.c` */
  constructor(...sources: string[]) {
    for (const source of sources) {
      const file = join(ROOT, 'bench', `${source}.c`);
      execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-pthread', '-o', this.path(source), file]);
    }
  }

  /** The file of a program. */
  path(source: string): string {
    return join(this.#folder, basename(source));
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

/** The programs that {@link measure} needs. */
export const TRAFFIC = ['udp-flood', 'udp-sink'] as const;

/** A forwarder that runs between `tuna` in one namespace and `tunb` in another. */
export interface Forwarding extends AsyncDisposable {
  readonly a: NetworkNamespace;
  readonly b: NetworkNamespace;
  readonly pid: number;
}

/**
 * @param command the forwarder's, of a namespace's path and a device's name, twice
 * @param pairs with more than one, the forwarder has as many pairs of devices, their names and networks numbered: the
 * third byte of their addresses is the number
 * @param mtu of all devices
 */
export async function startForwarder(
  command: (ends: string[]) => string[],
  pairs = 1,
  mtu = 1500,
): Promise<Forwarding> {
  const a = await NetworkNamespace.create();
  const b = await NetworkNamespace.create();
  const [program = '', ...args] = command([pathOf(a), 'tuna', pathOf(b), 'tunb']);
  const forwarder = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const dispose = async () => {
    forwarder.kill();
    await Promise.all([a.close(), b.close()]);
  };
  try {
    await once(forwarder.stdout as NodeJS.EventEmitter, 'data');
    for (const [namespace, name, host] of [
      [a, 'tuna', 1],
      [b, 'tunb', 2],
    ] as const) {
      for (let i = 0; i < pairs; i++) {
        const device = pairs === 1 ? name : `${name}${i}`;
        const address = pairs === 1 ? `192.0.2.${host}/24` : `10.77.${i}.${host}/24`;
        await run(namespace, 'ip', 'addr', 'add', address, 'dev', device);
        await run(namespace, 'ip', 'link', 'set', device, 'up', 'txqueuelen', '1000', 'mtu', `${mtu}`);
      }
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return { a, b, pid: forwarder.pid ?? 0, [Symbol.asyncDispose]: dispose };
}

/** An iperf3 server in `b`, until it is disposed of. */
export async function iperfServer({ b }: Forwarding): Promise<Disposable> {
  const server = b.spawn('iperf3', ['-s', '-B', '192.0.2.2', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(server.stdout as NodeJS.EventEmitter, 'data');
  return { [Symbol.dispose]: () => void server.kill() };
}

/** TCP for some seconds, by iperf3 with these arguments more. */
export async function measureTcp(
  { a, pid }: Forwarding,
  seconds: string,
  ...args: string[]
): Promise<Pick<Figures, 'gbps' | 'cpuPerGB'>> {
  const before = cpuSeconds(pid);
  const tcp = JSON.parse(await run(a, 'iperf3', '-J', '-c', '192.0.2.2', '-t', seconds, ...args)) as {
    end: { sum_received: { bits_per_second: number; bytes: number } };
  };
  const { bits_per_second, bytes } = tcp.end.sum_received;
  return { gbps: bits_per_second / 1e9, cpuPerGB: (cpuSeconds(pid) - before) / (bytes / 1e9) };
}

/** Packets at a fixed rate: what each cost the forwarder, and how many of them arrived. */
export async function measureUdp(
  { a, b, pid }: Forwarding,
  programs: Programs,
  seconds: string,
  rate: string,
  { size = 64, pairs = 1 } = {},
): Promise<Pick<Figures, 'cpuPerPacketUs' | 'udpDelivered'>> {
  const to = pairs === 1 ? '192.0.2.2' : '10.77.0.2';
  const at = pairs === 1 ? to : '0.0.0.0';
  const sink = b.spawn(programs.path('udp-sink'), [at, '9'], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(sink.stdout as NodeJS.EventEmitter, 'data');
    const count = output(sink);
    const before = cpuSeconds(pid);
    const flood = [to, '9', seconds, rate, `${size}`, `${pairs}`];
    const sent = Number(await run(a, programs.path('udp-flood'), ...flood));
    const cpu = cpuSeconds(pid) - before;
    sink.kill();
    const delivered = Number(await count);
    return { cpuPerPacketUs: (cpu / delivered) * 1e6, udpDelivered: delivered / sent };
  } finally {
    sink.kill();
  }
}

/** Round-trip times in milliseconds: of pings 500 a second, and of pings that each follow the last one's reply. */
export async function measurePing({ a }: Forwarding): Promise<Pick<Figures, 'rttMs' | 'busyRttMs'>> {
  const ping = async (...args: string[]): Promise<number> => {
    const text = await run(a, 'ping', '-n', ...args, '192.0.2.2');
    return median([...text.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time)));
  };
  return { rttMs: await ping('-c500', '-i0.002'), busyRttMs: await ping('-c10000', '-i0') };
}

/** All of it, on a forwarder that is started for it. */
export async function measure(
  command: (ends: string[]) => string[],
  programs: Programs,
  seconds: string,
  udpRate: string,
): Promise<Figures> {
  await using forwarding = await startForwarder(command);
  using _server = await iperfServer(forwarding);
  const ping = await measurePing(forwarding);
  const tcp = await measureTcp(forwarding, seconds);
  const udp = await measureUdp(forwarding, programs, seconds, udpRate);
  return { ...ping, ...tcp, ...udp };
}

/** A line that tells of one forwarder in one round. */
export function line(name: string, figures: Figures): string {
  const { gbps, cpuPerGB, cpuPerPacketUs, udpDelivered, rttMs, busyRttMs } = figures;
  return (
    `${name.padEnd(24)} ${gbps.toFixed(2)} Gbit/s ${cpuPerGB.toFixed(2)} s/GB ` +
    `${cpuPerPacketUs.toFixed(2)} us/packet (${(udpDelivered * 100).toFixed(1)} % arrived) ` +
    `${rttMs.toFixed(3)} and ${busyRttMs.toFixed(3)} ms`
  );
}

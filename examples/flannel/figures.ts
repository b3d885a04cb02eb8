/** What the demo and the benchmark measure between two containers, or two hosts. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { NetworkNamespace } from 'tuntap-native/net';

// /proc/stat counts in USER_HZ (proc(5)), which is 100 on all architectures that Node.js runs on.
const TICKS_PER_SECOND = 100;
const PINGS = 20;

export interface End {
  readonly address: string;
  readonly namespace: NetworkNamespace;
}

export interface Figures {
  readonly gbps: number;
  /** Of the whole machine: kernel backends have no process, and both ends are on this machine. */
  readonly cpuPerGB: number;
  readonly pingMs: number;
}

export const median = (numbers: readonly number[]): number =>
  [...numbers].sort((a, b) => a - b)[numbers.length >> 1];

/** The round-trip times of pings in milliseconds; fewer than `count` if some got no answer. */
export async function ping(from: NetworkNamespace, to: string, count = 1): Promise<readonly number[]> {
  const args = ['-n', '-c', `${count}`, '-i', '0.05', '-W', '2', to];
  const text = await output(from.spawn('ping', args, { stdio: ['ignore', 'pipe', 'inherit'] }));
  return [...text.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time));
}

/** Measures ping, and then TCP by iperf3, from one end to the other. */
export async function measure(from: NetworkNamespace, to: End, seconds: string): Promise<Figures> {
  const pingMs = median(await ping(from, to.address, PINGS));
  const stdio: ('ignore' | 'pipe' | 'inherit')[] = ['ignore', 'pipe', 'inherit'];
  const server = to.namespace.spawn('iperf3', ['-s', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const served = once(server, 'close');
  try {
    await once(server.stdout as NodeJS.EventEmitter, 'data');
    server.stdout?.resume();
    const before = busySeconds();
    const report = await output(from.spawn('iperf3', ['-J', '-c', to.address, '-t', seconds], { stdio }));
    const cpu = busySeconds() - before;
    const { bits_per_second, bytes } = JSON.parse(report).end.sum_received;
    return { gbps: bits_per_second / 1e9, cpuPerGB: cpu / (bytes / 1e9), pingMs };
  } finally {
    server.kill();
    await served;
  }
}

/** What all processors have worked: user, nice, system, irq and softirq of /proc/stat's first line. */
function busySeconds(): number {
  const [line] = readFileSync('/proc/stat', 'utf8').split('\n');
  const [user, nice, system, , , irq, softirq] = line.trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  return text;
}

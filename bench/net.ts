/**
 * Network configuration against iproute2, side by side on this machine:
 *
 *     node out/bench/net.js [--pairs=1000] [--routes=10000] [--write]
 *
 * 1. Veth pairs, each from one namespace into a named namespace of its own, with an address at both ends
 *    and up, built and removed; against a shell script with one `ip` call a step.
 * 2. Listing routes, against `ip -j route`.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { MACHINE, publish, RATIOS, version } from './blocks.ts';
import { median, option } from './measure.ts';

const pairs = Number(option('pairs', '1000'));
const routes = Number(option('routes', '10000'));
const WORKERS = 8;

async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = process.hrtime.bigint();
  await action();
  return Number(process.hrtime.bigint() - start) / 1e6;
}

function command(namespace: NetworkNamespace, program: string, ...args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = namespace.spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    child.on('error', reject);
    child.on('close', (status) =>
      status === 0 ? resolve() : reject(new Error(`${program} ended with ${status}`)),
    );
  });
}

const named = (i: number): string => `bench${process.pid}-${i}`;
const address = (i: number, host: number): string => `10.${i >> 8}.${i & 0xff}.${host}/24`;

function script(): string {
  const lines: string[] = [];
  for (let i = 0; i < pairs; i++) {
    lines.push(
      `ip netns add ${named(i)}`,
      `ip link add v${i} type veth peer name eth0 netns ${named(i)}`,
      `ip address add ${address(i, 1)} dev v${i}`,
      `ip link set v${i} up`,
      `ip -n ${named(i)} address add ${address(i, 2)} dev eth0`,
      `ip -n ${named(i)} link set eth0 up`,
    );
  }
  for (let i = 0; i < pairs; i++) lines.push(`ip netns delete ${named(i)}`);
  return lines.join('\n');
}

/** Runs `action` for 0 to `count - 1`, a few at the same time. */
async function each(count: number, action: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) await action(next++);
  };
  await Promise.all(Array.from({ length: WORKERS }, work));
}

/** The kernel takes links away some time after their namespace: `round` keeps the names apart. */
async function build(host: NetworkNamespace, round: number): Promise<void> {
  const made: (() => Promise<void>)[] = [];
  await each(pairs, async (i) => {
    const namespace = await NetworkNamespace.create(named(i));
    await createVethPair(
      { name: `v${round}-${i}`, namespace: host, addresses: [address(i, 1)], up: true },
      { name: 'eth0', namespace, addresses: [address(i, 2)], up: true },
    );
    made[i] = async () => {
      await namespace.close();
      await NetworkNamespace.delete(named(i));
    };
  });
  await each(pairs, (i) => made[i]());
}

const lines = ['| what | tuntap-native, ms | iproute2, ms | ratio |', '|---|---|---|---|'];

function report(name: string, ours: readonly number[], theirs: readonly number[]): void {
  const ratio = median(ours.map((time, i) => time / theirs[i]));
  lines.push(`| ${name} | ${median(ours).toFixed(0)} | ${median(theirs).toFixed(0)} | ${ratio.toFixed(2)} |`);
}

const directory = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));
try {
  {
    await using host = await NetworkNamespace.create();
    const file = join(directory, 'pairs.sh');
    writeFileSync(file, script());
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < 3; round++) {
      theirs.push(await timed(() => command(host, 'sh', '-e', file)));
      ours.push(await timed(() => build(host, round)));
    }
    report(`${pairs} veth pairs and namespaces, built and removed`, ours, theirs);
  }
  {
    await using host = await NetworkNamespace.create();
    const bridge = await host.addLink({ kind: 'bridge', name: 'br0', up: true });
    await bridge.addAddress('192.0.2.1/24');
    await Promise.all(
      Array.from({ length: routes }, (_, i) =>
        host.addRoute({ destination: `10.${(i >> 8) & 0xff}.${i & 0xff}.${i >> 16}/32`, via: '192.0.2.2' }),
      ),
    );
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < 15; round++) {
      ours.push(
        await timed(async () => {
          if ((await host.routes()).length !== routes + 1) throw new Error('routes are missing');
        }),
      );
      theirs.push(await timed(() => command(host, 'ip', '-j', 'route')));
    }
    report(`listing ${routes} routes`, ours, theirs);
  }
  const source = `${MACHINE}; iproute2 ${version('ip', '-V')}; medians of 3 and 15 rounds. ${RATIOS}`;
  publish('net', [...lines, '', source].join('\n'), 'docs/network.md');
} finally {
  rmSync(directory, { recursive: true });
  const left = (await NetworkNamespace.list()).filter((name) => name.startsWith(`bench${process.pid}-`));
  await Promise.all(left.map((name) => NetworkNamespace.delete(name)));
}

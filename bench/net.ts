/**
 * Network configuration against iproute2, side by side on this machine:
 *
 *     node out/bench/net.js [PAIRS] [ROUTES]
 *
 * 1. PAIRS veth pairs, each from one namespace into a named namespace of its own, with an address at both ends
 *    and up, built and removed; against a shell script with one `ip` call a step.
 * 2. Listing ROUTES routes, against `ip -j route`.
 */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';

const pairs = Number(process.argv[2] ?? 1000);
const routes = Number(process.argv[3] ?? 10_000);
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

const address = (i: number, host: number): string => `10.${i >> 8}.${i & 0xff}.${host}/24`;

function script(): string {
  const lines: string[] = [];
  for (let i = 0; i < pairs; i++) {
    lines.push(
      `ip netns add bench${i}`,
      `ip link add v${i} type veth peer name eth0 netns bench${i}`,
      `ip address add ${address(i, 1)} dev v${i}`,
      `ip link set v${i} up`,
      `ip -n bench${i} address add ${address(i, 2)} dev eth0`,
      `ip -n bench${i} link set eth0 up`,
    );
  }
  for (let i = 0; i < pairs; i++) lines.push(`ip netns delete bench${i}`);
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

async function build(host: NetworkNamespace): Promise<void> {
  const made: (() => Promise<void>)[] = [];
  await each(pairs, async (i) => {
    const namespace = await NetworkNamespace.create(`bench${i}`);
    await createVethPair(
      { name: `v${i}`, namespace: host, addresses: [address(i, 1)], up: true },
      { name: 'eth0', namespace, addresses: [address(i, 2)], up: true },
    );
    made[i] = async () => {
      await namespace.close();
      await NetworkNamespace.delete(`bench${i}`);
    };
  });
  await each(pairs, (i) => made[i]());
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

function report(name: string, ours: number, theirs: number, bar: number): void {
  const ratio = ours / theirs;
  console.log(
    `| ${name} | ${ours.toFixed(0)} | ${theirs.toFixed(0)} | ${ratio.toFixed(2)} | ${bar.toFixed(2)} | ${ratio <= bar ? 'met' : 'MISSED'} |`,
  );
}

const directory = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));
try {
  console.log('| what | tuntap-native, ms | iproute2, ms | ratio | bar | |\n|---|---|---|---|---|---|');
  {
    await using host = await NetworkNamespace.create();
    const file = join(directory, 'pairs.sh');
    writeFileSync(file, script());
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < 3; round++) {
      theirs.push(await timed(() => command(host, 'sh', '-e', file)));
      ours.push(await timed(() => build(host)));
    }
    report(`${pairs} veth pairs and namespaces, built and removed`, median(ours), median(theirs), 0.25);
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
    report(`listing ${routes} routes`, median(ours), median(theirs), 1);
  }
} finally {
  rmSync(directory, { recursive: true });
}

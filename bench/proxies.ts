/**
 * Measures `relayTo()` beside other programs that turn a device's packets into connections: `node out/bench/proxies.js`.
 *
 * A client in one namespace, the contender in a second one, and in a third the server and a SOCKS5 server, which a veth pair
 * joins to the second. Each round runs each contender once, in turn; reported are medians, and medians of the ratios of ours
 * to the other's of the same round. TCP is iperf3's, one stream. Connections: 64 at once, each read to its end.
 * Options: --rounds=N (5), --seconds=N (3), --hev=FILE (hev-socks5-tunnel, built from its sources), --only=TEXT.
 * It needs pasta and slirp4netns.
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { churn, churnServer, manyFiles } from './churn.ts';
import { median, option, Programs, program, run } from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '3');
const HEV = option('hev', '');
const ONLY = option('only', '');
const SERVER = '192.0.2.2';
const PROXY = { host: '10.1.0.2', port: 1080 } as const;
const DEVICE = 'tun0';
let measurements = 0;
const folder = mkdtempSync(join(tmpdir(), 'tuntap-bench-'));

interface Setup {
  readonly client: NetworkNamespace;
  readonly host: NetworkNamespace;
  readonly server: NetworkNamespace;
  /** The client's namespace, for other processes. */
  readonly path: string;
  readonly mtu: number;
}

type Contender = (setup: Setup) => Promise<ChildProcess>;

/** Starts a program in the host's namespace. */
function start({ host }: Setup, command: string, ...args: string[]): ChildProcess {
  const stdio = ['ignore', 'pipe', option('verbose', '') ? 'inherit' : 'ignore'] as ('ignore' | 'pipe')[];
  return host.spawn('sh', manyFiles(command, ...args), { stdio });
}

async function configure({ client, mtu }: Setup): Promise<void> {
  const link = await client.link(DEVICE);
  await link.addAddress('198.51.100.1/24');
  await link.set({ mtu, up: true });
  await client.addRoute({ destination: '0.0.0.0/0', device: DEVICE });
}

async function appears({ client }: Setup, name: string): Promise<void> {
  for (let i = 0; i < 250; i++) {
    if ((await client.links()).some((link) => link.name === name && link.flags.includes('UP'))) return;
    await setTimeout(20);
  }
  throw new Error(`${name} does not come up`);
}

const ours =
  (via?: string): Contender =>
  async (setup) => {
    const more = via === undefined ? [] : [via];
    const args = [program('proxies-end'), setup.path, DEVICE, `${setup.mtu}`, ...more];
    const child = start(setup, process.execPath, ...args);
    await once(child.stdout as NodeJS.EventEmitter, 'data');
    await configure(setup);
    return child;
  };

const hev: Contender = async (setup) => {
  const file = join(folder, 'hev.yml');
  const { host, port } = PROXY;
  writeFileSync(
    file,
    `tunnel: { name: ${DEVICE}, mtu: ${setup.mtu}, ipv4: 198.51.100.1 }\nsocks5: { address: ${host}, port: ${port} }\n`,
  );
  const child = start(setup, HEV, file);
  while (!(await setup.host.links()).some(({ name }) => name === DEVICE)) await setTimeout(20);
  await run(setup.host, 'ip', 'link', 'set', DEVICE, 'netns', setup.path);
  await configure(setup);
  return child;
};

const pasta: Contender = async (setup) => {
  const ports = ['-t', 'none', '-u', 'none', '-T', 'none', '-U', 'none'];
  const options = ['-f', '--runas', '0', '--netns-only', '--config-net', '-m', `${setup.mtu}`, ...ports];
  const child = start(setup, 'pasta', ...options, '--netns', setup.path);
  await appears(setup, 'eth0');
  return child;
};

const slirp: Contender = async (setup) => {
  const options = ['--configure', `--mtu=${setup.mtu}`, '--netns-type=path', setup.path, 'tap0'];
  const child = start(setup, 'slirp4netns', ...options);
  await appears(setup, 'tap0');
  return child;
};

interface Figures {
  readonly up: number;
  readonly down: number;
  readonly churn: number;
}

async function measure(contender: Contender, mtu: number): Promise<Figures> {
  await using client = await NetworkNamespace.create(`tuntap-bench-${process.pid}-${measurements++}`);
  await using host = await NetworkNamespace.create();
  await using server = await NetworkNamespace.create();
  for (const namespace of [client, host, server]) await (await namespace.link('lo')).set({ up: true });
  await (await server.link('lo')).addAddress(`${SERVER}/32`);
  const end = (namespace: NetworkNamespace, address: string) => ({
    namespace,
    name: 'eth0',
    addresses: [`${address}/24`],
    up: true,
  });
  await createVethPair(end(host, '10.1.0.1'), end(server, PROXY.host));
  await host.addRoute({ destination: '0.0.0.0/0', via: PROXY.host });
  const path = `/run/netns/${client.name}`;
  const children: ChildProcess[] = [];
  const serve = async (command: string, ...args: string[]): Promise<void> => {
    const child = server.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    await once(child.stdout as NodeJS.EventEmitter, 'data');
  };
  try {
    await serve(socks.path('socks-server'), PROXY.host, `${PROXY.port}`);
    await serve('iperf3', '-s', '-B', SERVER, '--forceflush');
    children.push(await churnServer(server, SERVER));
    children.push(await contender({ client, host, server, path, mtu }));
    const tcp = async (...args: string[]): Promise<number> => {
      const text = await run(client, 'iperf3', '-J', '-c', SERVER, '-t', SECONDS, ...args);
      return JSON.parse(text).end.sum_received.bits_per_second / 1e9;
    };
    const up = await tcp();
    const down = await tcp('-R');
    return { up, down, churn: await churn(client, SERVER, SECONDS) };
  } finally {
    for (const child of children) child.kill();
    // pasta opens it by its name.
    await NetworkNamespace.delete(`${client.name}`);
    await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'close')));
  }
}

const VIA = `socks5://${PROXY.host}:${PROXY.port}`;
const GROUPS: readonly { mtu: number; ours: Contender; others: Readonly<Record<string, Contender>> }[] = [
  ...(HEV ? [1500, 8500].map((mtu) => ({ mtu, ours: ours(VIA), others: { 'hev-socks5-tunnel': hev } })) : []),
  { mtu: 1500, ours: ours(), others: { slirp4netns: slirp } }, // its own default
  { mtu: 65_520, ours: ours(), others: { pasta, slirp4netns: slirp } },
];
const socks = new Programs('socks-server');
const NAMES = ['up', 'down', 'churn'] as const;
try {
  for (const { mtu, ours: mine, others } of GROUPS) {
    if (ONLY && !`${mtu} ${Object.keys(others)}`.includes(ONLY)) continue;
    const found = new Map<string, Figures[]>([['ours', []]]);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, contender] of [['ours', mine] as const, ...Object.entries(others)]) {
        const figures = await measure(contender, mtu);
        found.set(name, [...(found.get(name) ?? []), figures]);
      }
    }
    const own = found.get('ours') ?? [];
    for (const [name, all] of found) {
      const cells = NAMES.map((figure) => {
        const value = median(all.map((each) => each[figure]));
        const ratio = median(all.map((each, i) => own[i][figure] / each[figure]));
        return `${figure} ${value.toFixed(figure === 'churn' ? 0 : 2)} (ours is ${ratio.toFixed(2)} of it)`;
      });
      console.log(`MTU ${mtu}, ${name}: ${cells.join(', ')}`);
    }
  }
} finally {
  socks.remove();
  rmSync(folder, { recursive: true });
}

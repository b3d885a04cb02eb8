/**
 * Measures `intercept()` beside a forwarder of raw packets: `node out/bench/intercept.js`.
 *
 * A client in one namespace, and a server in another. The forwarder joins them by two TUN devices; `intercept()` ends the
 * client's connections, and makes new ones to the server. Each round runs each of them once, in turn; reported are
 * medians, and medians of the ratios to the forwarder of the same round. TCP is iperf3's, one stream. Connections: 64 at
 * once, each read to its end.
 * Options: --rounds=N (5), --seconds=N (3), --mtu=N (1500), --connections=N (10000), --write (puts the tables into the
 * documentation).
 */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { NetworkNamespace } from 'tuntap-native/net';
import { MACHINE, publish, RATIOS, version } from './blocks.ts';
import { churn, churnServer, manyFiles, PORT } from './churn.ts';
import {
  type Forwarding,
  iperfServer,
  measureTcp,
  median,
  option,
  pathOf,
  program,
  startForwarder,
} from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '3');
const MTU = option('mtu', '1500');
const CONNECTIONS = option('connections', '10000');
const SERVER = '192.0.2.2';

const FORWARDER = 'a forwarder of raw packets';
const CONTENDERS: Readonly<Record<string, string | undefined>> = {
  [FORWARDER]: undefined,
  '`intercept()`, streams piped': 'js',
  '`intercept()`, `relay()`': 'relay',
  '`intercept()`, `relayTo()`': 'connect',
  '`intercept()`, `accept()`: the program itself is the server': 'answer',
};

interface Figures {
  /** NaN where the program itself is the server. */
  readonly up: number;
  readonly down: number;
  readonly churn: number;
}

/** The same as {@link startForwarder}, with an interceptor that runs inside the server's namespace. */
async function startInterceptor(how: string): Promise<Forwarding & { readonly child: ChildProcess }> {
  const a = await NetworkNamespace.create();
  const b = await NetworkNamespace.create();
  const lo = await b.link('lo');
  await lo.set({ up: true });
  await lo.addAddress(`${SERVER}/32`);
  const end = manyFiles(process.execPath, program('intercept-end'), pathOf(a), 'tuna', how, MTU);
  const child = b.spawn('sh', end, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  await once(child.stdout as NodeJS.EventEmitter, 'data');
  return {
    a,
    b,
    pid: child.pid ?? 0,
    child,
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await once(child, 'close');
      await Promise.all([a.close(), b.close()]);
    },
  };
}

async function start(how: string | undefined): Promise<Forwarding> {
  if (how !== undefined) return startInterceptor(how);
  const forwarder = program('forwarder');
  return startForwarder((ends) => [process.execPath, forwarder, ...ends, 'batch', 'raw'], 1, Number(MTU));
}

async function measure(how: string | undefined): Promise<Figures> {
  await using forwarding = await start(how);
  using _iperf = await iperfServer(forwarding);
  const tcp = async (...args: string[]): Promise<number> =>
    how === 'answer' ? Number.NaN : (await measureTcp(forwarding, SECONDS, ...args)).gbps;
  const server = await churnServer(forwarding.b, SERVER);
  try {
    return { up: await tcp(), down: await tcp('-R'), churn: await churn(forwarding.a, SERVER, SECONDS) };
  } finally {
    server.kill();
  }
}

/** Kilobytes of the process for each of many connections that it holds, and how many are open. */
async function measureMemory(): Promise<[kilobytes: number, open: number]> {
  await using interceptor = await startInterceptor('accept');
  const ask = async (): Promise<{ rss: number; open: number }> => {
    interceptor.child.send('ask');
    return ((await once(interceptor.child, 'message')) as [{ rss: number; open: number }])[0];
  };
  const before = await ask();
  const hold = manyFiles(process.execPath, program('intercept-client'), 'hold', SERVER, PORT, CONNECTIONS);
  const client = interceptor.a.spawn('sh', hold, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(client.stdout as NodeJS.EventEmitter, 'data');
  const after = await ask();
  client.kill();
  await once(client, 'close');
  return [(after.rss - before.rss) / 1000 / after.open, after.open];
}

const results = new Map<string, Figures[]>(Object.keys(CONTENDERS).map((name) => [name, []]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, how] of Object.entries(CONTENDERS)) {
    const figures = await measure(how);
    results.get(name)?.push(figures);
    console.error(`${round + 1} ${name}: ${JSON.stringify(figures)}`);
  }
}
const base = results.get(FORWARDER) ?? [];
const cell = (name: string, key: keyof Figures, digits: number): string => {
  const own = results.get(name) ?? [];
  const ratio = median(own.map((figures, i) => figures[key] / base[i][key]));
  if (Number.isNaN(ratio)) return '';
  return `${median(own.map((figures) => figures[key])).toFixed(digits)} (${ratio.toFixed(2)})`;
};
const rows = [...results.keys()].map(
  (name) => `| ${name} | ${cell(name, 'up', 2)} | ${cell(name, 'down', 2)} | ${cell(name, 'churn', 0)} |`,
);
const [kilobytes, open] = await measureMemory();
publish(
  'intercept',
  [
    `| MTU ${MTU} | up, Gbit/s | down, Gbit/s | connections a second |`,
    '|---|---|---|---|',
    ...rows,
    '',
    `In brackets: the ratio to the forwarder. ${RATIOS} ${open} open connections, accepted as sockets of ` +
      `Node.js, take ${kilobytes.toFixed(1)} KB each. ${MACHINE}; iperf3 ${version('iperf3', '--version')}; medians of ` +
      `${ROUNDS} rounds.`,
  ].join('\n'),
  'docs/intercept.md',
);

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
import { join } from 'node:path';
import { NetworkNamespace } from 'tuntap-native/net';
import { MACHINE, publish, version } from './blocks.ts';
import { type Forwarding, median, option, ROOT, run, startForwarder } from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '3');
const MTU = option('mtu', '1500');
const CONNECTIONS = option('connections', '10000');
const SERVER = '192.0.2.2';
const PORT = '7000';
const program = (name: string): string => join(ROOT, 'out', 'bench', `${name}.js`);

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
  const path = `/proc/${process.pid}/fd/${a.fd}`;
  const limits = 'ulimit -n 1000000 2>/dev/null || ulimit -n $(ulimit -Hn); exec "$@"';
  const child = b.spawn(
    'sh',
    ['-c', limits, 'sh', process.execPath, program('intercept-end'), path, 'tuna', how, MTU],
    { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] },
  );
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
  const { a, b } = forwarding;
  const iperf = b.spawn('iperf3', ['-s', '-B', SERVER, '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await once(iperf.stdout as NodeJS.EventEmitter, 'data');
  const tcp = async (...args: string[]): Promise<number> => {
    const text = await run(a, 'iperf3', '-J', '-c', SERVER, '-t', SECONDS, ...args);
    return JSON.parse(text).end.sum_received.bits_per_second / 1e9;
  };
  const source = `require('node:net').createServer((s) => s.end('x').on('error', () => {}))
    .listen({ host: '${SERVER}', port: ${PORT}, backlog: 1024 }, () => console.log('ready'))`;
  const server = b.spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout as NodeJS.EventEmitter, 'data');
  try {
    const up = how === 'answer' ? Number.NaN : await tcp();
    const down = how === 'answer' ? Number.NaN : await tcp('-R');
    const client = program('intercept-client');
    const churn = Number(await run(a, process.execPath, client, 'churn', SERVER, PORT, SECONDS, '64'));
    return { up, down, churn };
  } finally {
    iperf.kill();
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
  const limits = 'ulimit -n 1000000 2>/dev/null || ulimit -n $(ulimit -Hn); exec "$@"';
  const client = interceptor.a.spawn(
    'sh',
    ['-c', limits, 'sh', process.execPath, program('intercept-client'), 'hold', SERVER, PORT, CONNECTIONS],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
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
    `In brackets: the median ratio to the forwarder of the same round. ${open} open connections, accepted as sockets of ` +
      `Node.js, take ${kilobytes.toFixed(1)} KB each. ${MACHINE}; iperf3 ${version('iperf3', '--version')}; medians of ` +
      `${ROUNDS} rounds.`,
  ].join('\n'),
  'docs/intercept.md',
);

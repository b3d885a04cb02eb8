/**
 * How many datagrams a second an interceptor takes: `node out/bench/intercept-datagrams.js`.
 *
 * A C program in the client's namespace sends datagrams of 1,400 bytes as fast as it can. By turns of a second: a loop that
 * only reads the device in raw batches (`read`), a loop over `datagrams()`, the same that answers each by
 * `writeBatch()` (`echo`), `'message'` events of a flow, and the same that answers by `flow.send()` (`flow echo`). Reported
 * are medians of the datagrams a second that came, of the processor time of the process a datagram, and of its ratio to
 * `read` in the same round. Options: --rounds=N (5), --seconds=N (1), --size=N (1400, with the IPv4
 * header), --write (puts the table into docs/intercept-datagrams.md).
 */

import { NetworkNamespace, openTun } from 'tuntap-native';
import { type Interceptor, intercept } from 'tuntap-native/intercept';
import { MACHINE, publish, RATIOS } from './blocks.ts';
import { cpuSeconds, median, option, Programs, run } from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '1');
const SIZE = option('size', '1400');
const SERVER = '203.0.113.5';

const WAYS = ['read', 'batches', 'echo', 'flow', 'flow echo'] as const;
type Way = (typeof WAYS)[number];
const NAMES: Readonly<Record<Way, string>> = {
  read: 'a loop over the batches of the device, which does nothing',
  batches: '`datagrams()`',
  echo: '`datagrams()`, and `writeBatch()` for each batch',
  flow: "`'message'` events",
  'flow echo': "`'message'` events, and `flow.send()` for each",
};

interface Turn {
  readonly rate: number;
  readonly cost: number;
}

const programs = new Programs('udp-flood');

/** Runs until the datagrams are all taken; returns how many they were. */
async function take(
  way: Exclude<Way, 'read'>,
  interceptor: Interceptor,
  flood: () => Promise<unknown>,
): Promise<number> {
  if (way === 'flow' || way === 'flow echo') {
    interceptor.on('flow', (flow) =>
      flow.on('message', (bytes, to) => {
        if (way === 'flow echo') flow.send(bytes, to);
      }),
    );
  } else {
    void (async () => {
      for await (const batch of interceptor.datagrams()) {
        if (way === 'echo') interceptor.writeBatch(batch, interceptor.received);
      }
    })();
  }
  await flood();
  return interceptor.counters.datagramsReceived;
}

async function turn(way: Way): Promise<Turn> {
  await using namespace = await NetworkNamespace.create();
  await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], offload: 'raw', up: true });
  await namespace.addRoute({ destination: '0.0.0.0/0', device: 'tun0' });
  await (await tun.link()).set({ txQueueLength: 10_000 });
  const flood = () => run(namespace, programs.path('udp-flood'), SERVER, '7', SECONDS, '1e9', SIZE);
  await using interceptor = way === 'read' ? undefined : await intercept(tun);
  const before = cpuSeconds(process.pid);
  let count = 0;
  if (interceptor) {
    count = await take(way as Exclude<Way, 'read'>, interceptor, flood);
  } else {
    const reading = (async () => {
      for await (const batch of tun.batches()) count += batch.length;
    })();
    await flood();
    await tun.close();
    await reading;
  }
  return { rate: count / Number(SECONDS), cost: ((cpuSeconds(process.pid) - before) / count) * 1e6 };
}

const turns = new Map<Way, Turn[]>(WAYS.map((way) => [way, []]));
try {
  for (let round = 0; round <= ROUNDS; round++) {
    for (const way of WAYS) {
      const result = await turn(way);
      if (round > 0) turns.get(way)?.push(result); // JavaScript is compiled in the first
    }
  }
} finally {
  programs.remove();
}
const read = turns.get('read') as Turn[];
const lines = WAYS.map((way) => {
  const results = turns.get(way) as Turn[];
  const rate = median(results.map((result) => result.rate));
  const cost = median(results.map((result) => result.cost));
  const ratio = median(results.map((result, i) => result.rate / read[i].rate));
  return `| ${NAMES[way]} | ${Math.round(rate / 1000).toLocaleString('en')},000 | ${cost.toFixed(1)} µs | ${ratio.toFixed(2)} |`;
});
const head = [
  '| way | datagrams a second | processor time of each | rate, of the first |',
  '|---|---|---|---|',
];
const source = `${ROUNDS} rounds of ${WAYS.length} turns, a C program sends ${SIZE} bytes at a time; medians. ${RATIOS} ${MACHINE}. \`node out/bench/intercept-datagrams.js\``;
publish('intercepted datagrams', [...head, ...lines, '', source].join('\n'), 'docs/intercept-datagrams.md');

/**
 * Compares forwarders of two TUN devices in two namespaces, side by side: `npm run bench`.
 *
 * Every round runs each forwarder once, in turn, so that a slow minute of the machine meets all of them. Reported are
 * medians of the rounds and of each round's ratio to the C forwarder. Options: --rounds=N (5), --seconds=N (3),
 * --only=NAME,NAME, --write (puts the tables and the chart into the
 * documentation), --runtimes=thread,PATH,… (measures this package's forwarders in Node.js with the engine of Bun and
 * Deno, and in the Bun or Deno at PATH, too, and prints their ratios to Node.js), --beside=FOLDER (measures the forwarders of another
 * checkout, which has been built, in the same rounds, and prints the ratio of this one's figures to that one's).
 */

import { writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { MACHINE, publish, RATIOS, version, WRITE } from './blocks.ts';
import { type Figures, line, measure, median, option, Programs, ROOT, TRAFFIC } from './measure.ts';
import { chart, type Row, table, ways } from './report.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '3');
const UDP_RATE = option('udp-rate', '60000');
const ONLY = option('only', '');
const BESIDE = option('beside', '');
const RUNTIMES = option('runtimes', '')
  .split(',')
  .filter((runtime) => runtime !== '');

const programs = new Programs('forwarder', ...TRAFFIC);

type Command = (ends: string[]) => string[];

/** The forwarders of this package in a checkout, in a runtime. */
const ours = (root: string, runtime = [process.execPath]): Record<string, Command> =>
  Object.fromEntries(
    [
      ...['batch', 'stream', 'data'].map((how) => [how, how, 'off']),
      ...['batch', 'stream', 'data'].map((how) => [`${how} split`, how, 'split']),
      ...['batch', 'stream'].map((how) => [`${how} raw`, how, 'raw']),
    ].map(([name, how, offload]) => [
      name,
      (ends) => [...runtime, join(root, 'out', 'bench', 'forwarder.js'), ...ends, how, offload],
    ]),
  );

const FORWARDERS: Record<string, Command> = {
  c: (ends) => [programs.path('forwarder'), ...ends],
  'c vnet': (ends) => [programs.path('forwarder'), ...ends, 'vnet'],
  ...ours(ROOT),
};
/** How a program starts in a runtime of --runtimes. */
function runtimeCommand(runtime: string): string[] {
  if (runtime === 'thread') return ['env', 'TUNTAP_ENGINE=thread', process.execPath];
  return /^deno/.test(basename(runtime)) ? [runtime, 'run', '-A'] : [runtime];
}

// 'batch, bun': the forwarder 'batch' in Bun.
const OF_RUNTIMES = Object.fromEntries(
  RUNTIMES.flatMap((runtime) =>
    Object.entries(ours(ROOT, runtimeCommand(runtime))).map(([name, command]) => [
      `${name}, ${basename(runtime)}`,
      command,
    ]),
  ),
);
Object.assign(FORWARDERS, OF_RUNTIMES);
const OTHERS: Record<string, Command> = BESIDE === '' ? {} : ours(resolve(BESIDE));

const names = Object.keys(FORWARDERS).filter(
  (name) => ONLY === '' || ONLY.split(',').includes(name.split(', ')[0]),
);
const beside = names.filter((name) => name in OTHERS);
const rounds: Record<string, Figures>[] = [];
const otherRounds: Record<string, Figures>[] = [];
try {
  for (let round = 1; round <= ROUNDS; round++) {
    const figures: Record<string, Figures> = {};
    const others: Record<string, Figures> = {};
    for (const name of names) {
      figures[name] = await measure(FORWARDERS[name], programs, SECONDS, UDP_RATE);
      console.error(`round ${round}/${ROUNDS} ${line(name, figures[name])}`);
      if (!(name in OTHERS)) continue;
      others[name] = await measure(OTHERS[name], programs, SECONDS, UDP_RATE);
      console.error(`round ${round}/${ROUNDS} ${line(`${name}, beside`, others[name])}`);
    }
    rounds.push(figures);
    otherRounds.push(others);
  }
} finally {
  programs.remove();
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
    busyRttMs: of('busyRttMs'),
    busyRttRatio: ratio('busyRttMs'),
  };
});
const opponents = `gcc ${version('cc', '-dumpfullversion')} -O2, iperf3 ${version('iperf3', '--version')}`;
const source = `${MACHINE}; ${opponents}; medians of ${ROUNDS} rounds. ${RATIOS}`;
publish('forwarding', `${table(rows)}\n\n${source}`, 'docs/forwarding.md');
publish('ways of reading', `${ways(rows)}\n\n${source}`, 'README.md', 'docs/reading.md');
if (WRITE) writeFileSync(join(ROOT, 'docs', 'forwarding.svg'), chart(rows));
const HEADING = 'TCP, CPU/GB, CPU/packet, ping, ping at once';
/** Prints a line of medians of each round's ratio. */
function printRatios(
  name: string,
  of: Record<string, Figures>[],
  to: Record<string, Figures>[],
  at = name,
): void {
  const ratios = (['gbps', 'cpuPerGB', 'cpuPerPacketUs', 'rttMs', 'busyRttMs'] as const).map((key) =>
    median(of.map((figures, i) => figures[name][key] / to[i][at][key])).toFixed(2),
  );
  console.log(`${name.padEnd(20)} ${ratios.join('  ')}`);
}
if (beside.length > 0) {
  console.log(`\nRatios to ${BESIDE}: ${HEADING}`);
  for (const name of beside) printRatios(name, rounds, otherRounds);
}
if (RUNTIMES.length > 0) {
  console.log(`\nRatios to Node.js: ${HEADING}`);
  for (const name of names.filter((each) => each in OF_RUNTIMES)) {
    printRatios(name, rounds, rounds, name.split(', ')[0]);
  }
}

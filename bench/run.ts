/**
 * Compares forwarders of two TUN devices in two namespaces, side by side: `npm run bench`.
 *
 * Every round runs each forwarder once, in turn, so that a slow minute of the machine meets all of them. Reported are
 * medians of the rounds and of each round's ratio to the C forwarder. Options: --rounds=N (5), --seconds=N (3),
 * --only=NAME,NAME, --write (puts the table and the chart into docs/).
 */

import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { type Figures, line, measure, median, option, Programs, ROOT, TRAFFIC } from './measure.ts';
import { chart, introduction, type Row, table } from './report.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '3');
const UDP_RATE = option('udp-rate', '60000');
const ONLY = option('only', '');

const programs = new Programs('forwarder', ...TRAFFIC);

const JS = join(ROOT, 'out', 'bench', 'forwarder.js');
const FORWARDERS: Record<string, (ends: string[]) => string[]> = {
  c: (ends) => [programs.path('forwarder'), ...ends],
  'c vnet': (ends) => [programs.path('forwarder'), ...ends, 'vnet'],
  batch: (ends) => [process.execPath, JS, ...ends, 'batch', 'off'],
  stream: (ends) => [process.execPath, JS, ...ends, 'stream', 'off'],
  data: (ends) => [process.execPath, JS, ...ends, 'data', 'off'],
  'batch split': (ends) => [process.execPath, JS, ...ends, 'batch', 'split'],
  'stream split': (ends) => [process.execPath, JS, ...ends, 'stream', 'split'],
  'data split': (ends) => [process.execPath, JS, ...ends, 'data', 'split'],
  'batch raw': (ends) => [process.execPath, JS, ...ends, 'batch', 'raw'],
  'stream raw': (ends) => [process.execPath, JS, ...ends, 'stream', 'raw'],
};

const names = Object.keys(FORWARDERS).filter((name) => ONLY === '' || ONLY.split(',').includes(name));
const rounds: Record<string, Figures>[] = [];
try {
  for (let round = 1; round <= ROUNDS; round++) {
    const figures: Record<string, Figures> = {};
    for (const name of names) {
      figures[name] = await measure(FORWARDERS[name], programs, SECONDS, UDP_RATE);
      console.error(`round ${round}/${ROUNDS} ${line(name, figures[name])}`);
    }
    rounds.push(figures);
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

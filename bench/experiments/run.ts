/**
 * Other ways to do the work than the event loop's own reads: `node out/bench/experiments/run.js`.
 *
 * Each C program here forwards as bench/forwarder.c does; the figures are medians of the rounds, and of each round's
 * ratio to that one. Options: --rounds=N (5), --seconds=N (2), --only=NAME,NAME.
 */

import { type Figures, line, measure, median, option, Programs, TRAFFIC } from '../measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = option('seconds', '2');
const ONLY = option('only', '');
const WAYS = {
  'poll, read, write': 'forwarder',
  io_uring: 'experiments/io-uring',
  'reader thread': 'experiments/reader-thread',
};

const programs = new Programs(...Object.values(WAYS), ...TRAFFIC);
try {
  const names = Object.keys(WAYS).filter(
    (name) => ONLY === '' || ONLY.split(',').includes(name),
  ) as (keyof typeof WAYS)[];
  for (const vnet of ['', 'vnet']) {
    const rounds: Record<string, Figures>[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const figures: Record<string, Figures> = {};
      for (const name of names) {
        const command = (ends: string[]) => [programs.path(WAYS[name]), ...ends, ...(vnet ? [vnet] : [])];
        figures[name] = await measure(command, programs, SECONDS, '60000');
        console.error(`round ${round}/${ROUNDS} ${vnet.padEnd(4)} ${line(name, figures[name])}`);
      }
      rounds.push(figures);
    }
    console.log(
      `\n| ${vnet ? 'super-packets' : 'ordinary packets'} | TCP, Gbit/s | CPU, s/GB | 64-byte UDP, CPU µs/packet | UDP arrived | ping, ms |`,
    );
    console.log('|---|---|---|---|---|---|');
    for (const name of names) {
      const cell = (key: keyof Figures, digits: number) => {
        const of = median(rounds.map((figures) => figures[name][key]));
        const ratio = median(rounds.map((figures) => figures[name][key] / figures[names[0]][key]));
        return `${of.toFixed(digits)} (${ratio.toFixed(2)})`;
      };
      const cells = [
        cell('gbps', 2),
        cell('cpuPerGB', 2),
        cell('cpuPerPacketUs', 2),
        cell('udpDelivered', 2),
        cell('rttMs', 3),
      ];
      console.log(`| ${name} | ${cells.join(' | ')} |`);
    }
  }
} finally {
  programs.remove();
}

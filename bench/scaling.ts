/**
 * What a packet costs as work grows: `node out/bench/scaling.js`.
 *
 * Packets of 64 bytes to 64 KiB, 1 to 64 pairs of devices in one process, 1 to 4 queues, each forwarder once in a
 * round; medians of the rounds. Options: --rounds=N (3), --seconds=N (1), --only=sizes,devices,queues, --write (puts
 * tables and charts into docs/).
 */

import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import {
  type Figures,
  iperfServer,
  measureTcp,
  measureUdp,
  median,
  option,
  Programs,
  program,
  ROOT,
  startForwarder,
  TRAFFIC,
} from './measure.ts';
import { lineChart } from './svg.ts';

const ROUNDS = Number(option('rounds', '3'));
const SECONDS = option('seconds', '1');
const ONLY = option('only', 'sizes,devices,queues').split(',');
const RATE = 60_000;
const JS = program('forwarder');
const programs = new Programs('forwarder', ...TRAFFIC);

type Command = (ends: string[]) => string[];
const C: Command = (ends) => [programs.path('forwarder'), ...ends];
const js =
  (...how: string[]): Command =>
  (ends) => [process.execPath, JS, ...ends, 'batch', ...how];

interface Study {
  readonly file: string;
  readonly title: string;
  readonly places: readonly string[];
  /** What is drawn, and a cell of the table. */
  readonly value: (figures: Partial<Figures>) => number;
  readonly cell: (figures: Partial<Figures>) => string;
  readonly names: readonly string[];
  readonly measure: (name: string, place: string) => Promise<Partial<Figures>>;
}

const SIZED: Record<string, Command> = { c: C, 'offload: false': js('off'), 'offload: true': js('split') };

const STUDIES: Record<string, Study> = {
  sizes: {
    file: 'scaling-sizes',
    title: 'CPU of the forwarder by packet size, µs a packet',
    places: ['64', '512', '1500', '4096', '16384', '65535'],
    names: Object.keys(SIZED),
    value: ({ cpuPerPacketUs = 0 }) => cpuPerPacketUs,
    cell: ({ cpuPerPacketUs = 0, udpDelivered = 0 }) =>
      `${cpuPerPacketUs.toFixed(1)} (${percent(udpDelivered)})`,
    async measure(name, size) {
      await using forwarding = await startForwarder(SIZED[name], 1, 65_535);
      // At most 2 Gbit/s, which none of them fails to carry.
      const rate = Math.min(RATE, Math.floor(2e9 / 8 / Number(size)));
      return await measureUdp(forwarding, programs, SECONDS, `${rate}`, { size: Number(size) });
    },
  },
  devices: {
    file: 'scaling-devices',
    title: 'CPU of the forwarder by pairs of devices, µs a packet',
    places: ['1', '4', '16', '64'],
    names: ['offload: false', 'offload: true'],
    value: ({ cpuPerPacketUs = 0 }) => cpuPerPacketUs,
    cell: ({ cpuPerPacketUs = 0, udpDelivered = 0 }) =>
      `${cpuPerPacketUs.toFixed(1)} (${percent(udpDelivered)})`,
    async measure(name, count) {
      const pairs = Number(count);
      const command = js(name === 'offload: true' ? 'split' : 'off', ...(pairs > 1 ? ['pairs', count] : []));
      await using forwarding = await startForwarder(command, pairs);
      return await measureUdp(forwarding, programs, SECONDS, `${RATE}`, { pairs });
    },
  },
  queues: {
    file: 'scaling-queues',
    title: 'TCP over eight connections by queues, Gbit/s',
    places: ['1', '2', '4'],
    names: ['offload: false', 'offload: true', "offload: 'raw'"],
    value: ({ gbps = 0 }) => gbps,
    cell: ({ gbps = 0, cpuPerGB = 0 }) => `${gbps.toFixed(2)} (${cpuPerGB.toFixed(2)})`,
    async measure(name, count) {
      const how = { 'offload: false': 'off', 'offload: true': 'split', "offload: 'raw'": 'raw' }[name] ?? '';
      await using forwarding = await startForwarder(js(how, 'queues', count));
      using _server = await iperfServer(forwarding);
      return await measureTcp(forwarding, SECONDS, '-P', '8');
    },
  },
};

const percent = (part: number) => `${(part * 100).toFixed(0)} %`;

/** The run whose drawn value is the median of its rounds. */
function middle(study: Study, rounds: readonly Partial<Figures>[]): Partial<Figures> {
  const value = median(rounds.map(study.value));
  return rounds.find((figures) => study.value(figures) === value) ?? {};
}

const sections: string[] = [];
try {
  for (const key of ONLY) {
    const study = STUDIES[key];
    const runs: Record<string, Partial<Figures>[]> = {};
    for (let round = 1; round <= ROUNDS; round++) {
      for (const place of study.places) {
        for (const name of study.names) {
          const figures = await study.measure(name, place);
          const at = `${name}/${place}`;
          runs[at] = [...(runs[at] ?? []), figures];
          console.error(`round ${round}/${ROUNDS} ${key} ${at.padEnd(24)} ${study.cell(figures)}`);
        }
      }
    }
    const rows = study.names.map((name) => {
      const cells = study.places.map((place) => study.cell(middle(study, runs[`${name}/${place}`])));
      return `| ${name} | ${cells.join(' | ')} |`;
    });
    const table = [
      `| | ${study.places.join(' | ')} |`,
      `|---${'|---'.repeat(study.places.length)}|`,
      ...rows,
    ];
    sections.push(`## ${study.title}\n\n${table.join('\n')}\n\n![${study.title}](${study.file}.svg)\n`);
    if (process.argv.includes('--write')) {
      const lines = study.names.map((name) => ({
        name,
        values: study.places.map((place) => study.value(middle(study, runs[`${name}/${place}`]))),
      }));
      writeFileSync(join(ROOT, 'docs', `${study.file}.svg`), lineChart(study.title, study.places, lines));
    }
  }
} finally {
  programs.remove();
}
const machine = `${cpus().length} cores, Linux ${release()}, Node ${process.version}; medians of ${ROUNDS} rounds`;
const text = `# As work grows

Made by \`node out/bench/scaling.js --write\` on ${machine}.

The forwarders are those of [forwarding.md](forwarding.md); \`c\` is bench/forwarder.c without offloads. The first two tables
show UDP at ${RATE} packets a second (2 Gbit/s at most), sent over all pairs of devices in turn. The numbers in brackets
say how many packets arrived. In the third table each queue of both devices has a worker thread. There the numbers in brackets
are CPU seconds per GB.

${sections.join('\n')}`;
console.log(text);
if (process.argv.includes('--write')) writeFileSync(join(ROOT, 'docs', 'scaling.md'), text);

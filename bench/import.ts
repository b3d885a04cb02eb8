/**
 * Measures the cold start of a program that opens a TUN: `node out/bench/import.js`.
 *
 * New processes import the package and open a device, in turns with another checkout's. Reported are medians of the CPU
 * time and of the time that passes, until the import is done and until the device is open. Options: --rounds=N (21),
 * --beside=FOLDER (another checkout, which has been built).
 */

import { resolve } from 'node:path';
import { NetworkNamespace } from 'tuntap-native';
import { MACHINE } from './blocks.ts';
import { median, option, ROOT, run } from './measure.ts';

const ROUNDS = Number(option('rounds', '21'));
const BESIDE = option('beside', '');
const folders = { 'this checkout': ROOT, ...(BESIDE !== '' && { beside: resolve(BESIDE) }) };

const program = (folder: string) => `
  const [time, cpu] = [performance.now(), process.cpuUsage()];
  const since = () => {
    const { user, system } = process.cpuUsage(cpu);
    return [(user + system) / 1000, performance.now() - time];
  };
  const { openTun } = await import(${JSON.stringify(`${folder}/dist/index.js`)});
  const imported = since();
  const tun = openTun('tun0');
  console.log(JSON.stringify([...imported, ...since()]));
  tun.destroy();
`;

await using namespace = await NetworkNamespace.create();
const figures = new Map(Object.keys(folders).map((name) => [name, [] as number[][]]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, folder] of Object.entries(folders)) {
    const output = await run(namespace, process.execPath, '--input-type=module', '-e', program(folder));
    figures.get(name)?.push(JSON.parse(output));
  }
}

console.log('| ms | import, CPU | import | import and open, CPU | import and open |\n|---|---|---|---|---|');
for (const [name, rows] of figures) {
  const columns = [0, 1, 2, 3].map((column) => median(rows.map((row) => row[column])).toFixed(1));
  console.log(`| ${name} | ${columns.join(' | ')} |`);
}
console.log(`\n${MACHINE}; medians of ${ROUNDS} rounds.`);

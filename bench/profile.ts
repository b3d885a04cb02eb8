/**
 * Where a forwarder's time goes: `node out/bench/profile.js batch split` (or any other arguments of forwarder.js).
 *
 * Samples it by perf(1), by the CPU's clock, while iperf3 sends TCP through it for --seconds=N (3), or with --udp
 * 64-byte packets at 60,000 a second; prints what share of the samples each binary and each function has. The kernel's
 * part needs the right to see it: kernel.perf_event_paranoid at 1 or root.
 */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  iperfServer,
  measureTcp,
  measureUdp,
  option,
  Programs,
  program,
  startForwarder,
  TRAFFIC,
} from './measure.ts';

const how = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const SECONDS = option('seconds', '3');
const folder = mkdtempSync(join(tmpdir(), 'tuntap-profile-'));
const programs = new Programs(...TRAFFIC);
try {
  const js = program('forwarder');
  await using forwarding = await startForwarder((ends) => [process.execPath, js, ...ends, ...how]);
  using _server = await iperfServer(forwarding);
  const data = join(folder, 'perf.data');
  const record = ['record', '-q', '-e', 'cpu-clock', '-F', '4000', '-o', data, '-p', `${forwarding.pid}`];
  const perf = spawn('perf', record, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (process.argv.includes('--udp')) await measureUdp(forwarding, programs, SECONDS, '60000');
  else await measureTcp(forwarding, SECONDS);
  const ended = once(perf, 'close');
  perf.kill('SIGINT');
  await ended;
  for (const sort of ['dso', 'symbol']) {
    const report = execFileSync(
      'perf',
      ['report', '-i', data, '--stdio', '-q', '--sort', sort, '--percent-limit', '1'],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
    console.log(
      report
        .replace(/[ -]+$/gm, '')
        .trim()
        .split('\n')
        .slice(0, 25)
        .join('\n'),
      '\n',
    );
  }
} finally {
  programs.remove();
  rmSync(folder, { recursive: true });
}

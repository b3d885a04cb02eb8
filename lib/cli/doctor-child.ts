/** Starts the part of `doctor` that uses the addon in a process of its own, which may crash or hang. */

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Finding } from './doctor-finding.js';
import { runtimeCommand } from './runtime-command.js';

const TIMEOUT_MS = 20_000;

/** What the child prints, a line each: the check that begins, or what it found. */
export type ProbeLine = { readonly begins: string } | Finding;

/** Runs the checks of doctor-probe.ts. */
export function probeInChild(): Promise<readonly Finding[]> {
  return readProbe(runtimeCommand(fileURLToPath(new URL('./doctor-probe.js', import.meta.url))));
}

/** @param command prints {@link ProbeLine}s. Exported for tests. */
export function readProbe(command: readonly string[], timeout = TIMEOUT_MS): Promise<readonly Finding[]> {
  return new Promise((resolve) => {
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], timeout });
    let printed = '';
    let said = '';
    child.stdout.on('data', (data) => {
      printed += data;
    });
    child.stderr.on('data', (data) => {
      said += data;
    });
    child.on('error', ({ message }) => resolve([{ check: 'addon', status: 'fail', detail: message }]));
    child.on('close', (code, signal) => {
      const lines = printed.split('\n').filter((line) => line.startsWith('{'));
      const parsed = lines.map((line) => JSON.parse(line) as ProbeLine);
      const findings = parsed.filter((line): line is Finding => 'check' in line);
      const begun = parsed.flatMap((line) => ('begins' in line ? [line.begins] : []));
      const open = begun.find((check) => findings.every((finding) => finding.check !== check));
      if (code === 0 && open === undefined) return resolve(findings);
      const end = signal === null ? `status ${code}` : signal;
      const last = said.trim().split('\n').at(-1);
      const detail = `the process that tried it ended with ${end}${last ? `: ${last}` : ''}`;
      const advice = 'Please report this, with the versions above.';
      resolve([...findings, { check: open ?? 'addon', status: 'fail', detail, advice }]);
    });
  });
}

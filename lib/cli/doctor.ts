/** `doctor`: tells whether the package can work here, and what to do where it can't. */

import { type Command, version } from './command.js';
import { probeInChild } from './doctor-child.js';
import type { Finding } from './doctor-finding.js';
import { readMachine } from './doctor-machine.js';
import { judgeKernel, judgePrivileges, judgeRuntime, judgeTunNode } from './doctor-system.js';

/** What is found, in the order of what depends on what. */
export async function diagnose(): Promise<readonly Finding[]> {
  const machine = readMachine();
  const runtime = judgeRuntime(machine);
  // Elsewhere there is no /proc, and no binary.
  if (machine.platform !== 'linux') return [runtime];
  const probed = await probeInChild();
  const opens = probed.some(({ check, status }) => check === 'tun' && status === 'ok');
  return [
    runtime,
    judgeKernel(machine),
    judgeTunNode(machine),
    ...judgePrivileges(machine, opens),
    ...probed,
  ];
}

/** Lines for people. */
export function formatFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const lines = findings.map(({ status, check, detail, advice }) => {
    const line = `${status.padEnd(4)}  ${check.padEnd(width)}  ${detail}\n`;
    return advice === undefined ? line : `${line}${' '.repeat(width + 8)}${advice}\n`;
  });
  const failed = findings.filter(({ status }) => status === 'fail').length;
  const warned = findings.filter(({ status }) => status === 'warn').length;
  const end =
    failed > 0
      ? `The package can't work here: ${failed} of ${findings.length} checks failed.`
      : `The package works here${warned > 0 ? ', but not all of it' : ''}.`;
  return `${lines.join('')}\n${end}\n`;
}

export const doctor: Command = {
  usage: '[--json]',
  summary: "Tells whether the package can work here, and what to do where it can't.",
  positionals: [0, 0],
  options: { json: { type: 'boolean' } },
  async run({ stdout }, _, { json }) {
    const findings = await diagnose();
    const works = findings.every(({ status }) => status !== 'fail');
    const report = { version: version(), works, findings };
    stdout.write(json ? `${JSON.stringify(report, undefined, 2)}\n` : formatFindings(findings));
    return works ? 0 : 1;
  },
};

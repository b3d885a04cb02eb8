/** The commands in a wg-quick file: PreUp and the like. */

import type { ParsedConfig } from '../wireguard/index.js';
import { findProgram, runProgram } from './programs.js';

const HOOKS = { preUp: 'PreUp', postUp: 'PostUp', preDown: 'PreDown', postDown: 'PostDown' } as const;

/** Which kinds of commands a file has, as it spells them. */
export function hookNames(config: ParsedConfig): readonly string[] {
  return (['preUp', 'postUp', 'preDown', 'postDown'] as const)
    .filter((name) => config[name].length > 0)
    .map((name) => HOOKS[name]);
}

/**
 * Runs commands one after the other by bash(1), as wg-quick(8) does; `%i` stands for the interface's name.
 * @param log is told of each command before it runs
 * @throws Error at the first that fails
 */
export async function runHooks(
  commands: readonly string[],
  name: string,
  env: NodeJS.ProcessEnv,
  log: (line: string) => void,
): Promise<void> {
  for (const command of commands) {
    const line = command.replaceAll('%i', () => name);
    log(`[#] ${line}`);
    const bash = findProgram('bash', env);
    if (bash === undefined) throw new Error('hooks need bash, which is not installed');
    await runProgram(`the hook '${line}'`, bash, ['-c', line], { env, stdio: 'inherit' });
  }
}

/** Other programs, which only the commands start: the library never does. */

import { type SpawnOptions, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The path of a program in PATH, or undefined. */
export function findProgram(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const directories = (env.PATH ?? '').split(delimiter).filter((directory) => directory !== '');
  return directories
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/**
 * Runs a program to its end.
 * @param what names it in errors
 * @param input what it reads. **Default:** nothing
 * @throws Error if it can't be started, or ends with another status than 0
 */
export function runProgram(
  what: string,
  path: string,
  args: readonly string[],
  options: Pick<SpawnOptions, 'env' | 'stdio'> = {},
  input = '',
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, { stdio: ['pipe', 'ignore', 'pipe'], ...options });
    let said = '';
    child.stderr?.on('data', (data) => {
      said += data;
    });
    child.on('error', (error) => reject(new Error(`${what} can't be started: ${error.message}`)));
    child.on('close', (status, signal) => {
      const end = signal === null ? `status ${status}` : signal;
      if (status === 0) resolve();
      else reject(new Error(`${what} ended with ${end}${said === '' ? '' : `: ${said.trim()}`}`));
    });
    child.stdin?.on('error', () => {}); // it does not want to read
    child.stdin?.end(input);
  });
}

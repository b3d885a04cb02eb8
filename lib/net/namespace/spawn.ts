import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { invalidArgType, invalidArgValue, requireObject } from '../../arguments.js';
import { namespaceExecPath } from '../../native/addon.js';

/** Starts namespace_exec, which enters the namespace of `fd` and becomes the command. */
export function spawnIn(
  fd: number,
  command: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  if (typeof command !== 'string' || command === '')
    throw invalidArgType('command', 'a non-empty string', command);
  if (!Array.isArray(args)) throw invalidArgType('args', 'an array of strings', args);
  requireObject('options', options);
  for (const name of ['shell', 'argv0', 'uid', 'gid'] as const) {
    if (options[name]) throw invalidArgValue(`options.${name}`, options[name], 'is not supported');
  }
  const { stdio = 'pipe' } = options;
  const streams = typeof stdio === 'string' ? [stdio, stdio, stdio] : [...stdio];
  while (streams.length < 3) streams.push('pipe');
  // The namespace is the child's last fd, which namespace_exec closes.
  const position = String(streams.length);
  return spawn(namespaceExecPath(), [position, command, ...args], { ...options, stdio: [...streams, fd] });
}

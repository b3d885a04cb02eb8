import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { constants as system } from 'node:os';
import { fileURLToPath } from 'node:url';
import { invalidArgType, invalidArgValue, requireObject } from '../../arguments.js';
import { namespaceExecPath } from '../../native/addon.js';
import { type SystemError, systemError } from '../../system-error.js';

/** Options of {@link NetworkNamespace.spawn}: those of `child_process.spawn`, and two more. */
export interface NamespaceSpawnOptions extends SpawnOptions {
  /**
   * What hides files of the same name under /etc, such as resolv.conf, from the command: a directory of files, or an
   * object with names and contents, each below 128 KB and all together below what execve(2) takes (else spawn E2BIG), which
   * need no files at all. If one can't, the command does not run,
   * and the status is 126. **Default:** `/etc/netns/NAME` of a namespace with a name, as far as possible
   */
  readonly etc?: string | Readonly<Record<string, string>>;
  /** The signal that the command gets if this thread ends before it. **Default:** none */
  readonly parentDeathSignal?: NodeJS.Signals;
}

/** Starts namespace_exec, which enters the namespace of `fd` and becomes the command. */
export function spawnIn(
  { fd, name = '' }: { readonly fd: number; readonly name?: string },
  command: string,
  args: readonly string[],
  options: NamespaceSpawnOptions,
): ChildProcess {
  if (typeof command !== 'string' || command === '')
    throw invalidArgType('command', 'a non-empty string', command);
  if (!Array.isArray(args)) throw invalidArgType('args', 'an array of strings', args);
  requireObject('options', options);
  for (const option of ['shell', 'argv0', 'uid', 'gid'] as const) {
    if (options[option]) throw invalidArgValue(`options.${option}`, options[option], 'is not supported');
  }
  const { stdio = 'pipe', cwd, etc = name && `/etc/netns/${name}`, parentDeathSignal, ...others } = options;
  if (options.etc === '') throw invalidArgValue('options.etc', etc, 'must not be empty');
  const files = typeof etc === 'string' ? [] : checkContents(etc);
  const signal = parentDeathSignal === undefined ? 0 : system.signals[parentDeathSignal];
  if (signal === undefined) {
    throw invalidArgValue('options.parentDeathSignal', parentDeathSignal, 'must name a signal');
  }
  const streams = typeof stdio === 'string' ? [stdio, stdio, stdio] : [...stdio];
  while (streams.length < 3) streams.push('pipe');
  // The namespace is the child's last fd, which namespace_exec closes.
  const required = options.etc === undefined ? '0' : '1';
  const directory = typeof etc === 'string' ? etc : '';
  const more = [required, String(signal), String(files.length), ...files.flat()];
  const argv = [String(streams.length), directory, ...more, command, ...args];
  // Takes milliseconds to load.
  const { spawn } = process.getBuiltinModule('node:child_process');
  let child: ChildProcess;
  try {
    child = spawn(namespaceExecPath(), argv, { ...others, cwd, stdio: [...streams, fd] });
  } catch (error) {
    throw (cwd !== undefined && directoryError(cwd)) || error;
  }
  if (cwd !== undefined) child.prependOnceListener('error', (error) => nameDirectory(child, error, cwd));
  return child;
}

function checkContents(etc: unknown): readonly [name: string, content: string][] {
  if (typeof etc !== 'object' || etc === null || Symbol.iterator in etc)
    throw invalidArgType('options.etc', 'a string or an object', etc);
  return Object.entries(etc).map(([name, content]) => {
    if (!/^[^/\0]{1,255}$/.test(name) || name === '.' || name === '..')
      throw invalidArgValue('options.etc', etc, 'must have names of files');
    if (typeof content !== 'string') throw invalidArgType(`options.etc.${name}`, 'a string', content);
    if (content.includes('\0')) throw invalidArgValue(`options.etc.${name}`, content, 'must not hold NUL');
    return [name, content];
  });
}

/** Why a working directory can't be entered, or undefined if it can. */
function directoryError(cwd: string | URL): SystemError | undefined {
  const path = cwd instanceof URL ? fileURLToPath(cwd) : cwd;
  try {
    // Deno's access tells no errno.
    statSync(`${path}/.`);
    accessSync(path, constants.X_OK);
    return undefined;
  } catch (error) {
    const { errno = -1 } = error as NodeJS.ErrnoException;
    return Object.assign(systemError(errno, 'chdir', path), { path });
  }
}

/** Node.js names the program in an error that its working directory caused. */
function nameDirectory(child: ChildProcess, error: NodeJS.ErrnoException, cwd: string | URL): void {
  const cause = error.syscall?.startsWith('spawn') ? directoryError(cwd) : undefined;
  if (cause !== undefined) Object.assign(error, cause, { message: cause.message, stack: cause.stack });
  // Without another listener it is an uncaught exception.
  if (child.listenerCount('error') === 0) throw error;
}

/** Runs a command, in a network of its own or not, and ends as it does. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { namespaceExecPath } from '../native/addon.js';
import { NetworkNamespace } from '../net/index.js';
import { inodeOf } from '../net/namespace/reference.js';
import { systemError } from '../system-error.js';
import { type Context, oneLine, type Warn } from './command.js';
import { interrupted, isInterruption } from './stop-signal.js';

/** Signals that would end this process. */
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;
const HARMLESS = ['SIGWINCH', 'SIGCONT'] as const;

/** How a command ended: its status, or the signal that ended it. */
export type Ended = number | NodeJS.Signals;

/**
 * The command that this process runs for. While it runs, signals of this process are its. One that comes before aborts
 * {@link signal}; one that comes later must not keep this process from cleaning up.
 */
export class Foreground implements Disposable {
  readonly #controller = new AbortController();
  #child: ChildProcess | undefined;
  /** What came before the command. */
  interruptedBy: NodeJS.Signals | undefined;

  constructor() {
    for (const name of [...ENDING, ...HARMLESS]) process.on(name, this.#take);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Runs the command to its end. */
  async run(start: () => ChildProcess): Promise<Ended> {
    this.signal.throwIfAborted();
    // No signal can come between: the event loop does not turn.
    this.#child = start();
    const [status, signal] = await once(this.#child, 'close');
    return signal ?? status;
  }

  readonly #take = (signal: NodeJS.Signals): void => {
    const child = this.#child;
    if (child === undefined) {
      if (!(ENDING as readonly string[]).includes(signal)) return;
      this.interruptedBy ??= signal;
      this.#controller.abort(interrupted());
      return;
    }
    if ((signal === 'SIGINT' || signal === 'SIGQUIT') && isInForeground()) return;
    const runs = child.exitCode === null && child.signalCode === null;
    // Not child.kill(): after that, Deno says that the signal ended the command, though it took it.
    if (runs && child.pid !== undefined) process.kill(child.pid, signal);
  };

  [Symbol.dispose](): void {
    for (const name of [...ENDING, ...HARMLESS]) process.off(name, this.#take);
  }
}

/** Whether a terminal sends Ctrl-C and Ctrl-\ to this process, and to the command as well. See proc_pid_stat(5). */
function isInForeground(): boolean {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}

/** Ends as the command did, or by the signal that came before it. @returns the status */
export async function endAsCommand(
  warn: Warn,
  use: (foreground: Foreground) => Promise<Ended>,
): Promise<number> {
  const ended = await endOf(warn, use);
  if (typeof ended === 'number') return ended;
  // The caller sees what the command's own parent would have seen. At SIGUSR1 Node.js opens its debugger instead.
  if (ended !== 'SIGUSR1') process.kill(process.pid, ended);
  return 128 + constants.signals[ended];
}

async function endOf(warn: Warn, use: (foreground: Foreground) => Promise<Ended>): Promise<Ended> {
  using foreground = new Foreground();
  try {
    return await use(foreground);
  } catch (error) {
    const { interruptedBy, signal } = foreground;
    if (interruptedBy === undefined) throw error;
    if (!isInterruption(signal, error)) warn(oneLine(error));
    return interruptedBy;
  }
}

/** A network in which there is only what `use` puts there. */
export async function withNetwork<T>(use: (namespace: NetworkNamespace) => Promise<T>): Promise<T> {
  await using namespace = await NetworkNamespace.create();
  await (await namespace.link('lo')).set({ up: true });
  return await use(namespace);
}

/** Lets nothing go on inside the namespace if this process is killed, whatever the command has started. */
function guard(namespace: NetworkNamespace): AsyncDisposable {
  const args = ['guard', `${inodeOf(namespace.fd)}`];
  const child = namespace.spawn(namespaceExecPath(), args, { stdio: ['pipe', 'ignore', 'ignore'] });
  const closed = new Promise((resolve) => child.on('close', resolve).on('error', resolve));
  child.stdin?.on('error', () => {});
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** Runs the command inside the namespace. Its name servers are those of `resolvConf` alone. */
export async function runInside(
  namespace: NetworkNamespace,
  resolvConf: string,
  [command, ...args]: readonly string[],
  { env }: Context,
  foreground: Foreground,
): Promise<Ended> {
  const services = hostServices();
  const etc = { 'resolv.conf': resolvConf, ...(services !== undefined && { 'nsswitch.conf': services }) };
  const options = { stdio: 'inherit', env, etc, parentDeathSignal: 'SIGKILL' } as const;
  await using _guard = guard(namespace);
  return await foreground.run(() => namespace.spawn(command, args, options));
}

/** Other services would look names up outside. Undefined without the file: files and DNS are asked then. */
function hostServices(): string | undefined {
  try {
    const services = readFileSync('/etc/nsswitch.conf', 'utf8');
    return `${services.replace(/^\s*hosts:.*$/gm, '')}\nhosts: files dns\n`;
  } catch {
    return undefined;
  }
}

/** Runs the command in the network of this process. If it can't be run, the status is as env(1) has it. */
export async function runHere(
  [command, ...args]: readonly string[],
  { env, stderr }: Context,
  foreground: Foreground,
): Promise<Ended> {
  try {
    return await foreground.run(() => spawn(command, args, { stdio: 'inherit', env }));
  } catch (error) {
    const { code, errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    stderr.write(`tuntap-native: ${oneLine(systemError(errno, 'spawn', command))}\n`);
    return code === 'ENOENT' ? 127 : 126;
  }
}

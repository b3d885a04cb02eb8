/** Runs a command in a network of its own, and ends as it does. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkNamespace } from '../net/index.js';
import type { Context } from './command.js';

const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT'] as const;

/** How a command ended: its status, or the signal that ended it. */
export type Ended = number | NodeJS.Signals;

/** A network in which there is only what `use` puts there, and the files for /etc of a command that runs in it. */
export function withNetwork<T>(
  resolvConf: string,
  use: (namespace: NetworkNamespace, etc: string) => Promise<T>,
): Promise<T> {
  return withEtc(resolvConf, async (etc) => {
    await using namespace = await NetworkNamespace.create();
    await (await namespace.link('lo')).set({ up: true });
    return await use(namespace, etc);
  });
}

/**
 * Files for the command's /etc: the name servers, and a switch that asks them alone, since other services would look
 * names up outside. They are removed once `use` has ended.
 */
async function withEtc<T>(resolvConf: string, use: (etc: string) => Promise<T>): Promise<T> {
  const etc = mkdtempSync(join(tmpdir(), 'tuntap-run-'));
  try {
    writeFileSync(join(etc, 'resolv.conf'), resolvConf);
    const services = hostServices();
    if (services !== undefined) writeFileSync(join(etc, 'nsswitch.conf'), services);
    return await use(etc);
  } finally {
    rmSync(etc, { recursive: true });
  }
}

/** Undefined without the file: files and DNS are asked then. */
function hostServices(): string | undefined {
  try {
    const services = readFileSync('/etc/nsswitch.conf', 'utf8');
    return `${services.replace(/^\s*hosts:.*$/gm, '')}\nhosts: files dns\n`;
  } catch {
    return undefined;
  }
}

/** Runs the command inside the namespace to its end; signals of this process are its. */
export function runInside(
  namespace: NetworkNamespace,
  [command, ...args]: readonly string[],
  etc: string,
  { env, stdin }: Context,
): Promise<Ended> {
  const options = { stdio: 'inherit', env, etc, parentDeathSignal: 'SIGKILL' } as const;
  return untilEnd(() => namespace.spawn(command, args, options), stdin);
}

/** The same in the network of this process. */
export function runHere([command, ...args]: readonly string[], { env, stdin }: Context): Promise<Ended> {
  return untilEnd(() => spawn(command, args, { stdio: 'inherit', env }), stdin);
}

async function untilEnd(start: () => ChildProcess, stdin: Context['stdin']): Promise<Ended> {
  // No signal may come between the command's start and the listeners: it would end this process alone.
  let child: ChildProcess | undefined;
  // Not child.kill(): after that, Deno says that the signal ended the command, though it took it.
  const forward = (signal: NodeJS.Signals): void => {
    const runs = child?.exitCode === null && child.signalCode === null;
    if (runs && child?.pid !== undefined) process.kill(child.pid, signal);
  };
  // A terminal sends Ctrl-C to the command as well.
  const interrupt = (): void => void (stdin.isTTY || forward('SIGINT'));
  process.on('SIGINT', interrupt);
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    child = start();
    const [status, signal] = await once(child, 'close');
    return signal ?? status;
  } finally {
    process.off('SIGINT', interrupt);
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}

/** Ends as the command did: the caller sees what the command's own parent would have seen. @returns the status */
export function endAs(ended: Ended): number {
  if (typeof ended === 'number') return ended;
  process.kill(process.pid, ended);
  return 128 + constants.signals[ended];
}

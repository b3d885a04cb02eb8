/** Starts the commands, with the fake tunnel of fake-engine.ts. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native/net';
import { until } from '../wireguard/oracle.ts';

export interface Options {
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  readonly namespace?: NetworkNamespace;
}

/** A program that runs, and what it has printed. */
export class Running {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  status: number | string | null | undefined;
  readonly ended: Promise<void>;

  constructor(command: readonly string[], { env, input = '', namespace }: Options = {}) {
    const options = {
      stdio: ['pipe', 'pipe', 'pipe'] as ('pipe' | 'ignore')[],
      env: { ...process.env, ...env },
    };
    const [program, ...args] = command;
    this.child = namespace ? namespace.spawn(program, args, options) : spawn(program, args, options);
    this.child.stdout?.on('data', (data) => {
      this.stdout += data;
    });
    this.child.stderr?.on('data', (data) => {
      this.stderr += data;
    });
    this.child.stdin?.on('error', () => {});
    this.child.stdin?.end(input);
    this.ended = once(this.child, 'close').then(([status, signal]) => {
      this.status = status ?? signal;
    });
  }

  /** Waits until it has printed this. */
  async printed(what: RegExp): Promise<void> {
    await until(
      () => what.test(this.stdout) || this.status !== undefined,
      `${what} in ${this.stdout}${this.stderr}`,
    );
    if (!what.test(this.stdout))
      throw new Error(`it ended with ${this.status}: ${this.stdout}${this.stderr}`);
  }

  /** Not child.kill(): after that, Deno says that the signal ended the child, though it took it. */
  tell(signal: NodeJS.Signals): void {
    if (this.status === undefined) process.kill(this.child.pid ?? 0, signal);
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    this.tell(signal);
    await this.ended;
  }
}

function started(program: string, args: readonly string[]): [string, ...string[]] {
  return [process.execPath, ...(process.versions.deno ? ['run', '-A'] : []), program, ...args];
}

/** `tuntap-native` or `tuntap-wireguard` as users start it. */
export function real(program: string, ...args: string[]): [string, ...string[]] {
  return started(fileURLToPath(import.meta.resolve(`#dist/cli/${program}.js`)), args);
}

/** The same with the fake tunnel. */
export function fake(program: string, ...args: string[]): [string, ...string[]] {
  return started(fileURLToPath(new URL(`./fake-${program}.js`, import.meta.url)), args);
}

/** Runs a command to its end. */
export async function finish(command: readonly string[], options: Options = {}): Promise<Running> {
  const running = new Running(command, options);
  await running.ended;
  return running;
}

/** A command that prints the process id of another one that it started, and its own. */
export const PARENT_AND_CHILD = ['sh', '-c', 'setsid sleep 60 & echo $! $$; wait'] as const;

/** Kills a program that runs {@link PARENT_AND_CHILD}, neither of which goes on then. */
export async function killed(running: Running): Promise<void> {
  await running.printed(/^\d+ \d+\n/);
  const pids = running.stdout.trim().split(' ');
  running.child.kill('SIGKILL');
  await running.ended;
  const state = (pid: string): string => {
    try {
      return readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /, '')[0];
    } catch {
      return 'gone';
    }
  };
  await until(() => pids.every((pid) => ['gone', 'Z', 'X'].includes(state(pid))), 'the end of both');
}

/** What the programs that endure abuse share: they start others in namespaces, look at them, and tell what holds. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { NetworkNamespace } from 'tuntap-native/net';

/** Says what happens, and remembers whether all held. */
export class Trial {
  #failures = 0;
  readonly #children = new Set<ChildProcess>();
  readonly #began = performance.now();

  /**
   * Runs `body` in as many new namespaces; ends what it started, also after a signal. The status of this process tells
   * whether all held.
   */
  static async run(
    count: number,
    body: (trial: Trial, namespaces: readonly NetworkNamespace[]) => Promise<void>,
  ): Promise<void> {
    const trial = new Trial();
    const namespaces: NetworkNamespace[] = [];
    const interrupted = Promise.race(
      (['SIGINT', 'SIGTERM'] as const).map(async (signal) => {
        await once(process, signal);
        throw new Error(signal);
      }),
    );
    try {
      while (namespaces.length < count) namespaces.push(await NetworkNamespace.create());
      await Promise.race([body(trial, namespaces), interrupted]);
    } finally {
      for (const child of trial.#children) await trial.stop(child, 'SIGKILL');
      for (const namespace of namespaces) await namespace.close();
    }
    if (trial.#failures > 0) process.exitCode = 1;
  }

  /** Seconds since it began. */
  get elapsed(): number {
    return (performance.now() - this.#began) / 1000;
  }

  say(text: string): void {
    console.log(`${this.elapsed.toFixed(1).padStart(6)} s  ${text}`);
  }

  hold(holds: boolean, text: string): void {
    this.say(`${holds ? 'ok    ' : 'FAILED'} ${text}`);
    if (!holds) this.#failures++;
  }

  /** A program of ours in a namespace. What it says on stderr is an error that nobody handled. */
  start(
    namespace: NetworkNamespace,
    args: readonly string[],
    [stdin, stdout, ...more]: readonly ('pipe' | 'ignore' | 'inherit' | 'ipc')[],
  ): ChildProcess {
    const child = namespace.spawn(process.execPath, args, { stdio: [stdin, stdout, 'pipe', ...more] });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    child.stderr?.on('data', (data) => this.hold(false, `${args.join(' ')} says: ${data}`));
    return child;
  }

  /** Ends a program, and returns its status. */
  async stop(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
    if (!this.#children.has(child)) return child.exitCode;
    // Not child.kill(): after that, Deno says that the signal ended the child, though it took it.
    process.kill(child.pid ?? 0, signal);
    await once(child, 'close');
    return child.exitCode;
  }
}

export function residentMB({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

export const openFds = ({ pid }: ChildProcess): number => readdirSync(`/proc/${pid}/fd`).length;

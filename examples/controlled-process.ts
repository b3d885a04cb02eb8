/**
 * A daemon that is told what to do by lines on its standard input, and answers each by any lines and then `ok`, or by
 * `error` and why. It stops when its standard input ends, and thus with its parent; or at SIGTERM.
 */

import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { NetworkNamespace } from 'tuntap-native/net';

/** In the daemon: serves until it is to stop. `command` gets a line's words and returns the lines to answer. */
export async function serveControl(command: (words: readonly string[]) => readonly string[]): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  process.once('SIGTERM', () => lines.close());
  console.log('ok');
  for await (const line of lines) {
    try {
      console.log([...command(line.trim().split(/\s+/)), 'ok'].join('\n'));
    } catch (error) {
      console.log(`error ${(error as Error).message}`);
    }
  }
}

/** In the parent: one such daemon, a Node.js program inside a namespace. */
export class ControlledProcess {
  /** Resolves to the exit status once the daemon has ended. */
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(namespace: NetworkNamespace, file: string, args: readonly string[]) {
    const stdio = ['pipe', 'pipe', 'inherit'] as const;
    this.#child = namespace.spawn(process.execPath, [file, ...args], { stdio: [...stdio] });
    this.ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.on('error', console.error);
    // A daemon that has ended reads no more; its answer, which does not come, says so.
    this.#child.stdin?.on('error', () => {});
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[
      Symbol.asyncIterator
    ]();
  }

  /** Resolves once the daemon is ready. */
  static async start(
    namespace: NetworkNamespace,
    file: string,
    args: readonly string[],
  ): Promise<ControlledProcess> {
    const started = new ControlledProcess(namespace, file, args);
    await started.#answer();
    return started;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Sends a line, one at a time; resolves with the lines that answer it. */
  async command(line: string): Promise<readonly string[]> {
    this.#child.stdin?.write(`${line}\n`);
    return this.#answer();
  }

  async stop(): Promise<void> {
    this.#child.stdin?.end();
    await this.ended;
  }

  async #answer(): Promise<readonly string[]> {
    const answer: string[] = [];
    for (;;) {
      const { value: line, done } = await this.#lines.next();
      if (done) throw new Error(`${this.#child.spawnargs.join(' ')} ended`);
      if (line === 'ok') return answer;
      if (line.startsWith('error ')) throw new Error(line.slice('error '.length));
      answer.push(line);
    }
  }
}

/** Waiting for an etcd that is away. */

import { setTimeout } from 'node:timers/promises';
import { EtcdError } from './etcd.ts';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;

/** Pauses that grow, until `reset`. */
export class Pause {
  #ms = FIRST_PAUSE_MS;

  async wait(signal: AbortSignal): Promise<void> {
    await setTimeout(this.#ms, undefined, { signal });
    this.#ms = Math.min(this.#ms * 2, LONGEST_PAUSE_MS);
  }

  reset(): void {
    this.#ms = FIRST_PAUSE_MS;
  }
}

/** Tries until etcd answers. It says so once if etcd does not. Other errors are thrown. */
export async function untilAvailable<T>(
  what: string,
  signal: AbortSignal,
  action: () => Promise<T>,
): Promise<T> {
  const pause = new Pause();
  for (let told = false; ; told = true) {
    try {
      return await action();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof EtcdError && error.isTransient)) throw error;
      if (!told) console.error(`can't ${what} now, and tries again: ${error.message}`);
      await pause.wait(signal);
    }
  }
}

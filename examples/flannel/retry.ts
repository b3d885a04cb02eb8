/** Waiting for an etcd that is away. */

import { setTimeout } from 'node:timers/promises';
import { EtcdError } from './etcd.ts';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5000;
const WENT_WELL_MS = 10_000;

/** Pauses that grow. They begin anew once all went well for a while. */
export class Pause {
  #ms = FIRST_PAUSE_MS;
  #last = 0;

  async wait(signal: AbortSignal): Promise<void> {
    if (performance.now() - this.#last > WENT_WELL_MS) this.#ms = FIRST_PAUSE_MS;
    await setTimeout(this.#ms, undefined, { signal });
    this.#ms = Math.min(this.#ms * 2, LONGEST_PAUSE_MS);
    this.#last = performance.now();
  }
}

/** Tries until etcd does it, whatever etcd says against it, and tells each new reason. Other errors are thrown. */
export async function untilAvailable<T>(
  what: string,
  signal: AbortSignal,
  action: () => Promise<T>,
): Promise<T> {
  const pause = new Pause();
  for (let told = ''; ; ) {
    try {
      return await action();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof EtcdError)) throw error;
      if (error.message !== told) console.error(`can't ${what} now, and tries again: ${error.message}`);
      told = error.message;
      await pause.wait(signal);
    }
  }
}

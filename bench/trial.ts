/** What the programs that endure abuse tell, and what they look at. */

import type { ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** Says what happens, and remembers whether all held. */
export class Trial {
  failures = 0;
  readonly #began = performance.now();

  /** Seconds since it began. */
  get elapsed(): number {
    return (performance.now() - this.#began) / 1000;
  }

  say(text: string): void {
    console.log(`${this.elapsed.toFixed(1).padStart(6)} s  ${text}`);
  }

  hold(holds: boolean, text: string): void {
    this.say(`${holds ? 'ok    ' : 'FAILED'} ${text}`);
    if (!holds) this.failures++;
  }
}

export function residentMB({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

export const openFds = ({ pid }: ChildProcess): number => readdirSync(`/proc/${pid}/fd`).length;

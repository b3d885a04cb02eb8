/** For benchmarks that run themselves again, in processes of their own, as their parts. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const children: ChildProcess[] = [];

/** Runs the program at `url` with arguments, until it sends its first message. */
export async function startPart(
  url: string,
  args: readonly string[],
  execArgv: readonly string[] = [],
): Promise<ChildProcess> {
  const child = fork(fileURLToPath(url), args, { execArgv: [...execArgv] });
  children.push(child);
  await once(child, 'message');
  return child;
}

export async function endPart(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close');
  child.kill();
  await closed;
}

/** Ends all that run. */
export function endParts(): void {
  for (const child of children) child.kill();
}

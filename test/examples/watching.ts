/** What the example tests share: tcpdump as an independent observer, ping, and a run of a whole example. */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native';
import { ipLinks, type Outcome, run, runFor } from '../support.ts';

const MAX_MS = 10_000;
const EXAMPLE_MS = 120_000;

/** What tcpdump prints of the first packet on a link that fits `expression`, while `traffic` is made. */
export async function firstPacket(
  namespace: NetworkNamespace,
  link: string,
  expression: string,
  traffic: () => Promise<unknown>,
): Promise<string> {
  const args = ['-n', '-e', '-i', link, '-c', '1', '--immediate-mode', '-l', expression];
  const child = namespace.spawn('tcpdump', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: MAX_MS });
  let printed = '';
  let messages = '';
  child.stdout?.on('data', (data) => {
    printed += data;
  });
  const closed = once(child, 'close');
  try {
    while (!messages.includes('listening on')) {
      const [data] = await Promise.race([once(child.stderr as NodeJS.EventEmitter, 'data'), closed]);
      assert.ok(data instanceof Buffer, `tcpdump ended: ${messages}`);
      messages += data;
    }
    await traffic();
    const [status] = await closed;
    assert.equal(status, 0, `nothing fits '${expression}'`);
    return printed;
  } finally {
    child.kill();
  }
}

/** ping, one packet unless told otherwise; status 0: it was answered. */
export function ping(from: NetworkNamespace, to: string, ...options: readonly string[]): Promise<Outcome> {
  return run(from, 'ping', '-n', '-c1', '-W1', ...options, to);
}

/** The processes that were started with a line in their environment, or by one that was. */
function processesWith(line: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(line);
    } catch {
      return false; // no process, or one that has ended meanwhile
    }
  });
}

/** Runs examples/`name`, which must leave neither links nor processes behind. */
export async function example(
  namespace: NetworkNamespace,
  name: string,
  ...args: readonly string[]
): Promise<Outcome> {
  const file = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  const line = `TUNTAP_EXAMPLE_RUN=${randomUUID()}`;
  const links = async () => (await ipLinks(namespace)).map(({ ifname }) => ifname);
  const before = await links();
  const outcome = await runFor(EXAMPLE_MS, namespace, 'env', line, process.execPath, file, ...args);
  assert.deepEqual([await links(), processesWith(line)], [before, []]);
  return outcome;
}

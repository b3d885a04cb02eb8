/** What the example tests share: tcpdump as an independent observer, ping, and a run of a whole example. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
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

/** What an example may leave: links, and processes of its folder. Other programs may be at work on this machine. */
async function state(namespace: NetworkNamespace, folder: string): Promise<unknown> {
  const processes = readdirSync('/proc').filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder);
    } catch {
      return false; // no process, or one that has ended meanwhile
    }
  });
  return { links: (await ipLinks(namespace)).map(({ ifname }) => ifname), processes };
}

/** Runs examples/`name`, which must leave nothing behind. */
export async function example(
  namespace: NetworkNamespace,
  name: string,
  ...args: readonly string[]
): Promise<Outcome> {
  const file = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  const folder = name.includes('/') ? dirname(file) : file;
  const before = await state(namespace, folder);
  const outcome = await runFor(EXAMPLE_MS, namespace, process.execPath, file, ...args);
  assert.deepEqual(await state(namespace, folder), before);
  return outcome;
}

/** wireguard-go and wg(8), which the tests compare with. */

import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NetworkNamespace } from 'tuntap-native/net';

export const SOCKETS = '/var/run/wireguard';

let names = 0;

/** A name that no other interface has: sockets of all namespaces are in one directory. */
export function freeName(): string {
  return `t${process.pid}x${names++}`;
}

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs wg, without colours. */
export function wg(...args: string[]): Finished {
  return spawnSync('wg', args, {
    encoding: 'utf8',
    timeout: 10_000,
    env: { ...process.env, WG_COLOR_MODE: 'never' },
  });
}

export function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Waits until `condition` holds. */
export async function until(condition: () => unknown, what: string): Promise<void> {
  // Making a device can wait for other tests, which make thousands.
  const end = Date.now() + 30_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await sleep(5);
  }
}

/** Runs `body` while wireguard-go has an interface in the namespace. */
export async function withWireguardGo(
  namespace: NetworkNamespace,
  body: (name: string) => Promise<void> | void,
): Promise<void> {
  const name = freeName();
  const child: ChildProcess = namespace.spawn('wireguard-go', ['-f', name], {
    stdio: 'ignore',
    env: { ...process.env, LOG_LEVEL: 'silent' },
  });
  const ended = once(child, 'exit');
  try {
    await until(() => exists(`${SOCKETS}/${name}.sock`), 'the socket of wireguard-go');
    await body(name);
  } finally {
    child.kill();
    await ended;
  }
}

/** A directory of its own for `body`. */
export async function withFolder(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-wg-'));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs `use` with a file of that content. */
export function withFile<T>(content: string, use: (path: string) => T, name = 'wg.conf'): T {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-wg-'));
  try {
    const path = join(folder, name);
    writeFileSync(path, content, { mode: 0o600 });
    return use(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The command that runs another one with a listening unix socket as fd `fd`, as a supervisor does. */
export function withSocket(path: string, fd: number, command: readonly string[]): [string, ...string[]] {
  const program = `
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(5)
os.dup2(listener.fileno(), int(sys.argv[2]))
os.set_inheritable(int(sys.argv[2]), True)
os.execvp(sys.argv[3], sys.argv[3:])`;
  return ['python3', '-c', program, path, String(fd), ...command];
}

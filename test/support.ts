/** What the device tests share: a namespace for each, and commands run inside it. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Context, Hook, Test } from 'mocha';
import { NetworkNamespace } from 'tuntap-native';
import { openUdp } from 'tuntap-native/tunnel';

/** Why real devices can't be opened here, or undefined. */
function missingPrivilege(): string | undefined {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'needs /dev/net/tun';
  }
  return undefined;
}

/** Skips a test if a privilege or a program is missing, and says which. */
export function needs(context: Context, ...programs: string[]): void {
  const absent = programs.find((program) => spawnSync('which', [program]).status !== 0);
  // In a user namespace, where uid 0 is this user, tcpdump can't become the user that it runs as.
  const dumps = programs.includes('tcpdump') && process.getuid?.() !== 0;
  const reason =
    missingPrivilege() ??
    (absent && `needs the program ${absent}`) ??
    (dumps ? 'tcpdump needs root' : undefined);
  if (reason !== undefined) skip(context, reason);
}

/** A test of what only root may do. */
export function itAsRoot(title: string, body: (this: Context) => Promise<void> | void): Test {
  // Programs that import this file have no mocha.
  return process.getuid?.() === 0 ? it(title, body) : it.skip(title, body);
}

/** Skips a test, or all of a suite's in its hook, and says why. CI run as root has all it needs: there it fails. */
export function skip(context: Context, reason: string): never {
  if (process.env.CI && process.getuid?.() === 0) throw new Error(`skipped: ${reason}`);
  const mark = (test: Test): void => {
    test.title += ` [skipped: ${reason}]`;
  };
  const runnable = context.runnable() as Hook | Test;
  if (runnable.type === 'hook') runnable.parent?.eachTest(mark);
  else mark(runnable);
  return context.skip();
}

/** Runs a test's body in a fresh namespace and closes it afterwards. */
export async function inNamespace<T>(body: (namespace: NetworkNamespace) => Promise<T>): Promise<T> {
  const namespace = await NetworkNamespace.create();
  try {
    return await body(namespace);
  } finally {
    await namespace.close();
  }
}

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command inside a namespace to its end. */
export function run(namespace: NetworkNamespace, command: string, ...args: string[]): Promise<Outcome> {
  return runFor(20_000, namespace, command, ...args);
}

/** The same, stopped after `timeout` milliseconds. */
export function runFor(
  timeout: number,
  namespace: NetworkNamespace,
  command: string,
  ...args: string[]
): Promise<Outcome> {
  return outcome(namespace.spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout }));
}

/**
 * Runs a command that gets another namespace as well: its path is in $OTHER. The files of this process are not open to
 * a command inside a user namespace, so it inherits the fd.
 */
export function runBeside(
  other: NetworkNamespace | undefined,
  namespace: NetworkNamespace,
  command: string,
  ...args: string[]
): Promise<Outcome> {
  return outcome(
    namespace.spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe', ...(other ? [other.fd] : [])],
      env: { ...process.env, OTHER: '/proc/self/fd/3' },
      timeout: 20_000,
    }),
  );
}

function outcome(child: ChildProcess): Promise<Outcome> {
  const fds = readdirSync('/proc/self/fd').length;
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (data) => {
      stdout += data;
    });
    child.stderr?.on('data', (data) => {
      stderr += data;
    });
    child.on('error', reject);
    child.on('close', async (status) => {
      if (process.versions.bun) await fewerFds(fds);
      resolve({ status, stdout, stderr });
    });
  });
}

/** Bun closes a child's streams a little later than it tells, which a test that counts fds would notice. */
async function fewerFds(than: number): Promise<void> {
  for (let i = 0; i < 200 && readdirSync('/proc/self/fd').length > than - 2; i++) await delay(5);
}

/** A process inside the namespace, once it is there. */
export async function sleeper(namespace: NetworkNamespace): Promise<ChildProcess> {
  const child = namespace.spawn('sh', ['-c', 'echo; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return child;
}

/** The arguments by which this runtime runs a text as a module. */
export function moduleArguments(source: string): string[] {
  return process.versions.deno ? ['eval', '--ext=mjs', source] : ['--input-type=module', '-e', source];
}

/** Node.js, for what only has to be run by something. */
export const NODE = process.versions.bun || process.versions.deno ? 'node' : process.execPath;

/** The command of a program with what device tests import. */
export function nodeProgram(body: string): [string, ...string[]] {
  const source = `
    import { NetworkNamespace, openMacvtap, openTap, openTun } from '${import.meta.resolve('tuntap-native')}';
    import { replyToEcho } from '${import.meta.resolve('tuntap-native/packet')}';
    ${body}`;
  return [process.execPath, ...moduleArguments(source)];
}

export interface IpLink {
  readonly ifname: string;
  readonly ifindex: number;
  readonly flags: string[];
  readonly mtu: number;
  readonly txqlen: number;
  readonly address?: string;
  readonly linkinfo?: { info_kind: string; info_data: Record<string, unknown> };
  readonly addr_info?: {
    local: string;
    prefixlen: number;
    family: string;
    nodad?: boolean;
    tentative?: boolean;
  }[];
}

/** The links of a namespace as `ip -j -d addr` tells them, the independent oracle. */
export async function ipLinks(namespace: NetworkNamespace): Promise<IpLink[]> {
  const { stdout, stderr, status } = await run(namespace, 'ip', '-j', '-d', 'addr', 'show');
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as IpLink[];
}

/** Waits until a link is gone: in Deno, a worker ends after terminate() has resolved. */
export async function linkGone(namespace: NetworkNamespace, name: string): Promise<void> {
  while ((await ipLink(namespace, name)) !== undefined);
}

export async function ipLink(namespace: NetworkNamespace, name: string): Promise<IpLink | undefined> {
  return (await ipLinks(namespace)).find(({ ifname }) => ifname === name);
}

/** The open fds of this process; the one that lists them is not among them, nor are those of Deno itself. */
export function fdNumbers(): number[] {
  startEngine();
  const own = process.versions.deno ? filesOfDeno() : [];
  awaitVisitor();
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      try {
        return !own.includes(readlinkSync(`/proc/self/fd/${fd}`));
      } catch {
        return false;
      }
    });
}

/** Lets the thread that enters namespaces end, 0.1 s after its last visit: it has an fd. */
function awaitVisitor(): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const runs = () => ofThreads((folder) => readFileSync(`${folder}/comm`, 'utf8')).includes('namespaces\n');
  for (let i = 0; i < 100 && runs(); i++) Atomics.wait(pause, 0, 0, 10);
}

/**
 * What Deno opens for itself, some of it late: a pair of unix sockets, an epoll and an eventfd. It keeps the latter two of
 * each worker that is terminated, though that has loaded no addon.
 */
function filesOfDeno(): string[] {
  const sockets = readFileSync('/proc/self/net/unix', 'latin1').matchAll(/^(?:\S+ +){6}(\d+)$/gm);
  return [
    'anon_inode:[eventpoll]',
    'anon_inode:[eventfd]',
    ...[...sockets].map(([, inode]) => `socket:[${inode}]`),
  ];
}

export const openFds = (): number => fdNumbers().length;

/** No more are open, soon: threads, watches and other ends close theirs a little later, as Bun does those of a child process. */
export async function fdsAtMost(count: number, open = openFds): Promise<void> {
  for (const end = Date.now() + 10_000; open() > count && Date.now() < end; ) await delay(10);
  assert.ok(open() <= count, `${open()} fds, at most ${count} expected`);
}

/** What `read` returns for each thread of this process, of which it gets the folder in /proc. */
export function ofThreads<T>(read: (folder: string) => T): T[] {
  return readdirSync('/proc/self/task').flatMap((id) => {
    try {
      return [read(`/proc/self/task/${id}`)];
    } catch {
      return []; // it ended meanwhile
    }
  });
}

/** The network namespaces of this process's threads. */
export function threadNamespaces(): Set<string> {
  return new Set(ofThreads((folder) => readlinkSync(`${folder}/ns/net`)));
}

let engineRuns = false;

/** Where a thread waits for packets, it takes three fds with the first device or socket, and keeps them. */
function startEngine(): void {
  if (engineRuns) return;
  engineRuns = true;
  void openUdp().close();
}

/** A text as a pattern has it: keys in base64 have `+`. */
export function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

/** A system error's or misuse's code. */
export function code(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
  return undefined;
}

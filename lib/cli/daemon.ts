/** `tuntap-wireguard [-f] NAME`: an interface that wg(8) configures, in place of wireguard-go. */

import { type StdioOptions, spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { type Context, oneLine, parseArguments, type Tunnel, UsageError, version } from './command.js';
import { runtimeCommand } from './runtime-command.js';
import { shortKey } from './status.js';
import { stopSignal } from './stop-signal.js';

const PROGRAM = 'tuntap-wireguard';
const HELP = `Usage: ${PROGRAM} [-f|--foreground] NAME

Makes the interface NAME, which wg(8) configures and removing the link ends. Without -f it returns once
the interface and its control socket exist.

Environment:
  WG_TUN_FD                 an open TUN device, to adopt
  WG_UAPI_FD                a listening unix socket, to adopt as control socket
  WG_PROCESS_FOREGROUND=1   like -f
  LOG_LEVEL                 verbose, debug, error (the default) or silent
`;
/** Where the child in the background reports: "ok", or what went wrong. */
const REPORT_FD = 3;
const REPORT_VARIABLE = 'TUNTAP_WIREGUARD_REPORT_FD';
const OPTIONS = {
  foreground: { type: 'boolean', short: 'f' },
  version: { type: 'boolean', short: 'v' },
} as const;

type LogLevel = 'debug' | 'error' | 'silent';

function logLevel({ LOG_LEVEL = '' }: NodeJS.ProcessEnv): LogLevel {
  const level = LOG_LEVEL.toLowerCase();
  if (level === 'verbose' || level === 'debug') return 'debug';
  return level === 'silent' ? 'silent' : 'error';
}

/** A fd that the parent process passes on. */
function passedFd(env: NodeJS.ProcessEnv, name: 'WG_TUN_FD' | 'WG_UAPI_FD'): number | undefined {
  const value = env[name];
  if (value === undefined || value === '') return undefined;
  if (!/^[0-9]{1,9}$/.test(value)) throw new Error(`${name} must be the number of a file descriptor`);
  return Number(value);
}

/** Runs the program. @returns its exit status: 1 if setting up failed, 2 after bad usage */
export async function runDaemon(args: readonly string[], context: Context): Promise<number> {
  const { stdout, stderr, env } = context;
  try {
    const { positionals, values } = parseArguments(args, { positionals: [0, 1], options: OPTIONS });
    if (values.help) {
      stdout.write(HELP);
      return 0;
    }
    if (values.version) {
      stdout.write(`${PROGRAM} v${version()}\n`);
      return 0;
    }
    const [name] = positionals;
    if (name === undefined) throw new UsageError('the name of an interface is missing');
    const isForeground = values.foreground === true || env.WG_PROCESS_FOREGROUND === '1';
    return await (isForeground ? runForeground(name, context) : runInBackground(name, context));
  } catch (error) {
    const isUsage = error instanceof UsageError;
    stderr.write(`${PROGRAM}: ${oneLine(error)}${isUsage ? `; see ${PROGRAM} --help` : ''}\n`);
    return isUsage ? 2 : 1;
  }
}

async function runForeground(name: string, { env, stdout, stderr, openTunnel }: Context): Promise<number> {
  const report = env[REPORT_VARIABLE] === String(REPORT_FD) ? reportTo(REPORT_FD) : undefined;
  try {
    const level = logLevel(env);
    const debug = (line: string) => level === 'debug' && stdout.write(`DEBUG: (${name}) ${line}\n`);
    const complain = (line: string) => level !== 'silent' && stderr.write(`ERROR: (${name}) ${line}\n`);
    using stop = stopSignal();
    const tunnel = await openTunnel(name, {
      tunFd: passedFd(env, 'WG_TUN_FD'),
      controlFd: passedFd(env, 'WG_UAPI_FD'),
      control: true,
      routes: 'off',
      up: false,
    });
    const ended = new Promise<void>((resolve) => {
      tunnel.on('close', resolve);
    });
    watch(tunnel, debug, complain);
    debug('is there');
    report?.('ok');
    await Promise.race([stop.received, ended]);
    await tunnel.close();
    debug('is gone');
    return 0;
  } catch (error) {
    report?.(oneLine(error));
    throw error;
  }
}

function watch(tunnel: Tunnel, debug: (line: string) => void, complain: (line: string) => void): void {
  tunnel.on('handshake', ({ publicKey, endpoint }) =>
    debug(`peer ${shortKey(publicKey)}: handshake with ${endpoint}`),
  );
  tunnel.on('roam', ({ publicKey, endpoint }) => debug(`peer ${shortKey(publicKey)}: is at ${endpoint} now`));
  tunnel.on('expired', ({ publicKey }) => debug(`peer ${shortKey(publicKey)}: its keys have expired`));
  tunnel.on('error', (error) => complain(oneLine(error)));
}

/** Writes one line, then closes the pipe. */
function reportTo(fd: number): (report: string) => void {
  let isOpen = true;
  return (report) => {
    if (!isOpen) return;
    isOpen = false;
    try {
      writeSync(fd, `${report}\n`);
    } catch {
      // the parent process does not wait any more
    }
    closeSync(fd);
  };
}

/** Starts this program again, detached, and waits for its report. */
async function runInBackground(name: string, { env }: Context): Promise<number> {
  const output = env.LOG_LEVEL && logLevel(env) !== 'silent' ? 'inherit' : 'ignore';
  const stdio: StdioOptions = ['ignore', output, output, 'pipe'];
  const childEnv: NodeJS.ProcessEnv = { ...env, [REPORT_VARIABLE]: String(REPORT_FD) };
  for (const variable of ['WG_TUN_FD', 'WG_UAPI_FD'] as const) {
    const fd = passedFd(env, variable);
    if (fd === undefined) continue;
    childEnv[variable] = String(stdio.length);
    stdio.push(fd);
  }
  const [program, ...args] = runtimeCommand(process.argv[1]);
  const all = [...process.execArgv, ...args, '--foreground', '--', name];
  const child = spawn(program, all, { detached: true, cwd: '/', env: childEnv, stdio });
  const started = new Promise<void>((resolve, reject) => {
    child.on('spawn', resolve);
    child.on('error', reject);
  });
  await started;
  const report = await readLine(child.stdio[REPORT_FD] as NodeJS.ReadableStream);
  child.unref();
  if (report === 'ok') return 0;
  throw new Error(report || 'the process in the background ended without a report');
}

/** The first line; the pipe may stay open, since Deno keeps a copy of each fd that it inherits. */
async function readLine(stream: NodeJS.ReadableStream): Promise<string> {
  let read = '';
  for await (const bytes of stream) {
    read += bytes;
    if (read.endsWith('\n')) break;
  }
  return read.trimEnd();
}

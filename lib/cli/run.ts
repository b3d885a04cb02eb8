/** `run FILE -- COMMAND`: runs a command whose only network is the tunnel of a wg-quick file. */

import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkNamespace } from '../net/index.js';
import type { ParsedConfig, RouteOption } from '../wireguard/index.js';
import { type Command, type Context, oneLine, type Tunnel, UsageError } from './command.js';
import { readConfigFile } from './config-file.js';
import { resolvConf } from './dns.js';
import { hookNames } from './hooks.js';
import { stopSignal, unlessAborted } from './stop-signal.js';

/** The table of routes that is asked without a rule (linux/rtnetlink.h). */
const MAIN_TABLE = 254;
const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT'] as const;

/**
 * Files for the command's /etc: the tunnel's name servers, and a switch that asks them alone, since other services would
 * look names up outside.
 */
function writeEtc(directory: string, config: ParsedConfig): void {
  writeFileSync(join(directory, 'resolv.conf'), resolvConf(config));
  let services = '';
  try {
    services = readFileSync('/etc/nsswitch.conf', 'utf8');
  } catch {
    return; // without the file, files and DNS are asked
  }
  writeFileSync(
    join(directory, 'nsswitch.conf'),
    `${services.replace(/^\s*hosts:.*$/gm, '')}\nhosts: files dns\n`,
  );
}

/** Runs the command to its end; signals of this process are its. @returns its status, or the signal that ended it */
async function runInside(
  namespace: NetworkNamespace,
  [command, ...args]: readonly string[],
  etc: string,
  context: Context,
): Promise<number | NodeJS.Signals> {
  const child = namespace.spawn(command, args, {
    stdio: 'inherit',
    env: context.env,
    etc,
    parentDeathSignal: 'SIGKILL',
  });
  // Not child.kill(): after that, Deno says that the signal ended the command, though it took it.
  const forward = (signal: NodeJS.Signals): void => {
    const runs = child.exitCode === null && child.signalCode === null;
    if (runs && child.pid !== undefined) process.kill(child.pid, signal);
  };
  // A terminal sends Ctrl-C to the command as well.
  const interrupt = (): void => void (context.stdin.isTTY || forward('SIGINT'));
  process.on('SIGINT', interrupt);
  for (const signal of FORWARDED) process.on(signal, forward);
  try {
    const [status, signal] = await once(child, 'close');
    return signal ?? status;
  } finally {
    process.off('SIGINT', interrupt);
    for (const signal of FORWARDED) process.off(signal, forward);
  }
}

/** Opens the tunnel. A signal that comes before it is open ends the attempt, and what was done of it is undone. */
async function openUnlessStopped(open: (signal: AbortSignal) => Promise<Tunnel>): Promise<Tunnel> {
  using stop = stopSignal();
  return await unlessAborted(stop.signal, open);
}

export const run: Command = {
  usage: 'FILE -- COMMAND [ARGUMENT]...',
  summary:
    "Runs a command whose only network is the tunnel of a wg-quick file, with the file's name servers. Needs no root.",
  positionals: [2, Number.POSITIVE_INFINITY],
  async run(context, [argument, ...command]) {
    if (command[0] === '') throw new UsageError('which command?');
    const { name, config, warnings } = readConfigFile(argument);
    const warn = (line: string): void => void context.stderr.write(`Warning: ${line}\n`);
    for (const warning of warnings) warn(warning);
    const hooks = hookNames(config);
    if (hooks.length > 0)
      warn(`${hooks.join(', ')} of ${argument} do not run: there is no other network to guard`);
    if (config.dns.length === 0) warn(`${argument} names no DNS server: names can't be looked up`);
    const routes: RouteOption = config.routes === 'off' ? 'off' : MAIN_TABLE;
    let ended: number | NodeJS.Signals;
    const etc = mkdtempSync(join(tmpdir(), 'tuntap-run-'));
    try {
      writeEtc(etc, config);
      await using namespace = await NetworkNamespace.create();
      await (await namespace.link('lo')).set({ up: true });
      const options = { ...config, routes, namespace, control: false };
      const tunnel = await openUnlessStopped((signal) => context.openTunnel(name, { ...options, signal }));
      tunnel.on('error', (error) => warn(`${name}: ${oneLine(error)}`));
      try {
        ended = await runInside(namespace, command, etc, context);
      } finally {
        await tunnel.close();
      }
    } finally {
      rmSync(etc, { recursive: true });
    }
    if (typeof ended === 'number') return ended;
    // The caller sees what the command's own parent would have seen.
    process.kill(process.pid, ended);
    return 128 + constants.signals[ended];
  },
};

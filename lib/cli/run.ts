/** `run FILE -- COMMAND`: runs a command whose only network is the tunnel of a wg-quick file. */

import { readFileSync } from 'node:fs';
import type { ParsedConfig, RouteOption, WireGuardOptions } from '../wireguard/index.js';
import { type Command, type Context, deviceName, oneLine, UsageError, type Warn, warnTo } from './command.js';
import { readConfigFile } from './config-file.js';
import { resolvConf, setDns } from './dns.js';
import { CAP_NET_ADMIN, hasCapability } from './doctor-system.js';
import { hookNames } from './hooks.js';
import { type Ended, endAsCommand, type Foreground, runHere, runInside, withNetwork } from './inside.js';
import { unlessAborted } from './stop-signal.js';

/** The table of routes that is asked without a rule (linux/rtnetlink.h). */
const MAIN_TABLE = 254;

/** Opens the tunnel, and closes it once `use` has ended. */
async function withTunnel(
  context: Context,
  name: string,
  options: WireGuardOptions,
  warn: Warn,
  foreground: Foreground,
  use: () => Promise<Ended>,
): Promise<Ended> {
  const tunnel = await unlessAborted(foreground.signal, (signal) =>
    context.openTunnel(name, { ...options, signal }),
  );
  tunnel.on('error', (error) => warn(`${name}: ${oneLine(error)}`));
  try {
    return await use();
  } finally {
    await tunnel.close();
  }
}

/** Runs the command where the tunnel is the only network. */
function runBehind(
  name: string,
  config: ParsedConfig,
  command: readonly string[],
  context: Context,
  warn: Warn,
  foreground: Foreground,
): Promise<Ended> {
  const routes: RouteOption = config.routes === 'off' ? 'off' : MAIN_TABLE;
  const marks = !config.fwmark || hasCapability(readFileSync('/proc/self/status', 'latin1'), CAP_NET_ADMIN);
  if (!marks) warn('FwMark is left out: marking packets needs CAP_NET_ADMIN');
  return withNetwork((namespace) => {
    const options = { ...config, routes, namespace, control: false, ...(!marks && { fwmark: 0 }) };
    return withTunnel(context, name, options, warn, foreground, () =>
      runInside(namespace, resolvConf(config), command, context, foreground),
    );
  });
}

/** Runs the command in the machine's own network, to which the tunnel belongs meanwhile. */
function runBeside(
  name: string,
  config: ParsedConfig,
  command: readonly string[],
  context: Context,
  warn: Warn,
  foreground: Foreground,
): Promise<Ended> {
  return withTunnel(context, name, { ...config, control: true }, warn, foreground, async () => {
    const resetDns = await setDns(config, name, context.env, warn);
    try {
      return await runHere(command, context, foreground);
    } finally {
      await resetDns?.();
    }
  });
}

export const run: Command = {
  usage: 'FILE [--device NAME] -- COMMAND [ARGUMENT]...',
  summary:
    "Runs a command whose only network is the tunnel of a wg-quick file, with the file's name servers. Needs no root. With " +
    '--device, which does, the tunnel is a device of the machine until the command has ended, with its routes.',
  positionals: [2, Number.POSITIVE_INFINITY],
  options: { device: { type: 'string' } },
  async run(context, [argument, ...command], { device: asked }) {
    if (command[0] === '') throw new UsageError('which command?');
    const device = deviceName(asked);
    const { name, config, warnings } = readConfigFile(argument);
    const warn = warnTo(context);
    for (const warning of warnings) warn(warning);
    const hooks = hookNames(config);
    const here = device !== undefined;
    if (hooks.length > 0) {
      const why = here ? 'use the command up' : 'there is no other network to guard';
      warn(`${hooks.join(', ')} of ${argument} ${hooks.length === 1 ? 'does' : 'do'} not run: ${why}`);
    }
    if (!here && config.dns.length === 0) warn(`${argument} names no DNS server: names can't be looked up`);
    return endAsCommand(warn, (foreground) =>
      here
        ? runBeside(device, config, command, context, warn, foreground)
        : runBehind(name, config, command, context, warn, foreground),
    );
  },
};

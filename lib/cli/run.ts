/** `run FILE -- COMMAND`: runs a command whose only network is the tunnel of a wg-quick file. */

import { NetworkNamespace } from '../net/index.js';
import type { RouteOption } from '../wireguard/index.js';
import { type Command, oneLine, type Tunnel, UsageError } from './command.js';
import { readConfigFile } from './config-file.js';
import { resolvConf } from './dns.js';
import { hookNames } from './hooks.js';
import { endAs, runInside, withEtc } from './inside.js';
import { stopSignal, unlessAborted } from './stop-signal.js';

/** The table of routes that is asked without a rule (linux/rtnetlink.h). */
const MAIN_TABLE = 254;

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
    const ended = await withEtc(resolvConf(config), async (etc) => {
      await using namespace = await NetworkNamespace.create();
      await (await namespace.link('lo')).set({ up: true });
      const options = { ...config, routes, namespace, control: false };
      const tunnel = await openUnlessStopped((signal) => context.openTunnel(name, { ...options, signal }));
      tunnel.on('error', (error) => warn(`${name}: ${oneLine(error)}`));
      try {
        return await runInside(namespace, command, etc, context);
      } finally {
        await tunnel.close();
      }
    });
    return endAs(ended);
  },
};

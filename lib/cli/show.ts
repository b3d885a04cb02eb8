/** `show [NAME]`: as `wg show`, for interfaces that have a control socket. */

import { readdirSync, readFileSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { listDevices, readDevice } from '../wireguard/control-client.js';
import { type Command, type Context, oneLine } from './command.js';
import { formatDevice, type ShowStyle } from './show-format.js';

function style({ stdout, env }: Context): ShowStyle {
  const { WG_COLOR_MODE, WG_HIDE_KEYS } = env;
  return {
    hasColor: WG_COLOR_MODE === 'always' || (WG_COLOR_MODE !== 'never' && stdout.isTTY === true),
    showsKeys: WG_HIDE_KEYS === 'never',
    now: Date.now(),
    linkName,
  };
}

function linkName(index: number): string | undefined {
  const directory = '/sys/class/net';
  return readdirSync(directory).find((name) => {
    try {
      return Number(readFileSync(`${directory}/${name}/ifindex`, 'utf8')) === index;
    } catch {
      return false; // no link, or gone meanwhile
    }
  });
}

/** The text of an errno, as strerror(3). */
function reason(error: unknown): string {
  const { errno } = error as NodeJS.ErrnoException;
  const text = errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1];
  return text === undefined ? oneLine(error) : text[0].toUpperCase() + text.slice(1);
}

async function showAll(context: Context): Promise<number> {
  const { stdout, stderr } = context;
  const names = await listDevices();
  let shown = 0;
  for (const [i, name] of names.entries()) {
    try {
      const text = formatDevice(name, await readDevice(name), style(context));
      stdout.write(i < names.length - 1 ? `${text}\n` : text);
      shown++;
    } catch (error) {
      stderr.write(`Unable to access interface ${name}: ${reason(error)}\n`);
    }
  }
  return shown > 0 || names.length === 0 ? 0 : 1;
}

export const show: Command = {
  usage: '[NAME]',
  summary: 'Prints the state of an interface, or of all, as wg show does.',
  positionals: [0, 1],
  async run(context, [name]) {
    if (name === undefined) return showAll(context);
    try {
      context.stdout.write(formatDevice(name, await readDevice(name), style(context)));
      return 0;
    } catch (error) {
      context.stderr.write(`Unable to access interface: ${reason(error)}\n`);
      return 1;
    }
  },
};

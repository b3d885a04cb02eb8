/** The commands of `tuntap-native`. */

import type { Command } from './command.js';
import { doctor } from './doctor.js';
import { genkey, genpsk, pubkey } from './keys.js';
import { proxy } from './proxy.js';
import { run } from './run.js';
import { show } from './show.js';
import { up } from './up.js';

export const COMMANDS: ReadonlyMap<string, Command> = new Map(
  Object.entries({ up, run, proxy, show, genkey, pubkey, genpsk, doctor }),
);

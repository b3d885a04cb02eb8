#!/usr/bin/env node
import { openWireGuard } from '../wireguard/index.js';
import { endProgram, processContext, runCommands } from './command.js';
import { COMMANDS } from './commands.js';

endProgram(
  await runCommands('tuntap-native', COMMANDS, process.argv.slice(2), processContext(openWireGuard)),
);

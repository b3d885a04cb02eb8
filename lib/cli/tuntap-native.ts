#!/usr/bin/env node
import { openWireGuard } from '../wireguard/index.js';
import { processContext, runCommands } from './command.js';
import { COMMANDS } from './commands.js';

process.exitCode = await runCommands(
  'tuntap-native',
  COMMANDS,
  process.argv.slice(2),
  processContext(openWireGuard),
);

#!/usr/bin/env node
import { processContext, runCommands } from './command.js';
import { COMMANDS } from './commands.js';
import { openTunnel } from './engine.js';

process.exitCode = await runCommands(
  'tuntap-native',
  COMMANDS,
  process.argv.slice(2),
  processContext(openTunnel),
);

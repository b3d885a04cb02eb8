import { processContext, runCommands } from '#dist/cli/command.js';
import { COMMANDS } from '#dist/cli/commands.js';
import { openTunnel } from './fake-engine.ts';

process.exitCode = await runCommands(
  'tuntap-native',
  COMMANDS,
  process.argv.slice(2),
  processContext(openTunnel),
);

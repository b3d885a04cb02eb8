import { processContext } from '#dist/cli/command.js';
import { runDaemon } from '#dist/cli/daemon.js';
import { openTunnel } from './fake-engine.ts';

process.exitCode = await runDaemon(process.argv.slice(2), processContext(openTunnel));

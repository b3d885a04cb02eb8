#!/usr/bin/env node
import { processContext } from './command.js';
import { runDaemon } from './daemon.js';
import { openTunnel } from './engine.js';

process.exitCode = await runDaemon(process.argv.slice(2), processContext(openTunnel));

#!/usr/bin/env node
import { openWireGuard } from '../wireguard/index.js';
import { processContext } from './command.js';
import { runDaemon } from './daemon.js';

process.exitCode = await runDaemon(process.argv.slice(2), processContext(openWireGuard));

/**
 * A VPN: `node out/examples/vpn/main.js server|client CONFIG.json`, and `… key NAME` makes a line of a key file.
 * SIGINT and SIGTERM end it. docs/vpn.md explains it from the beginning.
 */

import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runClient } from './client.ts';
import { KEY_LENGTH } from './noise.ts';
import { runServer } from './server.ts';

// A packet now and then runs code that was not called often enough to be optimized, and the interpreter is slow with it:
// a lone ping takes a third less time where functions are compiled at their first call.
setFlagsFromString('--always-sparkplug');

const [command, argument] = process.argv.slice(2);
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

try {
  if (command === 'key' && argument) console.log(`${argument} ${randomBytes(KEY_LENGTH).toString('base64')}`);
  else if (command === 'client' && argument) await runClient(argument, stopping.signal);
  else if (command === 'server' && argument) await runServer(argument, stopping.signal);
  else throw new Error('Usage: main.js server CONFIG.json | client CONFIG.json | key NAME');
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

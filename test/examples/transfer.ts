/** Bytes by TCP from one namespace to another, by two Node.js programs. */

import { once } from 'node:events';
import type { NetworkNamespace } from 'tuntap-native';
import { run } from '../support.ts';

const PORT = 9000;
const BYTES = 3_000_000;
const RECEIVE = `
  const hash = require('node:crypto').createHash('sha256');
  const server = require('node:net').createServer((socket) => {
    socket.on('data', (data) => hash.update(data)).on('end', () => console.log(hash.digest('hex')));
    socket.on('close', () => server.close());
  });
  server.listen(${PORT}, () => console.log('listening'));`;
const SEND = `
  const data = require('node:crypto').randomBytes(${BYTES});
  console.log(require('node:crypto').createHash('sha256').update(data).digest('hex'));
  require('node:net').connect(${PORT}, process.argv[1]).end(data);`;

export interface Receiver {
  readonly address: string;
  readonly namespace: NetworkNamespace;
}

/** Returns the digests of what was sent and of what arrived. */
export async function transfer(
  from: NetworkNamespace,
  to: Receiver,
): Promise<[sent: string, arrived: string]> {
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  const server = to.namespace.spawn(process.execPath, ['-e', RECEIVE], {
    stdio: [...stdio],
    timeout: 10_000,
  });
  let printed = '';
  server.stdout?.on('data', (data) => {
    printed += data;
  });
  const closed = once(server, 'close');
  while (!printed.includes('listening')) await once(server.stdout as NodeJS.EventEmitter, 'data');
  const { stdout } = await run(from, process.execPath, '-e', SEND, to.address);
  await closed;
  return [stdout.trim(), printed.replace('listening', '').trim()];
}

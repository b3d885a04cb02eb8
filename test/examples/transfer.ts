/** Bytes by TCP from one namespace to another, by two programs. */

import { once } from 'node:events';
import type { NetworkNamespace } from 'tuntap-native';
import { moduleArguments, run } from '../support.ts';

const PORT = 9000;
const BYTES = 3_000_000;
const RECEIVE = `
  import { createHash } from 'node:crypto';
  import { createServer } from 'node:net';
  const hash = createHash('sha256');
  const server = createServer((socket) => {
    socket.on('data', (data) => hash.update(data)).on('end', () => console.log(hash.digest('hex')));
    socket.on('close', () => server.close());
  });
  server.listen(${PORT}, () => console.log('listening'));`;
const send = (address: string): string => `
  import { createHash, randomBytes } from 'node:crypto';
  import { connect } from 'node:net';
  const data = randomBytes(${BYTES});
  console.log(createHash('sha256').update(data).digest('hex'));
  connect(${PORT}, '${address}').end(data);`;

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
  const server = to.namespace.spawn(process.execPath, moduleArguments(RECEIVE), {
    stdio: [...stdio],
    timeout: 10_000,
  });
  let printed = '';
  server.stdout?.on('data', (data) => {
    printed += data;
  });
  const closed = once(server, 'close');
  while (!printed.includes('listening')) await once(server.stdout as NodeJS.EventEmitter, 'data');
  const { stdout } = await run(from, process.execPath, ...moduleArguments(send(to.address)));
  await closed;
  return [stdout.trim(), printed.replace('listening', '').trim()];
}

/** What the programs of this folder measure connections with: many of them at once, each read to its end. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { NetworkNamespace } from 'tuntap-native/net';
import { program, run } from './measure.ts';

export const PORT = '7000';

/** The arguments of `sh` that run a command which may open as many files as the system allows. */
export const manyFiles = (...command: readonly string[]): string[] => [
  '-c',
  'ulimit -n 1000000 2>/dev/null || ulimit -n $(ulimit -Hn); exec "$@"',
  'sh',
  ...command,
];

/** A server of {@link churn} that listens: it ends each connection with a byte. */
export async function churnServer(namespace: NetworkNamespace, host: string): Promise<ChildProcess> {
  const source = `require('node:net').createServer((s) => s.end('x').on('error', () => {}))
    .listen({ host: '${host}', port: ${PORT}, backlog: 1024 }, () => console.log('ready'))`;
  const server = namespace.spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout as NodeJS.EventEmitter, 'data');
  return server;
}

/** How many connections a second, with 64 at once. */
export async function churn(namespace: NetworkNamespace, host: string, seconds: string): Promise<number> {
  const client = [program('intercept-client'), 'churn', host, PORT, seconds, '64'];
  return Number(await run(namespace, process.execPath, ...client));
}

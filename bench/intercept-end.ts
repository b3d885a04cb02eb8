/**
 * The program that bench/intercept.ts measures: intercept-end.js NAMESPACE NAME js|relay|connect|accept|answer MTU. It intercepts
 * the device, and connects to where the clients want, inside the namespace that it runs in. `accept` and `answer` connect nowhere;
 * `answer` ends each connection with a byte.
 */

import { openTun } from 'tuntap-native';
import { type InterceptedConnection, intercept } from 'tuntap-native/intercept';

const [namespace = '', name = '', how, mtu = '1500'] = process.argv.slice(2);
const tun = openTun(name, {
  namespace,
  offload: 'raw',
  addresses: ['192.0.2.1/24'],
  mtu: Number(mtu),
  txQueueLength: 1000,
  up: true,
});
const interceptor = await intercept(tun, { maxPending: 65_536 });

async function serve(connection: InterceptedConnection): Promise<void> {
  const { address, port } = connection.destination;
  if (how === 'accept') {
    const socket = await connection.accept();
    socket.on('error', () => {});
    return;
  }
  if (how === 'answer') {
    (await connection.accept()).on('error', () => {}).end('x');
    return;
  }
  if (how === 'connect') {
    await connection.relayTo();
    return;
  }
  const upstream = await interceptor.connect({ host: address, port });
  if (how === 'relay') {
    await connection.relay(upstream);
    return;
  }
  const socket = await connection.accept();
  for (const end of [socket, upstream]) end.on('error', () => {});
  socket.pipe(upstream).pipe(socket);
}

interceptor.on('connection', (connection) => {
  serve(connection).catch((error) => connection.refuse(error));
});
console.log('ready');
process.on('message', () =>
  process.send?.({ rss: process.memoryUsage().rss, open: interceptor.counters.open }),
);

/**
 * Whether all bytes of intercepted connections arrive: `node out/bench/intercept-transfer.js`.
 *
 * A client sends to a server through `relayTo()`, while the server sends as much to the client: over IPv4, and over IPv6. Each
 * side ends its own direction. Both compare SHA-256 with what the other one sent, and tcpdump looks for wrong checksums on
 * the device, which has no offloads, so that each packet must have one. Ends with status 1 where something differs.
 * Options: --megabytes=N (1000) each way.
 */

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { openTun } from 'tuntap-native';
import { intercept } from 'tuntap-native/intercept';
import { option, pathOf } from './measure.ts';
import { Trial } from './trial.ts';

const MEGABYTES = Number(option('megabytes', '1000'));
const PORT = 7000;
const SERVERS = ['192.0.2.2', '2001:db8:2::2'];

interface Told {
  readonly sent: string;
  readonly received: string;
}

async function send(socket: Socket): Promise<string> {
  const hash = createHash('sha256');
  const chunk = randomBytes(1_000_000);
  for (let i = 0; i < MEGABYTES; i++) {
    const bytes = Buffer.from(chunk);
    bytes.writeUInt32LE(i);
    hash.update(bytes);
    if (!socket.write(bytes)) await once(socket, 'drain');
  }
  socket.end();
  return hash.digest('hex');
}

async function receive(socket: Socket): Promise<string> {
  const hash = createHash('sha256');
  socket.on('data', (bytes) => hash.update(bytes));
  await once(socket, 'end');
  return hash.digest('hex');
}

async function exchange(socket: Socket): Promise<void> {
  const [sent, received] = await Promise.all([send(socket), receive(socket)]);
  process.send?.({ sent, received } satisfies Told);
}

async function interceptor(path: string): Promise<void> {
  const tun = openTun('tun0', {
    namespace: path,
    offload: false,
    addresses: ['198.51.100.1/24', '2001:db8:1::1/64'],
    up: true,
  });
  const opened = await intercept(tun);
  opened.on('connection', (connection) => {
    connection.relayTo().catch((error) => connection.refuse(error));
  });
}

async function main(): Promise<void> {
  await Trial.run(2, async (trial, [client, host]) => {
    const lo = await host.link('lo');
    await lo.set({ up: true });
    for (const [i, address] of SERVERS.entries()) await lo.addAddress(`${address}/${i === 0 ? 32 : 128}`);
    const program = fileURLToPath(import.meta.url);
    const args = (...more: string[]) => [program, ...more, `--megabytes=${MEGABYTES}`];
    const streams = ['ignore', 'inherit', 'ipc'] as const;
    const server = trial.start(host, args('server'), streams);
    await once(server, 'message');
    await once(trial.start(host, args('interceptor', pathOf(client)), streams), 'message');
    await client.addRoute({ destination: '0.0.0.0/0', device: 'tun0' });
    await client.addRoute({ destination: '::/0', device: 'tun0' });
    const options = ['-i', 'tun0', '-B', '262144', '-s', '65535', '-n', '-v', '-l', 'tcp'];
    const tcpdump = client.spawn('tcpdump', options, { stdio: ['ignore', 'pipe', 'pipe'] });
    let [packets, wrong, last] = [0, 0, ''];
    tcpdump.stdout?.setEncoding('latin1').on('data', (text: string) => {
      const lines = (last + text).split('\n');
      last = lines.pop() ?? '';
      for (const line of lines) {
        if (/ cksum 0x/.test(line)) packets++;
        if (/ \(incorrect /.test(line)) wrong++;
      }
    });
    const ended = once(tcpdump, 'close');
    await once(tcpdump.stderr as NodeJS.EventEmitter, 'data');
    for (const address of SERVERS) {
      const began = performance.now();
      const told = once(server, 'message');
      const [ours] = (await once(trial.start(client, args('client', address), streams), 'message')) as [Told];
      const [theirs] = (await told) as [Told];
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      const same = ours.sent === theirs.received && theirs.sent === ours.received;
      trial.hold(same, `${address}: ${MEGABYTES} MB each way have the same SHA-256, in ${seconds} s`);
    }
    tcpdump.kill('SIGINT');
    await ended;
    trial.hold(packets > 0 && wrong === 0, `tcpdump saw ${packets} packets, and ${wrong} wrong checksums`);
  });
}

const [what, address = ''] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
if (what === 'server') {
  createServer({ allowHalfOpen: true }, exchange).listen(PORT, '::', () => process.send?.('listens'));
} else if (what === 'client') {
  const socket = connect({ host: address, port: PORT, allowHalfOpen: true });
  await once(socket, 'connect');
  await exchange(socket);
  process.disconnect();
} else if (what === 'interceptor') {
  await interceptor(address);
  process.send?.('intercepts');
} else await main();

/**
 * WireGuard at work: two hosts joined by a wire, a tunnel between them, and somebody who listens to the wire. Pings
 * through the tunnel, fetches a file by HTTP through it, shows what the wire carried, and measures. Where wireguard-go is
 * installed, it is the server's end of the tunnel, and afterwards a tunnel with this package at both ends is measured too.
 *
 * Run by `npm run demo`. Needs root, or a user who may open /dev/net/tun and make a user namespace. Everything happens
 * in network namespaces of its own, which are gone afterwards.
 */

import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native';
import { formatConfig, generatePrivateKey, publicKey, type WireGuardConfig } from 'tuntap-native/wireguard';
import type { Transfer } from './demo/file-transfer.ts';
import { CLIENT, createHosts, type Hosts, SERVER } from './demo/hosts.ts';
import { hexdump, WireTap } from './demo/wire-tap.ts';
import { configure, hasWireGuardGo, wireGuardGo } from './demo/wireguard-go.ts';

const TUNNEL = fileURLToPath(new URL('./demo/tunnel.js', import.meta.url));
const TRANSFER = fileURLToPath(new URL('./demo/file-transfer.js', import.meta.url));
const SECRET = 'The cat sleeps in the sun. Nobody on the wire may know. ';
const PINGS = 5;
const PORT = 51820;
const MTU = 1420;
const started = performance.now();
const children = new Set<ChildProcess>();
let failures = 0;

function say(text: string): void {
  console.log(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${text}`);
}

/** What a step shows; a step that does not hold fails the demo. */
function check(holds: boolean, text: string): void {
  say(`  ${holds ? 'ok' : 'FAILED'}  ${text}`);
  if (!holds) failures++;
}

function start(namespace: NetworkNamespace, command: string, ...args: readonly string[]): ChildProcess {
  const child = namespace.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  child.once('close', () => children.delete(child));
  return child;
}

async function output(
  namespace: NetworkNamespace,
  command: string,
  ...args: readonly string[]
): Promise<string> {
  const child = start(namespace, command, ...args);
  let text = '';
  child.stdout?.on('data', (data) => {
    text += data;
  });
  await once(child, 'close');
  return text;
}

/** Starts a program that goes on; resolves once it has printed a line like `pattern`. */
function service(
  namespace: NetworkNamespace,
  label: string,
  pattern: RegExp,
  args: readonly string[],
): Promise<ChildProcess> {
  const child = start(namespace, process.execPath, ...args);
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      say(`  ${label}: ${line}`);
      if (pattern.test(line)) resolve(child);
    });
    child.once('close', (status) => reject(new Error(`The ${label} ended with status ${status}`)));
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (!children.has(child)) return;
  child.kill();
  await once(child, 'close');
}

async function fetch(namespace: NetworkNamespace, url: string): Promise<Transfer> {
  return JSON.parse(await output(namespace, process.execPath, TRANSFER, 'get', url)) as Transfer;
}

const has = (program: string, option: string): boolean => spawnSync(program, [option]).status === 0;
const hasPing = has('ping', '-V');
const hasIperf = has('iperf3', '--version');

/** Round-trip times in ms: ping's, or where there is none those of TCP connections. */
async function roundTrips(namespace: NetworkNamespace, address: string): Promise<number[]> {
  const text = hasPing
    ? await output(namespace, 'ping', '-n', '-c', `${PINGS}`, '-i', '0.2', '-W', '2', address)
    : await output(namespace, process.execPath, TRANSFER, 'connect', address, `${PINGS}`);
  return [...text.matchAll(/time=([\d.]+)/g)].map(([, time]) => Number(time));
}

/** Opens the tunnel; the client reaches out to the server. Resolves to both programs once they know each other. */
async function openTunnel(
  { server, client }: Hosts,
  folder: string,
  serverProgram: 'tuntap-native' | 'wireguard-go',
): Promise<readonly ChildProcess[]> {
  const [serverKey, clientKey] = [generatePrivateKey(), generatePrivateKey()];
  const configurationOfServer = {
    privateKey: serverKey,
    listenPort: PORT,
    addresses: [`${SERVER.tunnel}/24`],
    peers: [{ publicKey: publicKey(clientKey), allowedIps: [`${CLIENT.tunnel}/32`] }],
  };
  const endpoint = `${SERVER.wire}:${PORT}`;
  const configurationOfClient = {
    privateKey: clientKey,
    addresses: [`${CLIENT.tunnel}/24`],
    peers: [
      { publicKey: publicKey(serverKey), endpoint, allowedIps: ['10.9.0.0/24'], persistentKeepalive: 25 },
    ],
  };
  const write = (name: string, configuration: WireGuardConfig): string => {
    const path = join(folder, name);
    writeFileSync(path, formatConfig(configuration), { mode: 0o600 });
    return path;
  };
  let other: ChildProcess;
  if (serverProgram === 'wireguard-go') {
    const name = `demo${process.pid}`;
    other = start(server, ...wireGuardGo(name));
    await configure(server, name, MTU, configurationOfServer);
  } else {
    const path = write('server.conf', configurationOfServer);
    other = await service(server, 'server', /listens/, [TUNNEL, path]);
  }
  const path = write('client.conf', configurationOfClient);
  return [other, await service(client, 'client', /^handshake/, [TUNNEL, path])];
}

async function throughput(server: NetworkNamespace, client: NetworkNamespace): Promise<string> {
  if (!hasIperf) {
    const { bytes, seconds } = await fetch(client, `http://${SERVER.tunnel}:8080/file`);
    return `${((8 * bytes) / seconds / 1e9).toFixed(2)} Gbit/s, of the file once more: there is no iperf3 here`;
  }
  const iperf = start(server, 'iperf3', '-s', '-1', '--forceflush');
  await once(iperf.stdout as NodeJS.ReadableStream, 'data');
  iperf.stdout?.resume();
  const report = JSON.parse(await output(client, 'iperf3', '-J', '-c', SERVER.tunnel, '-t', '2')) as {
    end: { sum_received: { bits_per_second: number } };
  };
  await stop(iperf); // the next one takes its port
  return `${(report.end.sum_received.bits_per_second / 1e9).toFixed(2)} Gbit/s, measured by iperf3`;
}

async function demo(folder: string): Promise<void> {
  say(`two hosts, ${SERVER.wire} and ${CLIENT.wire}, and a wire`);
  await using hosts = await createHosts();
  const { server, client, listener } = hosts;
  const wire = new WireTap(SECRET);
  const listening = wire.listen(listener);
  await service(server, 'web server', /^serving/, [TRANSFER, 'serve', SECRET.repeat(20)]);

  say('a text by HTTP, without a tunnel');
  await fetch(client, `http://${SERVER.wire}:8080/text`);
  check(
    wire.readable > 0,
    `the wire tells it to who listens: ${wire.readable} of ${wire.frames} frames hold it`,
  );
  wire.clear();

  const programs = hasWireGuardGo()
    ? (['wireguard-go', 'tuntap-native'] as const)
    : (['tuntap-native'] as const);
  const rates = new Map<string, string>();
  for (const program of programs) {
    say(`a tunnel: the client is tuntap-native, the server ${program}`);
    const ends = await openTunnel(hosts, folder, program);
    if (program === programs[0]) {
      await show(server, client, wire);
      // From here on nobody listens, which would cost throughput.
      await listener.close();
      await listening;
    }
    say('throughput');
    const rate = await throughput(server, client);
    rates.set(`tuntap-native to ${program}`, rate);
    check(true, rate);
    await Promise.all(ends.map(stop));
    const links = [...(await server.links()), ...(await client.links())];
    check(
      links.every(({ kind }) => kind !== 'tun'),
      'the tunnel is closed, and its interfaces are gone',
    );
  }
  for (const child of children) await stop(child);

  console.log('\nsummary');
  for (const [ends, rate] of rates) console.log(`  ${ends.padEnd(30)} ${rate}`);
}

/** Ping, a text and a file through the tunnel, and what the wire shows of it. */
async function show(server: NetworkNamespace, client: NetworkNamespace, wire: WireTap): Promise<void> {
  say(hasPing ? 'ping through the tunnel' : 'TCP connections through the tunnel: there is no ping here');
  const times = await roundTrips(client, SERVER.tunnel);
  const median = [...times].sort((a, b) => a - b)[times.length >> 1];
  check(times.length === PINGS, `${times.length} of ${PINGS} answered, ${median} ms`);

  say('the same text by HTTP, through the tunnel');
  wire.clear();
  const text = await fetch(client, `http://${SERVER.tunnel}:8080/text`);
  check(text.sha256 === text.expected, `${text.bytes} bytes, sha256 ${text.sha256.slice(0, 16)}…`);
  check(wire.frames > 0 && wire.readable === 0, `none of ${wire.frames} frames on the wire holds it`);
  console.log(`\n         what the client got\n${indent(hexdump(Buffer.from(SECRET.repeat(20)), 4))}`);
  console.log(
    `\n         what the wire carried: a header of 16 bytes, and ciphertext\n${indent(hexdump(wire.longest, 5))}\n`,
  );

  say('a file of 64 MB by HTTP, through the tunnel');
  wire.clear();
  const file = await fetch(client, `http://${SERVER.tunnel}:8080/file`);
  check(
    file.sha256 === file.expected && file.bytes > 0,
    `${(file.bytes / 2 ** 20).toFixed(0)} MB in ${file.seconds.toFixed(2)} s, sha256 ${file.sha256.slice(0, 16)}… is the server's`,
  );
  check(wire.readable === 0, `the listener got ${wire.frames} frames, and understood none`);
  const links = (await server.links()).map(({ name, mtu }) => `${name} (mtu ${mtu})`);
  say(`  links of the server: ${links.join(', ')}`);
}

const indent = (text: string): string => text.replace(/^/gm, '         ');

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-demo-'));
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => reject(new Error(signal)));
  });
  try {
    await Promise.race([demo(folder), interrupted]);
  } catch (error) {
    console.error(`The demo failed: ${(error as Error).message}`);
    failures++;
  } finally {
    for (const child of children) await stop(child);
    rmSync(folder, { recursive: true });
  }
  if (failures > 0) process.exitCode = 1;
  else console.log('Everything held, and nothing is left behind.');
}

await main();

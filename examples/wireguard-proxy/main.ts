/**
 * A WireGuard client without root: a local SOCKS5 and HTTP proxy whose connections leave by the tunnel of a wg-quick file.
 *
 *   node out/examples/wireguard-proxy/main.js home.conf [--listen 127.0.0.1:1080]
 *   curl --proxy socks5h://127.0.0.1:1080 https://example.org/
 *
 * The tunnel is in a network namespace of its own, and so are the sockets of the proxy's connections; the kernel inside
 * does TCP. Names are looked up inside, by the name servers of the file. Your user must be allowed to open /dev/net/tun and
 * to make a user namespace. SIGINT and SIGTERM end it.
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { basename } from 'node:path';
import { pipeline } from 'node:stream';
import { parseArgs } from 'node:util';
import { NetworkNamespace } from 'tuntap-native';
import { openWireGuard, parseConfig } from 'tuntap-native/wireguard';
import { httpProxy } from './http-proxy.ts';
import { type Connect, readable, serveSocks } from './socks.ts';

/** The table of routes that is asked without a rule. */
const MAIN_TABLE = 254;
const CONNECT_TIMEOUT_MS = 30_000;
const SOCKS5 = 5;

/** Ends with one line. */
function fail(status: number, error: unknown): never {
  console.error((error as Error).message.replaceAll('\n', ' '));
  if (status === 2) console.error('usage: main.js FILE [--listen ADDRESS:PORT]');
  process.exit(status);
}

function readArguments(): { readonly file: string; readonly address: string; readonly port: number } {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { listen: { type: 'string', default: '127.0.0.1:1080' } },
  });
  const [file] = positionals;
  if (positionals.length !== 1) throw new Error('which file?');
  // Without an address the proxy would be everybody's.
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(values.listen) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > 65_535)
    throw new Error(`--listen ${values.listen}: no address and port`);
  return { file, address: bracketed ?? plain, port };
}

let given: ReturnType<typeof readArguments>;
try {
  given = readArguments();
} catch (error) {
  fail(2, error);
}
const { file, address, port } = given;

let config: ReturnType<typeof parseConfig>;
try {
  config = parseConfig(readFileSync(file, 'utf8'));
} catch (error) {
  fail(1, error);
}
const { dns } = config;
const namespace = await NetworkNamespace.create();
await (await namespace.link('lo')).set({ up: true });
const tunnel = await openWireGuard(basename(file, '.conf'), {
  ...config,
  namespace,
  routes: MAIN_TABLE,
  control: false,
});
tunnel.on('handshake', ({ endpoint }) => console.log(`handshake with ${endpoint}`));
tunnel.on('error', (error) => console.error(error.message));

const connect: Connect = (host, port) =>
  namespace.connect({ host, port, timeout: CONNECT_TIMEOUT_MS, ...(dns.length > 0 && { servers: dns }) });
const http = httpProxy(connect);
const clients = new Set<Socket>();

async function serve(client: Socket): Promise<void> {
  clients.add(client);
  client.on('close', () => clients.delete(client));
  client.on('error', () => {});
  client.pause();
  await readable(client);
  const first = client.read(1) as Buffer | null;
  if (first === null) return;
  client.unshift(first);
  if (first[0] !== SOCKS5) {
    http.emit('connection', client);
    return;
  }
  const connection = await serveSocks(client, connect);
  if (connection) pipeline(client, connection, client, () => {});
}

const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (client) => {
  serve(client).catch(() => client.destroy());
});
await once(server.listen(port, address), 'listening').catch((error) => fail(1, error));
const { port: bound } = server.address() as AddressInfo;
console.log(`SOCKS5 and HTTP proxy on ${address.includes(':') ? `[${address}]` : address}:${bound}`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    server.close();
    for (const client of clients) client.destroy();
    await tunnel.close();
    await namespace.close();
  });
}

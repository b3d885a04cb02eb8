/** `proxy --to URL -- COMMAND`: runs a command all of whose traffic goes through a proxy. */

import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, isIP } from 'node:net';
import { openTun, type TunDevice } from '../index.js';
import { type InterceptedConnection, type Interceptor, intercept } from '../intercept/index.js';
import { type ProxyServer, parseProxy } from '../intercept/proxy.js';
import { relayFlow } from '../intercept/socks-association.js';
import {
  argument,
  type Command,
  type Context,
  deviceName,
  oneLine,
  UsageError,
  type Warn,
  warnTo,
} from './command.js';
import { type Ended, endAsCommand, type Foreground, runHere, runInside, withNetwork } from './inside.js';
import { isInterruption, stopSignal } from './stop-signal.js';

const DEVICE = 'tun0';
/** Both ends are on this machine, so packets may be as large as can be. */
const MTU = 65_520;
/** Documentation addresses of RFC 5737, and a unique local one: nobody is reached by them. */
const ADDRESS = '198.51.100.1/30';
const ADDRESS6 = 'fd74:6e74:6e61:7401::1/64';
/** Questions for names are answered whoever they are sent to; this is an address of nobody. */
const NAME_SERVER = '198.51.100.2';
/** The kernel, or each new namespace, has no IPv6: the command has none, either. */
const NO_IPV6 = ['EACCES', 'EAFNOSUPPORT', 'ENOTSUP', 'EOPNOTSUPP'];
/** How long the addresses of a proxy's name have to answer. */
const ANSWER_MS = 5000;
const MAX_FLOWS = 65_536;
/** So flows can take half of the fds. */
const FLOWS_PER_FD = 4;

/** A proxy's URL. */
interface ProxyUrl {
  /** What the user calls it. */
  readonly name: string;
  readonly url: string;
  readonly server: ProxyServer;
}

/** @throws UsageError if it is no URL of a proxy */
function parseUrl(name: string, url: string): ProxyUrl {
  return { name, url, server: argument(() => parseProxy(name, url)) };
}

/** The URL of an argument, or of a file. */
function readUrl({ to, 'to-file': file }: Readonly<Record<string, unknown>>): ProxyUrl {
  if (to !== undefined && file !== undefined) throw new UsageError('--to or --to-file, not both');
  if (typeof file === 'string')
    return parseUrl(`first line of ${file}`, readFileSync(file, 'utf8').split('\n', 1)[0].trim());
  if (typeof to === 'string') return parseUrl('--to', to);
  throw new UsageError('which proxy? --to or --to-file is missing');
}

/** The same with the proxy's address instead of its name, which is looked up once. */
async function resolved(proxy: ProxyUrl): Promise<ProxyUrl> {
  const { host, port } = proxy.server;
  if (isIP(host) !== 0) return proxy;
  const found = await lookup(host, { all: true });
  const address = (found.length > 1 && (await answering(host, port))) || found[0].address;
  const url = new URL(proxy.url);
  url.hostname = isIP(address) === 6 ? `[${address}]` : address;
  return parseUrl(proxy.name, url.href);
}

/** The address of a host at which somebody listens; undefined if none answers soon. */
async function answering(host: string, port: number): Promise<string | undefined> {
  const socket = connect({ host, port, autoSelectFamily: true });
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(ANSWER_MS) });
    return socket.remoteAddress;
  } catch {
    return undefined;
  } finally {
    socket.on('error', () => {}).destroy();
  }
}

/** How many UDP flows there may be: each takes two fds, and connections need some, too. */
function flowLimit(): number {
  const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return Math.max(1, Math.min(Math.floor(Number(soft ?? MAX_FLOWS) / FLOWS_PER_FD), MAX_FLOWS));
}

/** Sends all that comes from the device through the proxy. */
async function interceptAll(
  tun: TunDevice,
  { url: via, server }: ProxyUrl,
  warn: Warn,
): Promise<Interceptor> {
  const interceptor = await intercept(tun, { names: true, maxFlows: flowLimit() });
  const told = new Set<string>();
  const failed = (error: NodeJS.ErrnoException): void => {
    // That the proxy does not reach a host, or may not, is the command's matter.
    if (!('address' in error) && !('proxy' in error)) return;
    const { code = '' } = error;
    if (!told.has(code)) warn(oneLine(error));
    told.add(code);
  };
  interceptor.on('connection', (connection) => {
    if (connection.destination.address === NAME_SERVER) connection.refuse();
    else passOn(connection, via, failed);
  });
  interceptor.on('flow', (flow) => relayFlow(flow, server, failed));
  interceptor.on('error', (error) => warn(oneLine(error)));
  return interceptor;
}

async function passOn(
  connection: InterceptedConnection,
  via: string,
  failed: (error: NodeJS.ErrnoException) => void,
): Promise<void> {
  try {
    await connection.relayTo({ via });
  } catch (error) {
    if (connection.state !== 'pending') return;
    connection.refuse(error as Error);
    failed(error as NodeJS.ErrnoException);
  }
}

/** Runs the command in a namespace whose only network is the proxy. */
function runBehind(
  proxy: ProxyUrl,
  command: readonly string[],
  context: Context,
  warn: Warn,
  foreground: Foreground,
): Promise<Ended> {
  return withNetwork(async (namespace) => {
    await using tun = openTun(DEVICE, {
      namespace,
      addresses: [ADDRESS],
      mtu: MTU,
      offload: 'raw',
      up: true,
    });
    await namespace.addRoute({ destination: '0.0.0.0/0', device: DEVICE });
    try {
      await (await namespace.link(DEVICE)).addAddress(ADDRESS6);
      await namespace.addRoute({ destination: '::/0', device: DEVICE });
    } catch (error) {
      if (!NO_IPV6.includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
    await using _interceptor = await interceptAll(tun, proxy, warn);
    return await runInside(namespace, `nameserver ${NAME_SERVER}\n`, command, context, foreground);
  });
}

/** Serves a device of the host until `use` has ended. */
async function withDevice<T>(
  device: string,
  proxy: ProxyUrl,
  warn: Warn,
  use: (tun: TunDevice) => Promise<T>,
): Promise<T> {
  await using tun = openTun(device, { offload: 'raw', up: true });
  await using _interceptor = await interceptAll(tun, proxy, warn);
  return await use(tun);
}

/** Serves a device of the host until a signal comes. */
async function serveDevice(device: string, proxy: ProxyUrl, context: Context, warn: Warn): Promise<number> {
  using stop = stopSignal();
  try {
    await withDevice(device, proxy, warn, async ({ name }) => {
      stop.signal.throwIfAborted();
      context.stdout.write(`${name} is up: what is routed to it goes through the proxy\n`);
      await stop.received;
    });
  } catch (error) {
    if (!isInterruption(stop.signal, error)) throw error;
  }
  return 0;
}

export const proxy: Command = {
  usage:
    '--to URL -- COMMAND [ARGUMENT]... | --to URL --device NAME [-- COMMAND [ARGUMENT]...] | --to-file FILE …',
  summary:
    'Runs a command all of whose traffic goes through the proxy of a URL such as socks5://USER:PASSWORD@HOST:PORT or ' +
    'http://HOST:PORT. Needs no root. With --device, which does, what is routed to that TUN device of the host goes ' +
    'through the proxy instead. With --to-file the URL is the first line of a file: others can see arguments, and so a password.',
  positionals: [0, Number.POSITIVE_INFINITY],
  options: { to: { type: 'string' }, 'to-file': { type: 'string' }, device: { type: 'string' } },
  async run(context, command, { device: asked, ...urls }) {
    const url = readUrl(urls);
    const device = deviceName(asked);
    const warn = warnTo(context);
    const serves = device !== undefined && command.length === 0;
    if (!serves && !command[0]) throw new UsageError('which command?');
    // There is nothing to undo yet: a signal ends this process at once, which could not end the lookup.
    const proxy = await resolved(url);
    if (serves) return serveDevice(device, proxy, context, warn);
    return endAsCommand(warn, async (foreground) =>
      device !== undefined
        ? withDevice(device, proxy, warn, () => runHere(command, context, foreground))
        : runBehind(proxy, command, context, warn, foreground),
    );
  },
};

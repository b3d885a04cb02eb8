/** A namespace whose only network is a TUN device that an interceptor reads. */

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { NetworkNamespace, openTun, type TunDevice, type TunOptions } from 'tuntap-native';
import {
  type InterceptedConnection,
  type InterceptOptions,
  type Interceptor,
  intercept,
} from 'tuntap-native/intercept';
import type { NamespaceConnectOptions } from 'tuntap-native/net';

const IPV6_MIN_MTU = 1280;

export interface Intercepted {
  readonly namespace: NetworkNamespace;
  readonly tun: TunDevice;
  readonly interceptor: Interceptor;
}

export interface InterceptedOptions extends InterceptOptions {
  readonly tun?: TunOptions;
  /** Of the client's namespace, which stays then. */
  readonly name?: string;
  /** Whether the client's namespace belongs to a user namespace. */
  readonly user?: boolean;
}

/** The client is 192.0.2.1 and 2001:db8::1; everything else lies behind the device. */
export async function withIntercepted<T>(
  options: InterceptedOptions,
  body: (intercepted: Intercepted) => Promise<T>,
): Promise<T> {
  const { tun: tunOptions, name, user, ...interceptOptions } = options;
  await using namespace = await NetworkNamespace.create(name, { user });
  await using tun = openTun('tun0', {
    offload: 'raw',
    ...tunOptions,
    namespace,
    addresses: ['192.0.2.1/24'],
    up: true,
  });
  await namespace.addRoute({ destination: '0.0.0.0/0', device: 'tun0' });
  if (tun.mtu >= IPV6_MIN_MTU) {
    await (await tun.link()).addAddress('2001:db8::1/64', { noDad: true });
    await namespace.addRoute({ destination: '::/0', device: 'tun0' });
    // Until then the kernel drops what comes for the address.
    const local = { family: 6, table: 'local', destination: '2001:db8::1/128' } as const;
    while ((await namespace.routes(local)).length === 0);
  }
  await using interceptor = await intercept(tun, interceptOptions);
  return await body({ namespace, tun, interceptor });
}

/** Begins to connect, and returns the connection that the interceptor sees. */
export async function connectionOf(
  { namespace, interceptor }: Intercepted,
  options: Partial<NamespaceConnectOptions> = {},
): Promise<[InterceptedConnection, Promise<Socket>]> {
  const begun = once(interceptor, 'connection') as Promise<[InterceptedConnection]>;
  const connecting = namespace.connect({ host: '203.0.113.5', port: 80, ...options });
  connecting.catch(() => {});
  return [(await begun)[0], connecting];
}

export interface OpenConnection {
  readonly connection: InterceptedConnection;
  /** What the interceptor has accepted. */
  readonly server: Socket;
  readonly client: Socket;
}

/** An open connection: both of its sockets. */
export async function openConnection(
  intercepted: Intercepted,
  options: Partial<NamespaceConnectOptions> = {},
): Promise<OpenConnection> {
  const [connection, connecting] = await connectionOf(intercepted, options);
  const [server, client] = await Promise.all([connection.accept(), connecting]);
  return { connection, server, client };
}

/** What a way to relay the next connection fails with; the client is refused by the same error. */
export function failureOf(
  interceptor: Interceptor,
  relay: (connection: InterceptedConnection) => Promise<unknown>,
): Promise<NodeJS.ErrnoException> {
  return new Promise((resolve, reject) => {
    interceptor.once('connection', (connection) => {
      relay(connection).then(reject, (error) => {
        connection.refuse(error);
        resolve(error);
      });
    });
  });
}

/** What a client's attempt to connect ends with: an error's code, or 'connected'. */
export const failure = (connecting: Promise<unknown>): Promise<string> =>
  connecting.then(
    () => 'connected',
    (error) => error.code,
  );

/** Addresses that lie behind the device. */
export const SERVERS = { 4: '203.0.113.5', 6: '2001:db8:ffff::5' } as const;
export const HOSTS = Object.values(SERVERS);
export const CLIENTS = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;

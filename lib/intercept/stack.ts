/** The TCP stack that accepts intercepted connections: the kernel's, behind a TUN device of its own. */

import type { OffloadOption } from '../device/offload.js';
import { openTun } from '../device/open-tun-tap.js';
import type { TunDevice } from '../device/tun-tap-device.js';
import { ADDRESS_FAMILIES, Endpoint } from '../endpoint.js';
import { native } from '../native/addon.js';
import { closingOnError, type Descriptor } from '../native/descriptor.js';
import type { Link } from '../net/link.js';
import { NetworkNamespace } from '../net/network-namespace.js';
import { check } from '../system-error.js';

/** Where the stack is: in a namespace of the interceptor's own, or where the client's device is. */
export type StackKind = 'private' | 'shared';

// src-cpp/intercept/stack_addresses.h has the same.
const ADDRESSES = { 4: '100.64.0.1', 6: 'fd74:6e74:6e61:7400::1' } as const;
const PREFIX_LENGTHS = { 4: 10, 6: 64 } as const;
const FAMILIES = [4, 6] as const;
const IPV6_MIN_MTU = 1280;
const BACKLOG = 65535;
const ADDRESS_TIMEOUT = 2000;

/** Settings of the private namespace; one that the kernel lacks is left out. */
const SYSCTLS: Readonly<Record<string, number>> = {
  'net.core.somaxconn': BACKLOG,
  'net.ipv4.tcp_max_syn_backlog': BACKLOG,
  // Each connection comes from an address of its own.
  'net.ipv4.tcp_no_metrics_save': 1,
  'net.ipv6.conf.default.disable_ipv6': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.router_solicitations': 0,
};

/** A stack that listens. */
export interface Stack {
  /** What its packets are exchanged with. A shared stack's is the client's device. */
  readonly tun: TunDevice;
  readonly listeners: readonly Descriptor[];
  /** Where it listens; 0: not. */
  readonly ports: Readonly<Record<4 | 6, number>>;
  /** Closes all but the client's device. */
  readonly close: () => Promise<void>;
}

/** Opens a stack for what comes from a device. */
export async function openStack(client: TunDevice, kind: StackKind): Promise<Stack> {
  return kind === 'private' ? openPrivate(client) : openShared(client);
}

async function openPrivate(client: TunDevice): Promise<Stack> {
  const namespace = await NetworkNamespace.create();
  let tun: TunDevice | undefined;
  try {
    const ipv6 = await configure(namespace);
    const { mtu, offloads } = client;
    const families = ipv6 && mtu >= IPV6_MIN_MTU ? FAMILIES : ([4] as const);
    const offload: OffloadOption = offloads.mode === 'raw' ? 'raw' : offloads.mode === 'split';
    const device = openTun('intercept', { namespace, mtu, offload, up: true });
    tun = device;
    await addAddresses(await namespace.link('intercept'), families);
    return {
      tun,
      ...(await listenIn(namespace, families)),
      close: async () => {
        await device.close();
        await namespace.close();
      },
    };
  } catch (error) {
    await tun?.close();
    await namespace.close();
    throw error;
  }
}

/** Returns whether the namespace has IPv6. */
async function configure(namespace: NetworkNamespace): Promise<boolean> {
  let ipv6 = false;
  for (const [name, value] of Object.entries(SYSCTLS)) {
    try {
      await namespace.setSysctl(name, value);
      ipv6 ||= name.endsWith('disable_ipv6');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return ipv6;
}

async function openShared(client: TunDevice): Promise<Stack> {
  const link = await client.link();
  const families = client.mtu >= IPV6_MIN_MTU ? FAMILIES : ([4] as const);
  const close = async () => {
    for (const family of families) await link.deleteAddress(addressOf(family)).catch(() => {});
  };
  try {
    await addAddresses(link, families);
    return { tun: client, ...(await listenIn(link.namespace, families)), close };
  } catch (error) {
    await close();
    throw error;
  }
}

const addressOf = (family: 4 | 6) => `${ADDRESSES[family]}/${PREFIX_LENGTHS[family]}`;

async function addAddresses(link: Link, families: readonly (4 | 6)[]): Promise<void> {
  for (const family of families) await link.addAddress(addressOf(family), { noDad: family === 6 });
  // The kernel accepts packets for an IPv6 address a little later (addrconf_dad_work); until then it drops them.
  const local = { family: 6, table: 'local', destination: `${ADDRESSES[6]}/128` } as const;
  const end = performance.now() + ADDRESS_TIMEOUT;
  while (families.includes(6) && performance.now() < end) {
    if ((await link.namespace.routes(local)).length > 0) return;
  }
}

async function listenIn(
  namespace: NetworkNamespace,
  families: readonly (4 | 6)[],
): Promise<Pick<Stack, 'listeners' | 'ports'>> {
  const listeners: Descriptor[] = [];
  const ports = { 4: 0, 6: 0 };
  try {
    for (const family of families) {
      const [listener, port] = await listen(namespace, family);
      listeners.push(listener);
      ports[family] = port;
    }
    return { listeners, ports };
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw error;
  }
}

async function listen(namespace: NetworkNamespace, family: 4 | 6): Promise<[Descriptor, port: number]> {
  const { SOCK_STREAM } = native().socketConstants;
  const af = ADDRESS_FAMILIES[family];
  const opened = await native().openSocket(namespace.fdToEnter(), af, SOCK_STREAM);
  const descriptor = check<Descriptor>(opened, 'socket');
  return closingOnError(descriptor, () => {
    const fd = descriptor.fd();
    const local = new Endpoint(ADDRESSES[family], 0);
    check(native().bindSocket(fd, af, local.entry), 'bind', local.address);
    check(native().listenSocket(fd, BACKLOG), 'listen', local.address);
    check(native().socketAddress(fd, local.entry), 'getsockname');
    return [descriptor, local.port];
  });
}

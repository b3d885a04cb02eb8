import {
  abortError,
  checkName,
  checkSignal,
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../arguments.js';
import { openTun } from '../device/open-tun-tap.js';
import type { Endpoint } from '../endpoint.js';
import type { Link } from '../net/link.js';
import { type NamespaceReference, NetworkNamespace } from '../net/network-namespace.js';
import { openUdp, type UdpBatchSocket } from '../socket/udp-batch-socket.js';
import { bootTime } from '../tunnel/boot-time.js';
import { peerChange, resolveEndpoint } from './checks.js';
import { openControlSocket } from './control-socket.js';
import { ENVIRONMENT, type Environment } from './environment.js';
import { parseKey } from './keys.js';
import { findTunnelMtu } from './mtu.js';
import type { WireGuardOptions } from './options.js';
import { parseHost } from './prefix.js';
import { TunnelRoutes } from './routes.js';
import { ROOM } from './session-transport.js';
import { WireGuard } from './wireguard.js';

// Bursts of a tunnel are longer than the kernel's usual buffers.
const SOCKET_BUFFER = 7 << 20;

/**
 * Opens a WireGuard tunnel: the interface, its UDP socket and the control socket for wg(8). When the promise resolves,
 * addresses, MTU and peers are set and the interface is up. If a step fails, everything is undone.
 *
 * @param name of the interface, at most 15 bytes
 * @throws TypeError, RangeError or Error with the code `ERR_WG_KEY`, `ERR_WG_ENDPOINT`, `ERR_WG_ALLOWED_IP`,
 * `ERR_WG_CONTROL_IN_USE` or `ERR_INVALID_ARG_…`; system errors such as EPERM, EBUSY, EADDRINUSE
 * @example
 * ```ts
 * const wg = await openWireGuard('wg0', {
 *   privateKey,
 *   addresses: ['10.0.0.2/24'],
 *   peers: [{ publicKey, endpoint: 'vpn.example.org:51820', allowedIps: ['10.0.0.0/24'] }],
 * });
 * wg.on('handshake', (peer) => console.log(`connected to ${peer.endpoint}`));
 * ```
 * @see https://www.wireguard.com/papers/wireguard.pdf
 */
export async function openWireGuard(name: string, options: WireGuardOptions = {}): Promise<WireGuard> {
  return openWithEnvironment(name, options, ENVIRONMENT);
}

/** The same, for tests that shorten the protocol's times. */
export async function openWithEnvironment(
  name: string,
  options: WireGuardOptions,
  environment: Environment,
): Promise<WireGuard> {
  checkName('name', name, true);
  requireObject('options', options);
  const { peers = [], listenPort = 0, fwmark = 0, control = true, up = true, routes = 'auto' } = options;
  const {
    addresses = [],
    namespace,
    socketNamespace,
    tunFd,
    udpFd,
    controlFd,
    threads = 0,
    signal,
  } = options;
  if (!Array.isArray(peers)) throw invalidArgType('options.peers', 'an array', peers);
  const changes = peers.map((peer, i) => peerChange(`options.peers[${i}]`, peer));
  requireInteger('options.listenPort', listenPort, 0, 65535);
  requireInteger('options.fwmark', fwmark, 0, 0xffffffff);
  if (!Array.isArray(addresses)) throw invalidArgType('options.addresses', 'an array of strings', addresses);
  for (const address of addresses) {
    if (typeof address !== 'string' || !parseHost(address)) {
      throw invalidArgValue('options.addresses', address, 'must have addresses such as 10.0.0.1/24 only');
    }
  }
  if (options.mtu !== undefined) requireInteger('options.mtu', options.mtu, 68, 65535);
  requireBoolean('options.up', up);
  if (typeof control !== 'string') requireBoolean('options.control', control);
  if (control === '') throw invalidArgValue('options.control', control, 'must not be empty');
  if (controlFd !== undefined && control === false) {
    throw invalidArgValue('options.control', control, 'must not be false, since there is options.controlFd');
  }
  if (typeof routes === 'number') requireInteger('options.routes', routes, 1, 0xffffffff);
  else if (routes !== 'auto' && routes !== 'off') {
    throw invalidArgValue('options.routes', routes, "must be 'auto', 'off' or a number");
  }
  requireInteger('options.threads', threads, 0, 64);
  for (const [key, fd] of Object.entries({ tunFd, udpFd, controlFd })) {
    if (fd !== undefined) requireInteger(`options.${key}`, fd, 0, 0x7fffffff);
  }
  if (udpFd !== undefined && options.listenPort !== undefined) {
    throw invalidArgValue('options.listenPort', listenPort, 'must be left out: it is that of options.udpFd');
  }
  const privateKey =
    options.privateKey === undefined ? undefined : parseKey('options.privateKey', options.privateKey);
  checkSignal(signal);
  const findLink = (link: string): Promise<number> =>
    inNamespace(socketNamespace, async (home) => (await home.link(link)).index);
  // Names are looked up before anything exists.
  const endpoints = await Promise.all(
    changes.map(({ endpoint }) =>
      endpoint === undefined ? undefined : resolveEndpoint(endpoint, findLink, signal),
    ),
  );
  const mtu = options.mtu ?? (await mtuFor(socketNamespace, endpoints));
  const tun = openTun(name, { ...ROOM, addresses: addresses.map(withLength), mtu, namespace, fd: tunFd });
  let toAdopt = udpFd;
  const openSocket = (port: number, mark: number): UdpBatchSocket => {
    const fd = toAdopt;
    toAdopt = undefined;
    return openUdp({
      ...(fd === undefined ? { port, namespace: socketNamespace } : { fd }),
      mark: mark === 0 ? undefined : mark,
      packetInfo: true,
      receiveTos: true,
      receiveBuffer: SOCKET_BUFFER,
      sendBuffer: SOCKET_BUFFER,
    });
  };
  const wg = new WireGuard({
    tun,
    mtu,
    now: bootTime,
    openSocket,
    findLink,
    listenPort,
    fwmark,
    threads,
    signal,
    environment,
  });
  try {
    await wg.apply({
      privateKey,
      replacePeers: false,
      peers: changes.map((change, i) => ({ ...change, resolved: endpoints[i] })),
    });
    const link = await tun.link();
    await withoutLinkLocal(link);
    if (up) tun.setUp();
    if (routes !== 'off' && up) {
      // The link's own object closes with the device. The rules must go even if the device has gone first.
      const home = await NetworkNamespace.open(`/proc/self/fd/${link.namespace.fd}`);
      wg.onClose(() => home.close());
      const options = {
        namespace: home,
        device: tun.name,
        routes,
        isSocketElsewhere: namespace !== socketNamespace,
        getMark: () => wg.fwmark,
        setMark: (mark: number) => wg.setMark(mark),
      };
      await wg.useRoutes(new TunnelRoutes(options));
    }
    // After all that takes time, since whoever deletes its file closes the tunnel.
    if (control !== false) {
      const path = typeof control === 'string' ? control : undefined;
      const onDeleted = () => wg.closeUnattended();
      const socket = await openControlSocket(tun.name, wg, { path, fd: controlFd, onDeleted });
      wg.onClose(() => socket.close());
    }
    checkSignal(signal);
    // Last, so that the caller can listen for the first handshake, and for the error after a signal.
    wg.start();
    const onAbort = () => signal && wg.fail(abortError(signal));
    signal?.addEventListener('abort', onAbort, { once: true });
    wg.onClose(() => signal?.removeEventListener('abort', onAbort));
    return wg;
  } catch (error) {
    await wg.close().catch(() => {});
    throw error;
  }
}

/** A bare address is a host. */
function withLength(address: string): string {
  return address.includes('/') ? address : `${address}/${address.includes(':') ? 128 : 32}`;
}

/**
 * As the kernel's own WireGuard interfaces, this one makes no link-local address for itself: nobody at the other end knows
 * it, and it would ask for routers through the tunnel.
 */
async function withoutLinkLocal(link: Link): Promise<void> {
  try {
    await link.set({ addressGeneration: 'none' });
  } catch (error) {
    // The kernel has no IPv6.
    if ((error as NodeJS.ErrnoException).code !== 'EAFNOSUPPORT') throw error;
  }
}

function mtuFor(
  namespace: NamespaceReference | undefined,
  endpoints: readonly (Endpoint | undefined)[],
): Promise<number> {
  const addresses = endpoints.flatMap((endpoint) => (endpoint ? [endpoint.address] : []));
  return inNamespace(namespace, (home) => findTunnelMtu(home, addresses));
}

async function inNamespace<T>(
  namespace: NamespaceReference | undefined,
  use: (home: NetworkNamespace) => Promise<T>,
): Promise<T> {
  if (namespace instanceof NetworkNamespace) return use(namespace);
  await using home = await openNamespace(namespace);
  return await use(home);
}

function openNamespace(reference: string | number | undefined): Promise<NetworkNamespace> {
  return reference === undefined ? NetworkNamespace.current() : NetworkNamespace.open(reference);
}

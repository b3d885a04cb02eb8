import {
  checkSignal,
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../arguments.js';
import { openTun } from '../device/open-tun-tap.js';
import type { Endpoint } from '../endpoint.js';
import { type NamespaceReference, NetworkNamespace } from '../net/network-namespace.js';
import { openUdp, type UdpBatchSocket } from '../socket/udp-batch-socket.js';
import { bootTime } from '../tunnel/boot-time.js';
import { checkPeer, resolveEndpoint } from './checks.js';
import { openControlSocket } from './control-socket.js';
import { ENVIRONMENT, type Environment } from './environment.js';
import { parseKey } from './keys.js';
import { findTunnelMtu } from './mtu.js';
import type { WireGuardOptions } from './options.js';
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
  const checked = peers.map((peer, i) => checkPeer(`options.peers[${i}]`, peer));
  requireInteger('options.listenPort', listenPort, 0, 65535);
  requireInteger('options.fwmark', fwmark, 0, 0xffffffff);
  if (typeof control !== 'string') requireBoolean('options.control', control);
  if (typeof routes === 'number') requireInteger('options.routes', routes, 1, 0xffffffff);
  else if (routes !== 'auto' && routes !== 'off') {
    throw invalidArgValue('options.routes', routes, "must be 'auto', 'off' or a number");
  }
  requireInteger('options.threads', threads, 0, 64);
  if (udpFd !== undefined) requireInteger('options.udpFd', udpFd, 0, 0x7fffffff);
  if (udpFd !== undefined && options.listenPort !== undefined) {
    throw invalidArgValue('options.listenPort', listenPort, 'must be left out: it is that of options.udpFd');
  }
  const privateKey =
    options.privateKey === undefined ? undefined : parseKey('options.privateKey', options.privateKey);
  checkSignal(signal);
  // Names are looked up before anything exists.
  const endpoints = await Promise.all(
    checked.map(({ endpoint }) => (endpoint === undefined ? undefined : resolveEndpoint(endpoint, signal))),
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
    listenPort,
    fwmark,
    threads,
    signal,
    environment,
  });
  try {
    await wg.apply({ privateKey, replacePeers: false, peers: [] });
    for (const [i, peer] of peers.entries()) await wg.usePeer(checked[i], endpoints[i], peer);
    if (up) tun.setUp();
    if (routes !== 'off' && up) {
      const link = await tun.link();
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
    if (control !== false || controlFd !== undefined) {
      const path = typeof control === 'string' ? control : undefined;
      const onDeleted = () => wg.closeUnattended();
      const socket = await openControlSocket(tun.name, wg, { path, fd: controlFd, onDeleted });
      wg.onClose(() => socket.close());
    }
    checkSignal(signal);
    // Last, so that the caller can listen for the first handshake.
    wg.start();
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

async function mtuFor(
  namespace: NamespaceReference | undefined,
  endpoints: readonly (Endpoint | undefined)[],
): Promise<number> {
  const opened = namespace instanceof NetworkNamespace ? undefined : await openNamespace(namespace);
  try {
    const home = namespace instanceof NetworkNamespace ? namespace : (opened as NetworkNamespace);
    return await findTunnelMtu(
      home,
      endpoints.flatMap((endpoint) => (endpoint ? [endpoint.address] : [])),
    );
  } finally {
    await opened?.close();
  }
}

function openNamespace(reference: string | number | undefined): Promise<NetworkNamespace> {
  return reference === undefined ? NetworkNamespace.current() : NetworkNamespace.open(reference);
}

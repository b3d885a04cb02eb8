/**
 * A tunnel that has a link, routes and a control socket, but carries no packets.
 * FAKE_EVENTS=1: the first peer has a handshake, moves, and expires. FAKE_FAILURE: opening fails. FAKE_SLOW: it hangs.
 */

import { EventEmitter } from 'node:events';
import { NetworkNamespace, openTun } from 'tuntap-native';
import type { PeerInfo, WireGuardOptions } from 'tuntap-native/wireguard';
import type { Tunnel } from '#dist/cli/command.js';
import { ByteBudget, RequestParser } from '#dist/wireguard/control-request.js';
import { openControlSocket } from '#dist/wireguard/control-socket.js';
import { TunnelRoutes } from '#dist/wireguard/routes.js';
import { FakeDevice } from '../wireguard/fake-device.ts';

class FakeTunnel extends EventEmitter implements Tunnel {
  readonly name: string;
  readonly device = new FakeDevice();
  readonly undo: (() => Promise<void>)[] = [];
  #closing: Promise<void> | undefined;

  constructor(name: string) {
    super();
    this.name = name;
  }

  peers(): readonly PeerInfo[] {
    return this.device.get().peers.map(({ publicKey, presharedKey, ...peer }) => ({
      ...peer,
      publicKey: Buffer.from(publicKey).toString('base64'),
      hasPresharedKey: presharedKey !== undefined,
    }));
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const undo of this.undo.reverse()) await undo();
      this.emit('close');
    })();
    return this.#closing;
  }

  play(): void {
    const step = (event: string, text: string, change: object): void => {
      const [peer] = this.device.peers.values();
      if (peer) Object.assign(peer, change);
      this.emit(event, event === 'error' ? new Error(text) : this.peers()[0]);
    };
    setTimeout(() => step('handshake', '', { latestHandshake: Date.now(), rxBytes: 148 }), 100);
    setTimeout(() => step('roam', '', { endpoint: '192.0.2.77:7' }), 200);
    setTimeout(() => step('error', 'first line\nsecond line', {}), 250);
    setTimeout(() => step('expired', '', {}), 300);
  }
}

/** What the options say, as the lines of a set request. */
function setLines({ privateKey, listenPort, fwmark, peers = [] }: WireGuardOptions): string {
  const hex = (key: string | Uint8Array) => Buffer.from(key as string, 'base64').toString('hex');
  return [
    'set=1',
    ...(privateKey ? [`private_key=${hex(privateKey)}`] : []),
    `listen_port=${listenPort ?? 0}`,
    `fwmark=${fwmark ?? 0}`,
    ...peers.flatMap((peer) => [
      `public_key=${hex(peer.publicKey)}`,
      ...(peer.presharedKey ? [`preshared_key=${hex(peer.presharedKey)}`] : []),
      ...(peer.endpoint ? [`endpoint=${peer.endpoint}`] : []),
      `persistent_keepalive_interval=${peer.persistentKeepalive ?? 0}`,
      ...(peer.allowedIps ?? []).map((network) => `allowed_ip=${network}`),
    ]),
    '\n',
  ].join('\n');
}

export async function openTunnel(name: string, options: WireGuardOptions): Promise<Tunnel> {
  const { FAKE_FAILURE, FAKE_SLOW, FAKE_EVENTS } = process.env;
  if (FAKE_FAILURE) throw new Error(FAKE_FAILURE);
  if (FAKE_SLOW) {
    console.log('opening');
    await new Promise((_, reject) => {
      const timer = setTimeout(() => {}, 60_000);
      options.signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(options.signal?.reason);
      });
    });
  }
  const tunnel = new FakeTunnel(name);
  try {
    await setUp(tunnel, options);
  } catch (error) {
    await tunnel.close();
    throw error;
  }
  if (FAKE_EVENTS) tunnel.play();
  return tunnel;
}

async function setUp(tunnel: FakeTunnel, options: WireGuardOptions): Promise<void> {
  const { device, name } = tunnel;
  for (const request of new RequestParser(new ByteBudget(1e6)).push(Buffer.from(setLines(options)))) {
    if (request.kind !== 'set') throw new Error('a peer has an endpoint that is no address');
    await device.apply(request.changes);
  }
  const { addresses, mtu = 1420, up = true, tunFd: fd, controlFd, routes = 'auto' } = options;
  const tun = openTun(name, { addresses, mtu, up, fd });
  tunnel.undo.push(() => tun.close());
  tun
    .on('close', () => void tunnel.close())
    .on('error', () => {})
    .resume();
  const namespace = await NetworkNamespace.current();
  tunnel.undo.push(() => namespace.close());
  const tunnelRoutes = new TunnelRoutes({
    ...{ namespace, device: name, routes, isSocketElsewhere: false },
    getMark: () => device.fwmark,
    setMark: (mark) => {
      device.fwmark = mark;
    },
  });
  tunnel.undo.push(() => tunnelRoutes.close());
  const peers = options.peers ?? [];
  await tunnelRoutes.update(
    peers.flatMap(({ allowedIps = [] }) => allowedIps),
    peers.flatMap(({ endpoint }) =>
      endpoint ? [endpoint.replace(/:[0-9]+$/, '').replace(/[[\]]/g, '')] : [],
    ),
  );
  // Last: from now on somebody may remove it.
  const socket = await openControlSocket(name, device, {
    fd: controlFd,
    onDeleted: () => void tunnel.close(),
  });
  tunnel.undo.push(() => socket.close());
}

/** Tunnels whose clock and limits a test chooses. */

import assert from 'node:assert/strict';
import { type NetworkNamespace, openTun } from 'tuntap-native';
import { bootTime, Endpoint, openUdp } from 'tuntap-native/tunnel';
import { Engine } from '#dist/wireguard/engine.js';
import { ENVIRONMENT } from '#dist/wireguard/environment.js';
import { ROOM } from '#dist/wireguard/session-transport.js';

interface EngineOptions {
  readonly privateKey: string;
  readonly peers: readonly {
    readonly publicKey: string;
    readonly endpoint: string;
    /** The address inside that is the peer's. */
    readonly address: readonly number[];
    readonly persistentKeepalive?: number;
  }[];
  readonly now?: () => number;
  readonly threads?: number;
  readonly limits?: object;
  readonly onHandshake?: () => void;
}

const nothing = (): void => {};

/** The engine of a tunnel `wga`, 10.9.0.1, in a namespace. */
export function startEngine(
  namespace: NetworkNamespace,
  { privateKey, peers, now = bootTime, threads = 0, limits, onHandshake = nothing }: EngineOptions,
): { close(): Promise<void> } {
  const tun = openTun('wga', { ...ROOM, addresses: ['10.9.0.1/24'], mtu: 1420, namespace });
  const socket = openUdp({ namespace, packetInfo: true, receiveTos: true });
  const listener = { handshake: onHandshake, roamed: nothing, expired: nothing, retransmitted: nothing };
  const environment = { ...ENVIRONMENT, limits: { ...ENVIRONMENT.limits, ...limits } };
  const engine = new Engine(1420, listener, now, threads, environment);
  engine.setPrivateKey(Buffer.from(privateKey, 'base64'));
  for (const { publicKey, endpoint, address, persistentKeepalive = 0 } of peers) {
    const peer = engine.peerWithKey(Buffer.from(publicKey, 'base64'), true);
    assert.ok(peer);
    const [host, port] = endpoint.split(':');
    peer.setEndpoint(new Endpoint(host, Number(port)));
    engine.allowedIps.add({ family: 4, bytes: Buffer.from(address), length: 32 }, peer);
    peer.core.setPersistentKeepalive(persistentKeepalive, now());
  }
  tun.setUp();
  void engine.serve(tun);
  void engine.listen(socket, tun);
  return {
    close: async () => {
      engine.close();
      await socket.close();
      await tun.close();
    },
  };
}

/** The demo's network: two hosts, a wire between them, and somebody who listens to it. */

import { openTap, type TapDevice } from 'tuntap-native';
import { createBridge, createVethPair, type Link, NetworkNamespace } from 'tuntap-native/net';

export const SERVER = { wire: '192.0.2.1', tunnel: '10.9.0.1' } as const;
export const CLIENT = { wire: '192.0.2.2', tunnel: '10.9.0.2' } as const;

export interface Hosts extends AsyncDisposable {
  readonly server: NetworkNamespace;
  readonly client: NetworkNamespace;
  /** Gets a copy of every frame that passes between the hosts. */
  readonly listener: TapDevice;
}

/**
 * Each host has a veth pair, whose other ends are ports of one bridge that learns no addresses: a hub, so that its third
 * port, a TAP device, gets all frames.
 */
export async function createHosts(): Promise<Hosts> {
  const made: AsyncDisposable[] = [];
  const dispose = async (): Promise<void> => {
    for (const one of made.splice(0).reverse()) await one[Symbol.asyncDispose]();
  };
  const newNamespace = async (): Promise<NetworkNamespace> => {
    const namespace = await NetworkNamespace.create();
    made.push(namespace);
    return namespace;
  };
  try {
    const [server, client, wire] = [await newNamespace(), await newNamespace(), await newNamespace()];
    const ports: Link[] = [];
    for (const [namespace, name, address] of [
      [server, 'server', SERVER.wire],
      [client, 'client', CLIENT.wire],
    ] as const) {
      const end = { name: 'eth0', namespace, addresses: [`${address}/24`], up: true };
      const [, port] = await createVethPair(end, { name, namespace: wire, up: true });
      ports.push(port);
    }
    const listener = openTap('tap0', { namespace: wire, up: true });
    made.push(listener);
    ports.push(await wire.link(listener.name));
    await createBridge({ name: 'hub', namespace: wire, ports, ageingTime: 0, stp: false, up: true });
    return { server, client, listener, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

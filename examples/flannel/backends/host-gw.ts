/** Routes only: each host is the gateway to its subnet. All hosts must be on one link, as nothing is encapsulated. */

import { setTimeout } from 'node:timers/promises';
import type { Backend, BackendOptions } from '../backend.ts';
import { formatNetwork } from '../network.ts';

// Tells our routes from others', also after a crash: a number that neither the kernel nor a routing daemon uses.
const PROTOCOL = 0x66;
// The kernel reports each route of a link that goes down; all of them are put back together.
const SETTLE_MS = 100;
const RETRY_MS = 1000;

export async function openHostGateway({ host, external, config, fail }: BackendOptions): Promise<Backend> {
  if (external.publicIp !== external.address) {
    throw new Error(
      `host-gw works on one link only, without NAT: ${external.publicIp} is not ${external.address}`,
    );
  }
  const ended = new AbortController();
  /** The gateways, by subnets. */
  const routes = new Map<string, string>();
  const route = (destination: string, via: string) => ({
    destination,
    via,
    device: external.index,
    protocol: PROTOCOL,
  });

  async function putBack(): Promise<void> {
    const present = new Set(
      (await host.routes({ protocol: PROTOCOL })).map((found) => `${found.destination} ${found.via}`),
    );
    for (const [destination, via] of routes) {
      if (present.has(`${destination} ${via}`)) continue;
      await host.replaceRoute(route(destination, via));
      console.error(`put the route to ${destination} back`);
    }
  }

  /** Somebody deletes a route, or the link goes down and comes back, which removes all its routes. */
  async function guard(signal: AbortSignal): Promise<void> {
    for await (const event of host.monitor({ types: ['route', 'link'], signal })) {
      if (event.type === 'route' && event.change === 'new') continue;
      await setTimeout(SETTLE_MS, undefined, { signal });
      // While the link is down there is no way to a gateway.
      await putBack().catch(() => setTimeout(RETRY_MS, undefined, { signal }));
    }
  }

  return {
    mtu: config.backend.integer('MTU', 68, 65535, external.mtu),
    async start() {
      // What a daemon left that was killed.
      for (const left of await host.routes({ protocol: PROTOCOL })) await host.deleteRoute(left);
      guard(ended.signal).catch((error) => {
        if (!ended.signal.aborted) fail(error);
      });
    },
    async set({ subnet, publicIp }) {
      const destination = formatNetwork(subnet);
      await host.replaceRoute(route(destination, publicIp));
      routes.set(destination, publicIp);
    },
    async remove({ subnet }) {
      const destination = formatNetwork(subnet);
      const via = routes.get(destination);
      routes.delete(destination);
      if (via !== undefined) await host.deleteRoute(route(destination, via));
    },
    async close() {
      ended.abort();
      for (const [destination, via] of routes) {
        await host.deleteRoute(route(destination, via)).catch(() => {}); // the kernel may have removed it
      }
    },
  };
}

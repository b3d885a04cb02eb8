/** Routes to subnets by their hosts, which are on this host's link. */

import { setTimeout } from 'node:timers/promises';
import type { BackendOptions } from '../backend.ts';
import { formatNetwork, type Network } from '../network.ts';

// Tells our routes from others', also after a crash: a number that neither the kernel nor a routing daemon uses.
const PROTOCOL = 0x66;
// The kernel reports each route of a link that goes down; all of them are put back together.
const SETTLE_MS = 100;
const RETRY_MS = 1000;

/** Such routes. They are put back if somebody deletes one, or if the link goes down and comes back. */
export class Gateways {
  readonly #host: BackendOptions['host'];
  readonly #device: number;
  /** The gateways, by subnets. */
  readonly #routes = new Map<string, string>();
  readonly #ended = new AbortController();

  constructor({ host, external }: Pick<BackendOptions, 'host' | 'external'>) {
    this.#host = host;
    this.#device = external.index;
  }

  /** Removes what a daemon left that was killed, and begins to watch. */
  async start(fail: (error: Error) => void): Promise<void> {
    for (const left of await this.#host.routes({ protocol: PROTOCOL })) await this.#host.deleteRoute(left);
    const { signal } = this.#ended;
    this.#guard(signal).catch((error) => {
      if (!signal.aborted) fail(error);
    });
  }

  async set(subnet: Network, via: string): Promise<void> {
    const destination = formatNetwork(subnet);
    await this.#host.replaceRoute(this.#route(destination, via));
    this.#routes.set(destination, via);
  }

  /** Another route has taken the place of one of these. */
  forget(subnet: Network): void {
    this.#routes.delete(formatNetwork(subnet));
  }

  async remove(subnet: Network): Promise<void> {
    const destination = formatNetwork(subnet);
    const via = this.#routes.get(destination);
    this.#routes.delete(destination);
    if (via !== undefined) await this.#host.deleteRoute(this.#route(destination, via));
  }

  async close(): Promise<void> {
    this.#ended.abort();
    for (const [destination, via] of this.#routes) {
      await this.#host.deleteRoute(this.#route(destination, via)).catch(() => {}); // the kernel may have removed it
    }
  }

  #route(destination: string, via: string) {
    return { destination, via, device: this.#device, protocol: PROTOCOL };
  }

  async #guard(signal: AbortSignal): Promise<void> {
    for await (const event of this.#host.monitor({ types: ['route', 'link'], signal })) {
      if (event.type === 'route' && event.change === 'new') continue;
      await setTimeout(SETTLE_MS, undefined, { signal });
      // While the link is down there is no way to a gateway.
      while (!(await this.#putBack())) await setTimeout(RETRY_MS, undefined, { signal });
    }
  }

  /** @returns whether all routes are there now */
  async #putBack(): Promise<boolean> {
    const found = await this.#host.routes({ protocol: PROTOCOL });
    const present = new Set(found.map(({ destination, via }) => `${destination} ${via}`));
    let complete = true;
    for (const [destination, via] of [...this.#routes]) {
      if (present.has(`${destination} ${via}`) || this.#routes.get(destination) !== via) continue;
      try {
        await this.#host.replaceRoute(this.#route(destination, via));
        console.error(`put the route to ${destination} back`);
      } catch {
        complete = false;
      }
    }
    return complete;
  }
}

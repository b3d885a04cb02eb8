/** Routes only: each host is the gateway to its subnet. All hosts must be on one link, as nothing is encapsulated. */

import type { Backend, BackendOptions } from '../backend.ts';
import { Gateways } from './gateways.ts';

export async function openHostGateway(options: BackendOptions): Promise<Backend> {
  const { publicIp, address, mtu } = options.external;
  if (publicIp !== address) {
    throw new Error(`host-gw works on one link only, without NAT: ${publicIp} is not ${address}`);
  }
  const gateways = new Gateways(options);
  return {
    mtu: options.config.backend.integer('MTU', 68, 65535, mtu),
    start: () => gateways.start(options.fail),
    set: ({ subnet, publicIp: via }) => gateways.set(subnet, via),
    remove: ({ subnet }) => gateways.remove(subnet),
    close: () => gateways.close(),
  };
}

/** How large packets in a tunnel can be, so that they fit on the way to the endpoints. */

import type { LinkInfo, NetworkNamespace, RouteInfo } from '../net/index.js';
import { containsPrefix, type Prefix, parsePrefix } from './prefix.js';
import { defaultNetwork } from './routes-plan.js';

/** IPv6, UDP, and what WireGuard adds: 40 + 8 + 32. */
const OVERHEAD = 80;
const ETHERNET = 1500;
const MINIMUM = 68;
const MAXIMUM = 65535;

type MtuRoute = Pick<RouteInfo, 'family' | 'destination' | 'metric' | 'mtu' | 'deviceIndex' | 'nexthops'>;

/**
 * The MTU of a tunnel, as wg-quick(8) chooses it: the least on the ways to the endpoints, or on the default route where
 * no endpoint is known, or else Ethernet's, less 80 bytes.
 * @param endpoints addresses, without ports
 */
export function tunnelMtu(
  endpoints: readonly string[],
  routes: readonly MtuRoute[],
  links: readonly Pick<LinkInfo, 'index' | 'mtu'>[],
): number {
  const mtus = new Map(links.map(({ index, mtu }) => [index, mtu]));
  const table = routes.map((route) => ({ route, network: networkOf(route) }));
  const mtuTo = (address: Prefix | undefined): number => {
    const route = address && bestRoute(address, table);
    if (route === undefined) return Number.POSITIVE_INFINITY;
    const indices = route.nexthops?.map(({ deviceIndex }) => deviceIndex) ?? [route.deviceIndex];
    return route.mtu ?? Math.min(...indices.map((index) => mtus.get(index ?? 0) ?? Number.POSITIVE_INFINITY));
  };
  const least = (addresses: readonly string[]) =>
    Math.min(...addresses.map((each) => mtuTo(parsePrefix(each))));
  const found = [least(endpoints), least(['0.0.0.0/0']), least(['::/0'])].find(Number.isFinite) ?? ETHERNET;
  return Math.min(Math.max(found - OVERHEAD, MINIMUM), MAXIMUM);
}

/** The same, for the namespace that the UDP socket is in. Routing rules and the routes of other tables do not count. */
export async function findTunnelMtu(
  namespace: NetworkNamespace,
  endpoints: readonly string[],
): Promise<number> {
  const routes = [
    ...(await namespace.routes({ family: 'all', table: 'local' })),
    ...(await namespace.routes({ family: 'all' })),
  ];
  return tunnelMtu(endpoints, routes, await namespace.links());
}

function networkOf({ family, destination }: MtuRoute): Prefix | undefined {
  return parsePrefix(destination === 'default' ? defaultNetwork(family) : destination);
}

/** The one with the longest prefix, of these the one with the least metric. */
function bestRoute(
  address: Prefix,
  table: readonly { route: MtuRoute; network: Prefix | undefined }[],
): MtuRoute | undefined {
  let best: { route: MtuRoute; length: number } | undefined;
  for (const { route, network } of table) {
    if (network === undefined || !containsPrefix(network, address)) continue;
    const metric = route.metric ?? 0;
    const isBetter =
      best === undefined ||
      network.length > best.length ||
      (network.length === best.length && metric < (best.route.metric ?? 0));
    if (isBetter) best = { route, length: network.length };
  }
  return best?.route;
}

import { requireObject } from '../arguments.js';
import { matching } from './netlink/attributes.js';
import type { Change } from './netlink/message.js';
import type { RequestQueue } from './netlink/request-queue.js';
import { type Family, fromFamily } from './rtnetlink/family.js';
import type { LinkInfo } from './rtnetlink/link-info.js';
import {
  findLink,
  getLink,
  indexOf,
  type LinkReference,
  namesOf,
  withDevices,
} from './rtnetlink/link-names.js';
import { addLinkRequest } from './rtnetlink/link-requests.js';
import {
  type BareNeighbor,
  listNeighborsRequest,
  type NeighborInfo,
  type NewNeighbor,
  neighborRequest,
} from './rtnetlink/neighbor.js';
import { type NewLink, newLinkValues, referencesOf } from './rtnetlink/new-link.js';
import {
  checkQdisc,
  deleteQdiscRequest,
  listQdiscsRequest,
  type NewQdisc,
  type QdiscInfo,
  qdiscRequest,
} from './rtnetlink/qdisc.js';
import {
  type BareRoute,
  type NewRoute,
  nameRoute,
  ROUTE_PROTOCOLS,
  type RouteInfo,
  type RouteProtocol,
  type RouteTable,
  TABLES,
} from './rtnetlink/route.js';
import {
  checkRoute,
  type KernelRouteFilter,
  listRoutesRequest,
  routeRequest,
} from './rtnetlink/route-requests.js';
import { listRulesRequest, type NewRule, type RuleInfo, ruleRequest } from './rtnetlink/rule.js';

/** Which routes to list. */
export interface RouteFilter {
  /** Of this family. **Default:** 4, as `ip route` */
  readonly family?: Family | 'all';
  /** In this table. **Default:** `main`, as `ip route` */
  readonly table?: RouteTable | 'all';
  /** Through this link. */
  readonly device?: LinkReference;
  /** Made by this protocol. */
  readonly protocol?: RouteProtocol;
  /** To exactly this network, as {@link RouteInfo.destination} writes it. */
  readonly destination?: string;
}

/** Which neighbours to list. What you leave out does not matter. */
export interface NeighborFilter {
  /** On this link. */
  readonly device?: LinkReference;
  /** Known by ARP (4) or NDP (6). */
  readonly family?: Family;
  /** In place of neighbours, the addresses that this host answers for. **Default:** `false` */
  readonly proxy?: boolean;
  /** With those that need no resolution, such as multicast addresses. **Default:** `false` */
  readonly noArp?: boolean;
}

/** What a `NetworkNamespace` does with routes, rules, neighbours and queueing disciplines. */
export abstract class NetworkConfiguration {
  /** @internal */
  abstract readonly rtnetlink: RequestQueue;

  /**
   * The routes. Without a filter they are the IPv4 routes of the main table, as for `ip route`.
   * @throws ENODEV if `filter.device` names no link
   * @example
   * ```ts
   * await net1.routes(); // [{ destination: '172.16.0.0/24', device: 'veth1', protocol: 'kernel', … }]
   * await net1.routes({ family: 6, table: 'all' });
   * ```
   */
  async routes(filter: RouteFilter = {}): Promise<readonly RouteInfo[]> {
    requireObject('filter', filter);
    const { family = 4, table = 'main', destination } = filter;
    const fields = {
      table: TABLES.normal('filter.table', table === 'all' ? undefined : table),
      protocol: ROUTE_PROTOCOLS.normal('filter.protocol', filter.protocol),
    };
    const addressFamily = fromFamily(family);
    const device = await findLink(this.rtnetlink, filter.device);
    const listed = await this.#listRoutes(addressFamily, { ...fields, deviceIndex: device?.index });
    const found = listed
      .filter(matching<BareRoute>({ ...fields, family: family === 'all' ? undefined : family, destination }))
      .filter((route) => device === undefined || uses(route, device.index));
    const indices = new Set<number | undefined>();
    for (const { deviceIndex, nexthops } of found) {
      indices.add(deviceIndex);
      for (const hop of nexthops ?? []) indices.add(hop.deviceIndex);
    }
    const nameOf = await namesOf(this.rtnetlink, indices, device && [device]);
    return found.map((route) => nameRoute(route, nameOf));
  }

  /**
   * Adds a route.
   * @throws EEXIST if there is one to that destination with the same metric; ENETUNREACH if the gateway is not
   * on a link; ENODEV
   * @example
   * ```ts
   * await net1.addRoute({ destination: 'default', via: '172.16.0.2' });
   * await net1.addRoute({ destination: '192.0.2.0/24', device: 'veth1', metric: 50, mtu: 1400 });
   * ```
   * @see ip-route(8)
   */
  async addRoute(route: NewRoute): Promise<void> {
    await this.#route('add', route);
  }

  /** Adds a route behind those to the same destination. */
  async appendRoute(route: NewRoute): Promise<void> {
    await this.#route('append', route);
  }

  /** Adds a route, in place of the one to that destination if there is one. */
  async replaceRoute(route: NewRoute): Promise<void> {
    await this.#route('replace', route);
  }

  /**
   * Removes the first route that fits.
   * @throws ESRCH if there is none
   */
  async deleteRoute(route: NewRoute): Promise<void> {
    await this.#route('delete', route);
  }

  async #route(action: Change, route: NewRoute): Promise<void> {
    checkRoute(route);
    const devices = [route.device, ...(route.nexthops ?? []).map(({ device }) => device)].filter(
      (device) => device !== undefined,
    );
    const indices = await Promise.all(devices.map((device) => indexOf(this.rtnetlink, device)));
    const index = (device: string | number): number => indices[devices.indexOf(device)];
    await this.rtnetlink.request(routeRequest(action, route, index));
  }

  async #listRoutes(family: number, filter: KernelRouteFilter): Promise<readonly BareRoute[]> {
    try {
      return await this.rtnetlink.request(listRoutesRequest(family, filter));
    } catch (error) {
      // A kernel that filters says so if it has no such table.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && filter.table !== undefined) return [];
      throw error;
    }
  }

  /**
   * The policy rules, lowest priority first. Without a family they are the IPv4 rules, as for `ip rule`.
   * @see ip-rule(8)
   */
  async rules({ family = 4 }: { readonly family?: Family | 'all' } = {}): Promise<readonly RuleInfo[]> {
    const rules = await this.rtnetlink.request(listRulesRequest(fromFamily(family)));
    return rules.filter((rule) => family === 'all' || rule.family === family);
  }

  /**
   * Adds a policy rule.
   * @throws EEXIST if the same rule exists with that `priority`. Without a priority, the kernel adds it again, before the
   * others
   * @example
   * ```ts
   * await net1.addRule({ priority: 100, not: true, fwmark: 51820, table: 51820 });
   * ```
   */
  async addRule(rule: NewRule): Promise<void> {
    await this.rtnetlink.request(ruleRequest('add', rule));
  }

  /**
   * Removes the first policy rule that fits.
   * @throws ENOENT if there is none
   */
  async deleteRule(rule: NewRule): Promise<void> {
    await this.rtnetlink.request(ruleRequest('delete', rule));
  }

  /**
   * The neighbours that ARP and NDP know. As for `ip neighbor`, those that need no resolution (`NOARP`) are left out.
   * @throws ENODEV if `filter.device` names no link
   */
  async neighbors(filter: NeighborFilter = {}): Promise<readonly NeighborInfo[]> {
    requireObject('filter', filter);
    const { family, proxy = false, noArp = false } = filter;
    const addressFamily = fromFamily(family);
    const device = await findLink(this.rtnetlink, filter.device);
    const listed = await this.rtnetlink.request(listNeighborsRequest(addressFamily, device?.index, proxy));
    const found = listed
      .filter(matching<BareNeighbor>({ family, deviceIndex: device?.index }))
      .filter(({ flags }) => flags.includes('proxy') === proxy)
      .filter(({ state }) => noArp || proxy || state !== 'NOARP');
    return withDevices(this.rtnetlink, found, device);
  }

  /**
   * Adds a neighbour.
   * @throws EEXIST if there is an entry for that address on that link
   * @see ip-neighbour(8)
   */
  async addNeighbor(neighbor: NewNeighbor): Promise<void> {
    await this.#neighbor('add', neighbor);
  }

  /** Adds a neighbour, or changes the one that is there. */
  async replaceNeighbor(neighbor: NewNeighbor): Promise<void> {
    await this.#neighbor('replace', neighbor);
  }

  /**
   * Removes a neighbour.
   * @throws ENOENT if there is none
   */
  async deleteNeighbor(neighbor: Pick<NewNeighbor, 'device' | 'address' | 'proxy' | 'flags'>): Promise<void> {
    await this.#neighbor('delete', neighbor);
  }

  async #neighbor(action: 'add' | 'replace' | 'delete', neighbor: NewNeighbor): Promise<void> {
    neighborRequest(action, neighbor, 1);
    const index = await indexOf(this.rtnetlink, neighbor.device);
    await this.rtnetlink.request(neighborRequest(action, neighbor, index));
  }

  /**
   * The queueing disciplines of all links, or of one.
   * @throws ENODEV if `filter.device` names no link
   */
  async qdiscs(filter: { readonly device?: LinkReference } = {}): Promise<readonly QdiscInfo[]> {
    requireObject('filter', filter);
    const device = await findLink(this.rtnetlink, filter.device);
    const found = (await this.rtnetlink.request(listQdiscsRequest())).filter(
      ({ deviceIndex }) => device === undefined || deviceIndex === device.index,
    );
    return withDevices(this.rtnetlink, found, device);
  }

  /**
   * Makes a link slow: a token bucket, at its root unless you give a `parent`.
   * @param qdisc the token bucket, or any discipline that {@link qdiscs} listed
   * @throws EEXIST if another discipline than the default one is there
   * @example
   * ```ts
   * await net1.addQdisc({ device: 'veth1', kind: 'tbf', rate: 1_000_000, burst: 10_000, latencyMs: 50 });
   * ```
   * @see tc-tbf(8)
   */
  async addQdisc(qdisc: NewQdisc | QdiscInfo): Promise<void> {
    await this.#qdisc('add', qdisc);
  }

  /** Like {@link addQdisc}, in place of the discipline that is there. */
  async replaceQdisc(qdisc: NewQdisc | QdiscInfo): Promise<void> {
    await this.#qdisc('replace', qdisc);
  }

  async #qdisc(action: 'add' | 'replace', qdisc: NewQdisc | QdiscInfo): Promise<void> {
    checkQdisc(qdisc);
    await this.rtnetlink.request(qdiscRequest(action, qdisc, await indexOf(this.rtnetlink, qdisc.device)));
  }

  /**
   * Removes a discipline of a link. If it was at the root, the kernel puts the default one there.
   * @param which the link, for the discipline at its root, or a discipline that {@link qdiscs} listed
   * @throws ENOENT if only the default one is there
   */
  async deleteQdisc(which: string | number | QdiscInfo): Promise<void> {
    const { device, ...place } = typeof which === 'object' && which !== null ? which : { device: which };
    const index = await indexOf(this.rtnetlink, device);
    await this.rtnetlink.request(deleteQdiscRequest(index, String(device), place));
  }

  /** @internal */
  async makeLink(link: NewLink | LinkInfo): Promise<LinkInfo> {
    requireObject('link', link);
    newLinkValues(link, () => 1);
    const references = referencesOf(link);
    const links = await Promise.all(references.map((reference) => findLink(this.rtnetlink, reference)));
    const index = (reference: LinkReference): number => links[references.indexOf(reference)]?.index ?? 0;
    const { up, index: wanted, name } = link;
    const send = (): Promise<LinkInfo[]> =>
      this.rtnetlink.request(addLinkRequest(newLinkValues(link, index), { up, index: wanted }));
    // A request that names the peer's namespace by an fd needs it open until it is answered.
    const peerNamespace = 'peer' in link ? link.peer.namespace : undefined;
    const [made] = await (peerNamespace === undefined ? send() : peerNamespace.hold(send));
    return made ?? getLink(this.rtnetlink, name);
  }
}

function uses({ deviceIndex, nexthops = [], nexthopId }: BareRoute, index: number): boolean {
  const unseen = deviceIndex === undefined && nexthops.length === 0;
  // With net.ipv4.nexthop_compat_mode 0 only the kernel knows the links of a next-hop object. It has filtered already.
  if (unseen && nexthopId !== undefined) return true;
  return deviceIndex === index || nexthops.some((hop) => hop.deviceIndex === index);
}

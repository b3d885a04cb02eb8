/** What can be asked about routes. */

import { checkCidr, checkIp, formatIp } from '../../address.js';
import {
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../../arguments.js';
import { NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE } from '../netlink/message.js';
import { nothing, type Request } from '../netlink/request.js';
import { SCOPES, type Scope } from './address.js';
import { AF_INET, AF_INET6, type Family } from './family.js';
import {
  type BareRoute,
  decodeRoute,
  NEXTHOP_FLAGS,
  type Nexthop,
  ROUTE_PROTOCOLS,
  ROUTE_TYPES,
  type RouteProtocol,
  type RouteTable,
  type RouteType,
  RTM_DELROUTE,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  RTMSG_SIZE,
  routeTable,
  TABLES,
} from './route.js';

/** One way of a route that is to have several. */
export interface NewNexthop {
  /** The gateway. */
  readonly via?: string;
  /** Name or index of the link. */
  readonly device?: string | number;
  /** Its share, 1 to 256. **Default:** 1 */
  readonly weight?: number;
  /** The gateway is on the link though no address says so. */
  readonly onlink?: boolean;
}

/** A route to make, replace or delete; the words are those of `ip route`. */
export interface NewRoute {
  /** A network such as `192.0.2.0/24`, an address, or `default`. */
  readonly destination: string;
  /** For `default` where nothing else tells it. **Default:** 4 */
  readonly family?: Family;
  /** **Default:** `unicast` */
  readonly type?: RouteType;
  /** The gateway; of IPv4 routes also an IPv6 one. */
  readonly via?: string;
  /** Name or index of the link. */
  readonly device?: string | number;
  /** Several ways, in place of `via` and `device`. */
  readonly nexthops?: readonly NewNexthop[];
  /** **Default:** `boot` */
  readonly protocol?: RouteProtocol;
  /** **Default:** as `ip route`: `link` where there is no gateway, else `global` */
  readonly scope?: Scope;
  /** **Default:** `main`, or `local` for the types that belong there */
  readonly table?: RouteTable;
  /** Source address that packets of this host get. */
  readonly src?: string;
  /** IPv6: only for packets from this network. */
  readonly from?: string;
  /** Of the routes to one destination, the lowest wins. */
  readonly metric?: number;
  /** Type of service that it is for. */
  readonly tos?: number;
  /** MTU of the way, in bytes. */
  readonly mtu?: number;
  /** The largest TCP window. */
  readonly window?: number;
  /** The TCP segment size that is told the other end. */
  readonly advmss?: number;
  /** Hop limit of packets sent. */
  readonly hoplimit?: number;
  /** First TCP congestion window, in segments. */
  readonly initcwnd?: number;
  /** First TCP receive window, in segments. */
  readonly initrwnd?: number;
  /** IPv6: preference among routers (RFC 4191). */
  readonly preference?: 'medium' | 'high' | 'low' | number;
  /** IPv6: seconds that it stays. */
  readonly expires?: number;
  /** Id of a next-hop object (`ip nexthop`). */
  readonly nexthopId?: number;
  /** The gateway is on the link though no address says so. */
  readonly onlink?: boolean;
}

const family = { headerSize: RTMSG_SIZE, table: routeTable } as const;

function rtmsg(header: readonly number[], flags: number): Buffer {
  const bytes = Buffer.alloc(RTMSG_SIZE);
  bytes.set(header);
  // In the low byte of a number in the machine's order.
  new Uint32Array(bytes.buffer, bytes.byteOffset, RTMSG_SIZE / 4)[2] = flags;
  return bytes;
}

/** The routes that the kernel's filters let through. Linux before 4.20 sends all of the family. */
export function listRoutesRequest({
  family: addressFamily,
  table,
  protocol = 0,
  deviceIndex,
}: {
  readonly family: number;
  readonly table?: number;
  readonly protocol?: number;
  readonly deviceIndex?: number;
}): Request<BareRoute> {
  return {
    ...family,
    operation: 'list routes',
    type: RTM_GETROUTE,
    flags: NLM_F_DUMP,
    body: Buffer.concat([
      rtmsg([addressFamily, 0, 0, 0, 0, protocol], 0),
      routeTable.encode({ table, deviceIndex }),
    ]),
    decode: (message) => (message.type === RTM_NEWROUTE ? decodeRoute(message) : undefined),
  };
}

const FLAGS = {
  add: NLM_F_CREATE | NLM_F_EXCL,
  append: NLM_F_CREATE | NLM_F_APPEND,
  replace: NLM_F_CREATE | NLM_F_REPLACE,
  delete: 0,
} as const;

export type RouteAction = keyof typeof FLAGS;

/** Throws on what can't be right. */
export function checkRoute(route: NewRoute): void {
  requireObject('route', route);
  if (route.nexthops !== undefined) {
    if (!Array.isArray(route.nexthops) || route.nexthops.length === 0) {
      throw invalidArgType('route.nexthops', 'a non-empty array', route.nexthops);
    }
    if (route.via !== undefined || route.device !== undefined) {
      throw invalidArgValue('route.nexthops', route.nexthops, "can't stand beside via or device");
    }
  }
  encodeRoute('add', route, () => 1);
}

export function routeRequest(
  action: RouteAction,
  route: NewRoute,
  index: (device: string | number) => number,
): Request<undefined> {
  return {
    ...family,
    operation: `${action} route`,
    subject: route.destination,
    type: action === 'delete' ? RTM_DELROUTE : RTM_NEWROUTE,
    flags: FLAGS[action],
    body: encodeRoute(action, route, index),
    decode: nothing,
  };
}

function encodeRoute(
  action: RouteAction,
  route: NewRoute,
  index: (device: string | number) => number,
): Buffer {
  const { via, device, nexthops, src, metric, tos = 0, preference, expires, nexthopId, onlink } = route;
  const gateway = via === undefined ? undefined : checkIp('route.via', via);
  if (src !== undefined) checkIp('route.src', src);
  if (onlink !== undefined) requireBoolean('route.onlink', onlink);
  requireInteger('route.tos', tos, 0, 255);
  const destination =
    route.destination === 'default' ? undefined : checkCidr('route.destination', route.destination);
  const sample = gateway ?? (nexthops?.[0]?.via === undefined ? undefined : checkIp('via', nexthops[0].via));
  if (route.family !== undefined && route.family !== 4 && route.family !== 6) {
    throw invalidArgValue('route.family', route.family, 'must be 4 or 6');
  }
  const ipFamily = destination?.family ?? route.family ?? (sample?.length === 16 ? 6 : 4);
  const from = route.from === undefined ? undefined : checkCidr('route.from', route.from);
  const addressSize = ipFamily === 4 ? 4 : 16;
  const foreign = gateway !== undefined && gateway.length !== addressSize;

  // What rt_scope and rt_table are where they are not told: iproute_modify() of iproute2's ip/iproute.c.
  const deleting = action === 'delete';
  const type = route.type ?? (deleting ? 0 : 'unicast');
  const scope =
    route.scope ??
    (ipFamily === 6
      ? 'global'
      : type === 'local' || type === 'nat'
        ? 'host'
        : type === 'broadcast' || type === 'multicast' || type === 'anycast'
          ? 'link'
          : type === 'unicast' || type === 0
            ? deleting
              ? 'nowhere'
              : gateway === undefined && nexthops === undefined && nexthopId === undefined
                ? 'link'
                : 'global'
            : 'global');
  const isLocal = type === 'local' || type === 'broadcast' || type === 'nat' || type === 'anycast';
  const table = TABLES.number('route.table', route.table ?? (isLocal ? 'local' : 'main'));
  const protocol = route.protocol ?? (deleting ? 0 : 'boot');
  const { mtu, window, advmss, hoplimit, initcwnd, initrwnd } = route;
  const metrics = { mtu, window, advmss, hoplimit, initcwnd, initrwnd };
  const attributes = routeTable.encode({
    destination: destination && formatIp(destination.address),
    from: from && formatIp(from.address),
    deviceIndex: device === undefined ? undefined : index(device),
    ...(foreign ? { foreignVia: via } : { via }),
    metric,
    src,
    metrics: Object.values(metrics).some((value) => value !== undefined) ? metrics : undefined,
    nexthops: nexthops?.map((hop) => toNexthop(hop, addressSize, index)),
    table,
    preference,
    expiry: expires,
    nexthopId,
  });
  const header = rtmsg(
    [
      ipFamily === 4 ? AF_INET : AF_INET6,
      destination?.prefixLength ?? 0,
      from?.prefixLength ?? 0,
      tos,
      table < 256 ? table : 0,
      ROUTE_PROTOCOLS.number('route.protocol', protocol),
      SCOPES.number('route.scope', scope),
      ROUTE_TYPES.number('route.type', type),
    ],
    onlink ? NEXTHOP_FLAGS.bits('', ['onlink']) : 0,
  );
  return Buffer.concat([header, attributes]);
}

function toNexthop(
  hop: NewNexthop,
  addressSize: number,
  index: (device: string | number) => number,
): Nexthop {
  requireObject('route.nexthops', hop);
  const { via, device, weight = 1, onlink = false } = hop;
  return {
    via,
    index: device === undefined ? 0 : index(device),
    weight: requireInteger('weight', weight, 1, 256),
    flags: onlink ? NEXTHOP_FLAGS.bits('', ['onlink']) : 0,
    foreign: via !== undefined && checkIp('via', via).length !== addressSize,
  };
}

/** Requests about routes. */

import { checkCidr, checkIp, formatIp } from '../../address.js';
import {
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../../arguments.js';
import type { Change } from '../netlink/message.js';
import { changeRequest, getRequest, type Request } from '../netlink/request.js';
import { SCOPES, type Scope } from './address.js';
import { AF_INET, AF_INET6 } from './family.js';
import {
  type BareRoute,
  decodeRoute,
  NEXTHOP_FLAGS,
  type NewNexthop,
  type NewRoute,
  type Nexthop,
  ROUTE_PROTOCOLS,
  ROUTE_TYPES,
  type RouteType,
  RTMSG_SIZE,
  routeMessages,
  TABLES,
} from './route.js';
import { LOCKS, metricsTable } from './route-metrics.js';

/** Gives the index of a link that a route names. */
type IndexOf = (device: string | number) => number;

const ENCAPSULATION: readonly number[] = [21, 22]; // RTA_ENCAP_TYPE, RTA_ENCAP
function rtmsg(header: readonly number[], flags: number): Buffer {
  const bytes = Buffer.alloc(RTMSG_SIZE);
  bytes.set(header);
  // In the low byte of a number in the machine's order.
  new Uint32Array(bytes.buffer, bytes.byteOffset, RTMSG_SIZE / 4)[2] = flags;
  return bytes;
}

/** By what the kernel can filter. */
export type KernelRouteFilter = Partial<Pick<BareRoute, 'table' | 'protocol' | 'deviceIndex'>>;

/** The routes that the kernel's filters let through. Linux before 4.20 sends all of the family. */
export function listRoutesRequest(family: number, filter: KernelRouteFilter): Request<BareRoute> {
  const { protocol = 0, table, deviceIndex } = filter;
  const header = rtmsg([family, 0, 0, 0, 0, ROUTE_PROTOCOLS.number('protocol', protocol)], 0);
  const body = [header, routeMessages.table.encode({ table, deviceIndex })];
  return getRequest(routeMessages, 'list routes', body, decodeRoute);
}

/** Throws on what can't be right, before anything is sent. */
export function checkRoute(route: NewRoute): void {
  requireObject('route', route);
  const { nexthops, nexthopId } = route;
  if (nexthops !== undefined) {
    if (!Array.isArray(nexthops) || nexthops.length === 0) {
      throw invalidArgType('route.nexthops', 'a non-empty array', nexthops);
    }
    if (nexthopId === undefined && (route.via !== undefined || route.device !== undefined)) {
      throw invalidArgValue('route.nexthops', nexthops, "can't be given together with via or device");
    }
  }
  encodeRoute('add', route, () => 1);
}

export function routeRequest(action: Change, route: NewRoute, index: IndexOf): Request<undefined> {
  return changeRequest(routeMessages, action, 'route', route.destination, encodeRoute(action, route, index));
}

function encodeRoute(action: Change, route: NewRoute, index: IndexOf): Buffer[] {
  const { src, tos = 0, expires, nexthopId, locked, unknownMetrics } = route;
  // The kernel lists what a next-hop object stands for, and refuses it beside the id.
  const { via, device, nexthops } = nexthopId === undefined ? route : {};
  const unknown =
    nexthopId === undefined
      ? route.unknown
      : route.unknown?.filter(({ type }) => !ENCAPSULATION.includes(type));
  const gateway = via === undefined ? undefined : checkIp('route.via', via);
  if (src !== undefined) checkIp('route.src', src);
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

  // The defaults of rt_scope and rt_table: iproute_modify() of iproute2's ip/iproute.c.
  const deleting = action === 'delete';
  const type = route.type ?? (deleting ? 0 : 'unicast');
  const direct = gateway === undefined && nexthops === undefined && nexthopId === undefined;
  const scope = route.scope ?? (ipFamily === 6 ? 'global' : defaultScope(type, deleting, direct));
  const isLocal = type === 'local' || type === 'broadcast' || type === 'nat' || type === 'anycast';
  const table = TABLES.number('route.table', route.table ?? (isLocal ? 'local' : 'main'));
  const protocol = route.protocol ?? (deleting ? 0 : 'boot');
  const metrics = {
    ...metricsTable.pick(route),
    ...(locked && { lock: LOCKS.bits('route.locked', locked) }),
    ...(unknownMetrics && { unknown: unknownMetrics }),
  };
  const { metric, preference, realms } = route;
  const attributes = routeMessages.table.encode({
    destination: destination && formatIp(destination.address),
    from: from && formatIp(from.address),
    deviceIndex: device === undefined ? undefined : index(device),
    ...(foreign ? { foreignVia: via } : { via }),
    ...{ metric, src, table, preference, realms, nexthopId, unknown },
    metrics: Object.keys(metrics).length > 0 ? metrics : undefined,
    nexthops: nexthops?.map((hop) => toNexthop(hop, addressSize, index)),
    // An expired route may still be listed, until the kernel removes it.
    expiry: expires === undefined ? undefined : Math.max(1, Math.ceil(expires)),
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
    settableFlags('route', route),
  );
  return [header, attributes];
}

function defaultScope(type: RouteType, deleting: boolean, direct: boolean): Scope {
  if (type === 'local' || type === 'nat') return 'host';
  if (type === 'broadcast' || type === 'multicast' || type === 'anycast') return 'link';
  if (type !== 'unicast' && type !== 0) return 'global';
  if (deleting) return 'nowhere';
  return direct ? 'link' : 'global';
}

/** The kernel sets the other flags itself, and refuses some of them (fib_create_info() of net/ipv4/fib_semantics.c). */
function settableFlags(argument: string, { flags = [], onlink }: Pick<NewRoute, 'flags' | 'onlink'>): number {
  if (onlink !== undefined) requireBoolean(`${argument}.onlink`, onlink);
  NEXTHOP_FLAGS.bits(`${argument}.flags`, flags);
  return NEXTHOP_FLAGS.bits('', [
    ...((onlink ?? flags.includes('onlink')) ? ['onlink' as const] : []),
    ...(flags.includes('pervasive') ? ['pervasive' as const] : []),
  ]);
}

function toNexthop(hop: NewNexthop, addressSize: number, index: IndexOf): Nexthop {
  requireObject('route.nexthops', hop);
  const { via, device, weight = 1, unknown } = hop;
  const foreign = via !== undefined && checkIp('via', via).length !== addressSize;
  return {
    ...(foreign ? { foreignVia: via } : { gateway: via }),
    index: device === undefined ? 0 : index(device),
    weight: requireInteger('weight', weight, 1, 256),
    flags: settableFlags('route.nexthops', hop),
    unknown,
  };
}

/** Routes in rtnetlink's messages (rtnetlink(7), linux/rtnetlink.h). */

import { formatIp } from '../../address.js';
import {
  AttributeTable,
  attribute,
  type Codec,
  type FieldsOf,
  type UnknownAttribute,
  type Values,
} from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { ip, named, nested, readOnly, u8, u32 } from '../netlink/codecs.js';
import type { NetlinkMessage } from '../netlink/message.js';
import { enumNames, flagNames } from '../netlink/names.js';
import { SCOPES, type Scope } from './address.js';
import { AF_INET, AF_INET6, type Family, toFamily } from './family.js';
import { LOCKS, metricsTable, type RouteMetric, type RouteMetrics } from './route-metrics.js';

export const RTMSG_SIZE = 12;
const RTM_F_CLONED = 0x200;

export const TABLES = enumNames({ default: 253, main: 254, local: 255 }, 0xffffffff);
export const ROUTE_TYPES = enumNames({
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
  nat: 10,
});
export const ROUTE_PROTOCOLS = enumNames({
  unspec: 0,
  redirect: 1,
  kernel: 2,
  boot: 3,
  static: 4,
  gated: 8,
  ra: 9,
  mrt: 10,
  zebra: 11,
  bird: 12,
  dnrouted: 13,
  xorp: 14,
  ntk: 15,
  dhcp: 16,
  keepalived: 18,
  babel: 42,
  openr: 99,
  bgp: 186,
  isis: 187,
  ospf: 188,
  rip: 189,
  eigrp: 192,
});
const HOP_FLAGS = {
  dead: 1,
  pervasive: 2,
  onlink: 4,
  offload: 8,
  linkdown: 16,
  unresolved: 32,
  trap: 64,
} as const;
export const NEXTHOP_FLAGS = flagNames(HOP_FLAGS);
const PREFERENCES = enumNames({ medium: 0, high: 1, low: 3 });

/** A routing table's name or number. */
export type RouteTable = 'default' | 'main' | 'local' | number;
/** What is done with packets to a destination. */
export type RouteType = Exclude<ReturnType<typeof ROUTE_TYPES.nameOf>, number> | number;
/** Who made a route. */
export type RouteProtocol = Exclude<ReturnType<typeof ROUTE_PROTOCOLS.nameOf>, number> | number;
/** A property of a route or of one of its next hops. */
export type NexthopFlag = ReturnType<typeof NEXTHOP_FLAGS.namesOf>[number];

/** RTA_VIA: a gateway of the other family. */
const via: Codec<string> = {
  fits: (length) => length === 6 || length === 18,
  read: (from, start, end) => formatIp(from.subarray(start + 2, end)),
  write(value) {
    const address = ip.write(value, 'via', {});
    return Buffer.concat([bytes.u16(address.length === 4 ? AF_INET : AF_INET6), address]);
  },
};

/** struct rta_cacheinfo: seconds until the route is removed; none if it stays. */
const remaining: Codec<number | undefined> = readOnly({
  fits: (length) => length >= 12,
  read(from, start) {
    const expires = bytes.readI32(from, start + 8);
    return expires === 0 ? undefined : expires / 100;
  },
});

const NEXTHOP_SIZE = 8;
const nexthopFields = {
  /** A gateway of the route's family. */
  gateway: attribute(5, 'RTA_GATEWAY', ip),
  /** A gateway of the other family. */
  foreignVia: attribute(18, 'RTA_VIA', via),
};
const nexthopTable = new AttributeTable(nexthopFields);

/** A next hop as the kernel has it. */
export type Nexthop = Values<typeof nexthopFields> & Readonly<Record<'index' | 'weight' | 'flags', number>>;

/** struct rtnexthop, each with attributes of its own. */
const multipath: Codec<readonly Nexthop[]> = {
  fits: (length) => length >= NEXTHOP_SIZE,
  read(from, start, end) {
    const hops: Nexthop[] = [];
    for (let offset = start; offset + NEXTHOP_SIZE <= end; ) {
      const length = bytes.readU16(from, offset);
      if (length < NEXTHOP_SIZE || length > end - offset) break;
      hops.push({
        ...nexthopTable.decode(from, offset + NEXTHOP_SIZE, offset + length),
        index: bytes.readI32(from, offset + 4),
        weight: from[offset + 3] + 1,
        flags: from[offset + 2],
      });
      offset += bytes.align(length);
    }
    return hops;
  },
  write: (hops) =>
    Buffer.concat(
      hops.map(({ index, weight, flags, ...hop }) => {
        const attributes = nexthopTable.encode(hop);
        const length = bytes.u16(NEXTHOP_SIZE + attributes.length);
        return Buffer.concat([length, Buffer.of(flags, weight - 1), bytes.u32(index), attributes]);
      }),
    ),
};

const routeFields = {
  /** IPv6: only for packets from this network. */
  from: attribute(2, 'RTA_SRC', ip),
  /** The gateway; of IPv4 routes also an IPv6 one. */
  via: attribute(5, 'RTA_GATEWAY', ip),
  /** Of the routes to one destination, the lowest wins. */
  metric: attribute(6, 'RTA_PRIORITY', u32),
  /** Source address that packets of this host get. */
  src: attribute(7, 'RTA_PREFSRC', ip),
  /** IPv4 realms: the source realm times 65536, plus the destination realm. */
  realms: attribute(11, 'RTA_FLOW', u32),
  /** The table that it is in. **Default:** `main`, or `local` for the types that belong there */
  table: attribute(15, 'RTA_TABLE', named(u32, TABLES)),
  /** IPv6: preference among routers (RFC 4191). */
  preference: attribute(20, 'RTA_PREF', named(u8, PREFERENCES)),
  /** Id of a next-hop object (`ip nexthop`), in place of `via`, `device` and `nexthops`, which are then ignored. */
  nexthopId: attribute(30, 'RTA_NH_ID', u32),
};
const routeTable = new AttributeTable({
  ...routeFields,
  destination: attribute(1, 'RTA_DST', ip),
  deviceIndex: attribute(4, 'RTA_OIF', u32),
  metrics: attribute(8, 'RTA_METRICS', nested(metricsTable)),
  nexthops: attribute(9, 'RTA_MULTIPATH', multipath),
  expires: attribute(12, 'RTA_CACHEINFO', remaining),
  foreignVia: attribute(18, 'RTA_VIA', via),
  expiry: attribute(23, 'RTA_EXPIRES', u32),
});

/** RTM_NEWROUTE. */
export const routeMessages = { type: 24, headerSize: RTMSG_SIZE, table: routeTable } as const;

/** One way of a route that has several. */
export interface NewNexthop {
  /** The gateway; of IPv4 routes also an IPv6 one. */
  readonly via?: string;
  /** Name or index of the link. */
  readonly device?: string | number;
  /** Its share, 1 to 256. **Default:** 1 */
  readonly weight?: number;
  /** The gateway is on the link even if no address says so. **Default:** `flags` */
  readonly onlink?: boolean;
  /** Further properties. Those that describe a state are ignored. */
  readonly flags?: readonly NexthopFlag[];
  /** Attributes that this package has no name for, such as an encapsulation. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** One way of a route that has several, as the kernel has it. */
export interface NexthopInfo extends NewNexthop {
  /** Name of the link. */
  readonly device: string;
  /** Index of the link. */
  readonly deviceIndex: number;
  readonly weight: number;
  readonly flags: readonly NexthopFlag[];
}

/** A route to add, replace or delete. The names are those of `ip route`. */
export interface NewRoute extends RouteMetrics, FieldsOf<typeof routeFields> {
  /** A network such as `192.0.2.0/24`, an address, or `default`. */
  readonly destination: string;
  /** For `default`, if no gateway implies it. **Default:** 4 */
  readonly family?: Family;
  /** What is done with the packets. **Default:** `unicast` */
  readonly type?: RouteType;
  /** Name or index of the link. */
  readonly device?: string | number;
  /** Several ways, in place of `via` and `device`. */
  readonly nexthops?: readonly NewNexthop[];
  /** Who made it. **Default:** `boot` */
  readonly protocol?: RouteProtocol;
  /** How far the destination is. **Default:** as `ip route`: `link` without a gateway, else `global` */
  readonly scope?: Scope;
  /** Type of service that it is for. */
  readonly tos?: number;
  /** Metrics that the kernel must not change, such as `mtu` by path MTU discovery. */
  readonly locked?: readonly RouteMetric[];
  /** IPv6: seconds until it is removed. The kernel takes whole seconds; they are rounded up. */
  readonly expires?: number;
  /** The gateway is on the link even if no address says so. **Default:** `flags` */
  readonly onlink?: boolean;
  /** Further properties. Those that describe a state are ignored. */
  readonly flags?: readonly NexthopFlag[];
  /** Attributes that this package has no name for, such as an encapsulation. */
  readonly unknown?: readonly UnknownAttribute[];
  /** Metrics that this package has no name for. */
  readonly unknownMetrics?: readonly UnknownAttribute[];
}

/** A route, as `ip route` shows it. */
export interface RouteInfo extends NewRoute {
  readonly family: Family;
  readonly type: RouteType;
  /** Name of the link that it leaves by. */
  readonly device?: string;
  /** Index of that link. */
  readonly deviceIndex?: number;
  readonly nexthops?: readonly NexthopInfo[];
  readonly protocol: RouteProtocol;
  readonly scope: Scope;
  readonly table: RouteTable;
  readonly flags: readonly NexthopFlag[];
}

/** A route without the names of its links. */
export type BareRoute = Omit<RouteInfo, 'device' | 'nexthops'> & {
  readonly nexthops?: readonly Omit<NexthopInfo, 'device'>[];
};

/** Undefined for routes of other protocols than IP, and for cached ones. */
export function decodeRoute({ datagram, start, end }: NetlinkMessage): BareRoute | undefined {
  if (end - start < RTMSG_SIZE) return undefined;
  const family = toFamily(datagram[start]);
  const flags = bytes.readU32(datagram, start + 8);
  if (family === undefined || flags & RTM_F_CLONED) return undefined;
  // Changed in place: a list may have a million routes.
  const attributes = routeTable.decode(datagram, start + RTMSG_SIZE, end);
  const route = attributes as unknown as Mutable<BareRoute>;
  route.family = family;
  route.destination = network(attributes.destination, datagram[start + 1], family);
  route.type = ROUTE_TYPES.nameOf(datagram[start + 7]);
  route.protocol = ROUTE_PROTOCOLS.nameOf(datagram[start + 5]);
  route.scope = SCOPES.nameOf(datagram[start + 6]);
  route.table ??= TABLES.nameOf(datagram[start + 4]);
  route.flags = flags & 0xff ? NEXTHOP_FLAGS.namesOf(flags & 0xff) : NO_FLAGS;
  if (datagram[start + 2] > 0) route.from = network(attributes.from, datagram[start + 2], family);
  if (datagram[start + 3] > 0) route.tos = datagram[start + 3];
  const { foreignVia, metrics, nexthops } = attributes;
  if (nexthops !== undefined) {
    route.nexthops = nexthops.map(
      ({ gateway, foreignVia: via = gateway, index, flags: hopFlags, ...hop }) => ({
        ...(via !== undefined && { via }),
        deviceIndex: index,
        flags: NEXTHOP_FLAGS.namesOf(hopFlags),
        ...hop,
      }),
    );
  }
  if (foreignVia === undefined && metrics === undefined) return route;
  const { foreignVia: _via, metrics: _metrics, ...rest } = attributes;
  const { lock, unknown: unknownMetrics, ...values } = metrics ?? {};
  return {
    ...(rest as unknown as BareRoute),
    ...values,
    ...(lock !== undefined && { locked: LOCKS.namesOf(lock) }),
    ...(unknownMetrics !== undefined && { unknownMetrics }),
    ...(foreignVia !== undefined && { via: foreignVia }),
  };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
const NO_FLAGS: readonly NexthopFlag[] = Object.freeze([]);

/** Adds the names of a route's links, in place. */
export function nameRoute(route: BareRoute, nameOf: (index: number) => string): RouteInfo {
  const named = route as Mutable<RouteInfo>;
  if (route.nexthops !== undefined) {
    named.nexthops = route.nexthops.map((hop) => ({ ...hop, device: nameOf(hop.deviceIndex) }));
  } else if (route.deviceIndex !== undefined) {
    named.device = nameOf(route.deviceIndex);
  }
  return named;
}

function network(address: string | undefined, prefixLength: number, family: Family): string {
  if (prefixLength === 0 && address === undefined) return 'default';
  return `${address ?? (family === 4 ? '0.0.0.0' : '::')}/${prefixLength}`;
}

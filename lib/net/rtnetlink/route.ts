/** Routes in rtnetlink's messages (rtnetlink(7), linux/rtnetlink.h). */

import { formatIp } from '../../address.js';
import { AttributeTable, attribute, type Codec, type UnknownAttribute } from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { ip, named, nested, readOnly, u8, u16, u32 } from '../netlink/codecs.js';
import type { NetlinkMessage } from '../netlink/message.js';
import { enumNames, flagNames } from '../netlink/names.js';
import { SCOPES, type Scope } from './address.js';
import { AF_INET, AF_INET6, type Family, toFamily } from './family.js';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;
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
export const NEXTHOP_FLAGS = flagNames({
  dead: 1,
  pervasive: 2,
  onlink: 4,
  offload: 8,
  linkdown: 16,
  unresolved: 32,
  trap: 64,
});
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

/** struct rta_cacheinfo: seconds that the route stays; none where it stays for good. */
const remaining: Codec<number | undefined> = readOnly({
  fits: (length) => length >= 12,
  read(from, start) {
    const expires = bytes.readI32(from, start + 8);
    return expires === 0 ? undefined : expires / 100;
  },
});

export interface Nexthop {
  readonly via?: string;
  readonly index: number;
  readonly weight: number;
  readonly flags: number;
  /** Whether the gateway is of the other family than the route. */
  readonly foreign: boolean;
}

const NEXTHOP_SIZE = 8;
const nexthopTable = new AttributeTable({
  gateway: attribute(5, 'RTA_GATEWAY', ip),
  via: attribute(18, 'RTA_VIA', via),
});

/** struct rtnexthop, each with attributes of its own. */
const multipath: Codec<readonly Nexthop[]> = {
  fits: (length) => length >= NEXTHOP_SIZE,
  read(from, start, end) {
    const hops: Nexthop[] = [];
    for (let offset = start; offset + NEXTHOP_SIZE <= end; ) {
      const length = bytes.readU16(from, offset);
      if (length < NEXTHOP_SIZE || length > end - offset) break;
      const hop = nexthopTable.decode(from, offset + NEXTHOP_SIZE, offset + length);
      const gateway = hop.gateway ?? hop.via;
      hops.push({
        ...(gateway !== undefined && { via: gateway }),
        index: bytes.readI32(from, offset + 4),
        weight: from[offset + 3] + 1,
        flags: from[offset + 2],
        foreign: hop.via !== undefined,
      });
      offset += bytes.align(length);
    }
    return hops;
  },
  write: (hops) =>
    Buffer.concat(
      hops.map(({ via: gateway, index, weight, flags, foreign }) => {
        const attributes = nexthopTable.encode(foreign ? { via: gateway } : { gateway });
        return Buffer.concat([
          bytes.u16(NEXTHOP_SIZE + attributes.length),
          Buffer.of(flags, weight - 1),
          bytes.u32(index),
          attributes,
        ]);
      }),
    ),
};

export const routeTable = new AttributeTable({
  destination: attribute(1, 'RTA_DST', ip),
  from: attribute(2, 'RTA_SRC', ip),
  inputIndex: attribute(3, 'RTA_IIF', u32),
  deviceIndex: attribute(4, 'RTA_OIF', u32),
  via: attribute(5, 'RTA_GATEWAY', ip),
  metric: attribute(6, 'RTA_PRIORITY', u32),
  src: attribute(7, 'RTA_PREFSRC', ip),
  metrics: attribute(
    8,
    'RTA_METRICS',
    nested(
      new AttributeTable({
        lock: attribute(1, 'RTAX_LOCK', u32),
        mtu: attribute(2, 'RTAX_MTU', u32),
        window: attribute(3, 'RTAX_WINDOW', u32),
        advmss: attribute(8, 'RTAX_ADVMSS', u32),
        hoplimit: attribute(10, 'RTAX_HOPLIMIT', u32),
        initcwnd: attribute(11, 'RTAX_INITCWND', u32),
        initrwnd: attribute(14, 'RTAX_INITRWND', u32),
      }),
    ),
  ),
  nexthops: attribute(9, 'RTA_MULTIPATH', multipath),
  expires: attribute(12, 'RTA_CACHEINFO', remaining),
  table: attribute(15, 'RTA_TABLE', named(u32, TABLES)),
  mark: attribute(16, 'RTA_MARK', u32),
  foreignVia: attribute(18, 'RTA_VIA', via),
  preference: attribute(20, 'RTA_PREF', named(u8, PREFERENCES)),
  encapsulationType: attribute(21, 'RTA_ENCAP_TYPE', u16),
  expiry: attribute(23, 'RTA_EXPIRES', u32),
  nexthopId: attribute(30, 'RTA_NH_ID', u32),
});

/** One way of a route that has several. */
export interface NexthopInfo {
  /** The gateway. */
  readonly via?: string;
  /** Index of the link. */
  readonly deviceIndex: number;
  /** Name of the link. */
  readonly device: string;
  /** Its share: this of the sum of all. */
  readonly weight: number;
  /** Further properties. */
  readonly flags: readonly NexthopFlag[];
}

/** A route, as `ip route` shows it. */
export interface RouteInfo {
  /** 4 for IPv4, 6 for IPv6. */
  readonly family: Family;
  /** A network such as `192.0.2.0/24`, a host as /32 or /128, or `default`. */
  readonly destination: string;
  /** What is done with the packets. */
  readonly type: RouteType;
  /** The gateway. */
  readonly via?: string;
  /** Name of the link that it leaves by. */
  readonly device?: string;
  /** Index of that link. */
  readonly deviceIndex?: number;
  /** Several ways, in place of `via` and `device`. */
  readonly nexthops?: readonly NexthopInfo[];
  /** Who made it. */
  readonly protocol: RouteProtocol;
  /** How far the destination is. */
  readonly scope: Scope;
  /** The table that it is in. */
  readonly table: RouteTable;
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
  /** Seconds that it stays. */
  readonly expires?: number;
  /** Id of a next-hop object (`ip nexthop`). */
  readonly nexthopId?: number;
  /** Further properties. */
  readonly flags: readonly NexthopFlag[];
  /** What the kernel said besides. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** A route whose links have no names yet. */
export type BareRoute = Omit<RouteInfo, 'device' | 'nexthops'> & {
  readonly nexthops?: readonly Omit<NexthopInfo, 'device'>[];
};

/** Undefined for what is no route of IP, or a cached one. */
export function decodeRoute({ datagram, start, end }: NetlinkMessage): BareRoute | undefined {
  if (end - start < RTMSG_SIZE) return undefined;
  const family = toFamily(datagram[start]);
  const flags = bytes.readU32(datagram, start + 8);
  if (family === undefined || flags & RTM_F_CLONED) return undefined;
  // Changed in place, by assignments: a list may have a million of them.
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
    route.nexthops = nexthops.map(({ via: hop, index, weight, flags: hopFlags }) => ({
      ...(hop !== undefined && { via: hop }),
      deviceIndex: index,
      weight,
      flags: NEXTHOP_FLAGS.namesOf(hopFlags),
    }));
  }
  if (foreignVia === undefined && metrics === undefined) return route;
  const { foreignVia: _via, metrics: _metrics, ...rest } = attributes;
  return {
    ...(rest as unknown as BareRoute),
    ...metrics,
    ...(foreignVia !== undefined && { via: foreignVia }),
  };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
const NO_FLAGS: readonly NexthopFlag[] = Object.freeze([]);

/** Gives the links of a route their names, in place. */
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

/** Neighbours (ARP and NDP) and the forwarding database of bridges and VXLANs (linux/neighbour.h). */

import { AttributeTable, attribute, type Codec, type UnknownAttribute } from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { i32, ip, linkLayerAddress, named, readOnly, u8, u16, u16be, u32 } from '../netlink/codecs.js';
import type { NetlinkMessage } from '../netlink/message.js';
import { enumNames, flagNames } from '../netlink/names.js';
import { AF_BRIDGE, type Family, toFamily } from './family.js';
import { ROUTE_PROTOCOLS, type RouteProtocol } from './route.js';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;
export const NDMSG_SIZE = 12;

export const NTF_SELF = 2;
export const NTF_MASTER = 4;
export const NTF_PROXY = 8;
export const NEIGHBOR_FLAGS = flagNames({
  use: 1,
  self: NTF_SELF,
  master: NTF_MASTER,
  proxy: NTF_PROXY,
  extern_learn: 16,
  offload: 32,
  sticky: 64,
  router: 128,
});
export const NEIGHBOR_STATES = enumNames(
  {
    NONE: 0,
    INCOMPLETE: 1,
    REACHABLE: 2,
    STALE: 4,
    DELAY: 8,
    PROBE: 16,
    FAILED: 32,
    NOARP: 64,
    PERMANENT: 128,
  },
  0xffff,
);

/** What is known of a neighbour. */
export type NeighborState = Exclude<ReturnType<typeof NEIGHBOR_STATES.nameOf>, number> | number;
/** A property of a neighbour or of an entry of a forwarding database. */
export type NeighborFlag = ReturnType<typeof NEIGHBOR_FLAGS.namesOf>[number];

/** How long ago something happened, in seconds. */
export interface NeighborAges {
  /** It was last known to be there. */
  readonly confirmed: number;
  /** It was last used. */
  readonly used: number;
  /** The entry last changed. */
  readonly updated: number;
}

/** struct nda_cacheinfo: ages in clock_t. */
const cacheInfo: Codec<NeighborAges> = readOnly({
  fits: (length) => length >= 16,
  read: (from, start) => ({
    confirmed: bytes.readU32(from, start) / 100,
    used: bytes.readU32(from, start + 4) / 100,
    updated: bytes.readU32(from, start + 8) / 100,
  }),
});

export const neighborTable = new AttributeTable({
  address: attribute(1, 'NDA_DST', ip),
  mac: attribute(2, 'NDA_LLADDR', linkLayerAddress),
  ages: attribute(3, 'NDA_CACHEINFO', cacheInfo),
  probes: attribute(4, 'NDA_PROBES', readOnly(u32)),
  vlan: attribute(5, 'NDA_VLAN', u16),
  port: attribute(6, 'NDA_PORT', u16be),
  vni: attribute(7, 'NDA_VNI', u32),
  viaIndex: attribute(8, 'NDA_IFINDEX', u32),
  masterIndex: attribute(9, 'NDA_MASTER', u32),
  linkNetnsid: attribute(10, 'NDA_LINK_NETNSID', i32),
  sourceVni: attribute(11, 'NDA_SRC_VNI', u32),
  protocol: attribute(12, 'NDA_PROTOCOL', named(u8, ROUTE_PROTOCOLS)),
});

/** A neighbour, as `ip neighbor` shows it. */
export interface NeighborInfo {
  /** Index of the link that it is on. */
  readonly deviceIndex: number;
  /** Name of that link. */
  readonly device: string;
  /** 4: by ARP; 6: by NDP. */
  readonly family: Family;
  /** Its address. */
  readonly address: string;
  /** Its link-layer address, where it is known. */
  readonly mac?: string;
  /** What is known of it. */
  readonly state: NeighborState;
  /** `proxy`: this host answers for it; `router`: it is one. */
  readonly flags: readonly NeighborFlag[];
  /** How often it was asked for without an answer. */
  readonly probes?: number;
  /** Seconds since it was last confirmed, used and changed. */
  readonly ages?: NeighborAges;
  /** Who made the entry. */
  readonly protocol?: RouteProtocol;
  /** What the kernel said besides. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** An entry of a forwarding database, as `bridge fdb` shows it. */
export interface FdbEntry {
  /** The link-layer address. */
  readonly mac: string;
  /** Index of the link that it is behind: a port, or the bridge itself. */
  readonly deviceIndex: number;
  /** Name of that link. */
  readonly device: string;
  /** Index of the bridge. */
  readonly masterIndex?: number;
  /** In this VLAN. */
  readonly vlan?: number;
  /** Of a VXLAN: the host behind which it is. */
  readonly address?: string;
  /** Of a VXLAN: the port of that host, where it is another than the link's. */
  readonly port?: number;
  /** Of a VXLAN: the network identifier there. */
  readonly vni?: number;
  /** Of a VXLAN: the network identifier here. */
  readonly sourceVni?: number;
  /** Index of the link towards that host. */
  readonly viaIndex?: number;
  /** `permanent`: of this host; `static`: made by a user; none: learned. */
  readonly state?: 'permanent' | 'static' | 'stale';
  /** `self`: kept by the link; `master`: by its bridge; `extern_learn`, `sticky`, `offload`. */
  readonly flags: readonly NeighborFlag[];
  /** Seconds since it was used and changed. */
  readonly ages?: NeighborAges;
  /** What the kernel said besides. */
  readonly unknown?: readonly UnknownAttribute[];
}

export function ndmsg(family: number, index: number, state: number, flags: number): Buffer {
  return Buffer.concat([Buffer.of(family, 0, 0, 0), bytes.u32(index), bytes.u16(state), Buffer.of(flags, 0)]);
}

export function decodeNeighbor({ payload }: NetlinkMessage): Omit<NeighborInfo, 'device'> | undefined {
  if (payload.length < NDMSG_SIZE) return undefined;
  const family = toFamily(payload[0]);
  const { address, ...rest } = neighborTable.decode(payload, NDMSG_SIZE);
  if (family === undefined || address === undefined) return undefined;
  return {
    deviceIndex: bytes.readI32(payload, 4),
    family,
    address,
    state: NEIGHBOR_STATES.nameOf(bytes.readU16(payload, 8)),
    flags: NEIGHBOR_FLAGS.namesOf(payload[10]),
    ...rest,
  };
}

export function decodeFdbEntry({ payload }: NetlinkMessage): Omit<FdbEntry, 'device'> | undefined {
  if (payload.length < NDMSG_SIZE || payload[0] !== AF_BRIDGE) return undefined;
  const {
    mac,
    probes: _probes,
    linkNetnsid: _id,
    protocol: _protocol,
    ...rest
  } = neighborTable.decode(payload, NDMSG_SIZE);
  if (mac === undefined) return undefined;
  const state = fdbState(bytes.readU16(payload, 8));
  return {
    mac,
    deviceIndex: bytes.readI32(payload, 4),
    ...(state !== undefined && { state }),
    flags: NEIGHBOR_FLAGS.namesOf(payload[10]),
    ...rest,
  };
}

/** state_n2a() of iproute2's bridge/fdb.c: the states of neighbours mean something else here. */
function fdbState(state: number): FdbEntry['state'] {
  if (state & 128) return 'permanent';
  if (state & 64) return 'static';
  if (state & 4) return 'stale';
  return undefined;
}

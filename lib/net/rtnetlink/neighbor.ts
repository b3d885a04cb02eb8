/** Neighbours of ARP and NDP: messages and requests (linux/neighbour.h). */

import { checkIp } from '../../address.js';
import { invalidArgValue, requireBoolean, requireObject } from '../../arguments.js';
import {
  AttributeTable,
  attribute,
  type Codec,
  type FieldsOf,
  type UnknownAttribute,
} from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { i32, ip, linkLayerAddress, named, readOnly, u8, u16, u16be, u32 } from '../netlink/codecs.js';
import type { Change, NetlinkMessage } from '../netlink/message.js';
import { enumNames, flagNames } from '../netlink/names.js';
import { changeRequest, getRequest, type Request } from '../netlink/request.js';
import { AF_INET, AF_INET6, type Family, toFamily } from './family.js';
import { ROUTE_PROTOCOLS, type RouteProtocol } from './route.js';

export const NDMSG_SIZE = 12;

// NTF_* of the header's eight bits, and from bit 8 on NTF_EXT_* of NDA_FLAGS_EXT.
const FLAGS = flagNames({
  use: 1,
  self: 2,
  master: 4,
  proxy: 8,
  extern_learn: 16,
  offload: 32,
  sticky: 64,
  router: 128,
  managed: 0x100,
  locked: 0x200,
  extern_valid: 0x400,
});
const STATES = enumNames(
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
export type NeighborState = Exclude<ReturnType<typeof STATES.nameOf>, number> | number;
/** A property of a neighbour or of an entry of a forwarding database. */
export type NeighborFlag = ReturnType<typeof FLAGS.namesOf>[number];

/** How long ago something happened, in seconds. */
export interface NeighborAges {
  /** The neighbour was last known to be there. */
  readonly confirmed: number;
  /** The entry was last used. */
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

const fdbFields = {
  /** In this VLAN. */
  vlan: attribute(5, 'NDA_VLAN', u16),
  /** Of a VXLAN: the host behind which it is. */
  address: attribute(1, 'NDA_DST', ip),
  /** Of a VXLAN: the port of that host. **Default:** the VXLAN's */
  port: attribute(6, 'NDA_PORT', u16be),
  /** Of a VXLAN: the network identifier there. **Default:** the VXLAN's */
  vni: attribute(7, 'NDA_VNI', u32),
  /** Of a VXLAN: the network identifier here. */
  sourceVni: attribute(11, 'NDA_SRC_VNI', u32),
  /** Of a VXLAN: index of the link towards that host. */
  viaIndex: attribute(8, 'NDA_IFINDEX', u32),
};
/** Where an entry of a forwarding database leads. */
export interface FdbDestination extends FieldsOf<typeof fdbFields> {}
export const fdbTable = new AttributeTable(fdbFields);

export const neighborTable = new AttributeTable({
  ...fdbFields,
  mac: attribute(2, 'NDA_LLADDR', linkLayerAddress),
  ages: attribute(3, 'NDA_CACHEINFO', cacheInfo),
  probes: attribute(4, 'NDA_PROBES', readOnly(u32)),
  masterIndex: attribute(9, 'NDA_MASTER', u32),
  linkNetnsid: attribute(10, 'NDA_LINK_NETNSID', readOnly(i32)),
  protocol: attribute(12, 'NDA_PROTOCOL', named(u8, ROUTE_PROTOCOLS)),
  extendedFlags: attribute(15, 'NDA_FLAGS_EXT', u32),
});

/** A neighbour to add, replace or delete. */
export interface NewNeighbor {
  /** Name or index of the link that it is on. */
  readonly device: string | number;
  /** Its address. */
  readonly address: string;
  /** Its link-layer address. Required unless you give `proxy`, or a `state` that needs none. */
  readonly mac?: string;
  /** **Default:** `PERMANENT` */
  readonly state?: NeighborState;
  /** Whether this host answers for that address on the link. **Default:** `flags` */
  readonly proxy?: boolean;
  /** Whether the neighbour is a router (NDP). **Default:** `flags` */
  readonly router?: boolean;
  /** `proxy`, `router`, `extern_learn`, or `managed`: the kernel keeps it resolved. **Default:** none */
  readonly flags?: readonly NeighborFlag[];
  /** Who made the entry. */
  readonly protocol?: RouteProtocol;
  /** Attributes that this package has no name for. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** A neighbour, as `ip neighbor` shows it. */
export interface NeighborInfo extends NewNeighbor {
  /** Index of the link that it is on. */
  readonly deviceIndex: number;
  /** Name of that link. */
  readonly device: string;
  /** 4: by ARP; 6: by NDP. */
  readonly family: Family;
  readonly state: NeighborState;
  readonly flags: readonly NeighborFlag[];
  /** How many requests got no answer. */
  readonly probes?: number;
  /** Seconds since it was last confirmed, used and changed. */
  readonly ages?: NeighborAges;
}

export function neighborFlags(header: number, extended = 0): readonly NeighborFlag[] {
  return FLAGS.namesOf(header | (extended << 8));
}

/** @returns those of the header, and the attribute for the others if there are any */
export function flagBits(
  argument: string,
  flags: readonly NeighborFlag[],
): [header: number, extended: number | undefined] {
  const bits = FLAGS.bits(argument, flags);
  return [bits & 0xff, bits >> 8 || undefined];
}

export function ndmsg(family: number, index: number, state: number, flags: number): Buffer {
  return Buffer.concat([Buffer.of(family, 0, 0, 0), bytes.u32(index), bytes.u16(state), Buffer.of(flags, 0)]);
}

/** A neighbour without the name of its link. */
export type BareNeighbor = Omit<NeighborInfo, 'device'>;

export function decodeNeighbor({ payload }: NetlinkMessage): BareNeighbor | undefined {
  if (payload.length < NDMSG_SIZE) return undefined;
  const family = toFamily(payload[0]);
  const { address, extendedFlags, ...rest } = neighborTable.decode(payload, NDMSG_SIZE);
  if (family === undefined || address === undefined) return undefined;
  return {
    deviceIndex: bytes.readI32(payload, 4),
    family,
    address,
    state: STATES.nameOf(bytes.readU16(payload, 8)),
    flags: neighborFlags(payload[10], extendedFlags),
    ...rest,
  };
}

/** RTM_NEWNEIGH. */
export const neighborMessages = { type: 28, headerSize: NDMSG_SIZE, table: neighborTable } as const;

/** The neighbours that the kernel's filters let through, or the addresses that this host answers for. */
export function listNeighborsRequest(
  family: number,
  deviceIndex: number | undefined,
  proxy: boolean,
): Request<BareNeighbor> {
  const header = ndmsg(family, 0, 0, flagBits('', proxy ? ['proxy'] : [])[0]);
  const attributes = neighborTable.encode({ viaIndex: deviceIndex });
  return getRequest(neighborMessages, 'list neighbors', [header, attributes], decodeNeighbor);
}

export type NeighborChange = Exclude<Change, 'append'>;

export function neighborRequest(
  action: NeighborChange,
  neighbor: NewNeighbor,
  index: number,
): Request<undefined> {
  requireObject('neighbor', neighbor);
  const { address, mac, state, flags = [], protocol, unknown } = neighbor;
  const v4 = checkIp('neighbor.address', address).length === 4;
  const set = new Set(flags);
  for (const name of ['proxy', 'router'] as const) {
    const wanted = neighbor[name];
    if (wanted !== undefined) requireBoolean(`neighbor.${name}`, wanted) ? set.add(name) : set.delete(name);
  }
  const deleting = action === 'delete';
  if (mac === undefined && state === undefined && !set.has('proxy') && !deleting) {
    throw invalidArgValue('neighbor.mac', mac, 'is required for an entry that is no proxy');
  }
  const [header, extendedFlags] = flagBits('neighbor.flags', [...set]);
  const stateBits = deleting ? 0 : STATES.number('neighbor.state', state ?? 'PERMANENT');
  return changeRequest(neighborMessages, action, 'neighbor', address, [
    ndmsg(v4 ? AF_INET : AF_INET6, index, stateBits, header),
    neighborTable.encode(deleting ? { address } : { address, mac, protocol, extendedFlags, unknown }),
  ]);
}

/** Links as the kernel tells them. */

import type { UnknownAttribute } from '../netlink/attributes.js';
import { readI32, readU16, readU32 } from '../netlink/bytes.js';
import type { NetlinkMessage } from '../netlink/message.js';
import { enumNames, flagNames } from '../netlink/names.js';
import type { BridgePortDetails } from './bridge.js';
import { type LinkDetails, toDetails } from './link-kinds.js';
import { IFF_UP, IFINFOMSG_SIZE, type LinkStatistics, linkTable } from './link-message.js';

const IFF_RUNNING = 0x40;

// In the order of `ip link`.
const FLAGS = flagNames({
  LOOPBACK: 0x8,
  BROADCAST: 0x2,
  POINTOPOINT: 0x10,
  MULTICAST: 0x1000,
  NOARP: 0x80,
  ALLMULTI: 0x200,
  PROMISC: 0x100,
  MASTER: 0x400,
  SLAVE: 0x800,
  DEBUG: 0x4,
  DYNAMIC: 0x8000,
  AUTOMEDIA: 0x4000,
  PORTSEL: 0x2000,
  NOTRAILERS: 0x20,
  UP: IFF_UP,
  LOWER_UP: 0x10000,
  DORMANT: 0x20000,
  ECHO: 0x40000,
});
// linux/if_arp.h
const TYPES = enumNames(
  {
    ether: 1,
    infiniband: 32,
    ppp: 512,
    ipip: 768,
    tunnel6: 769,
    loopback: 772,
    sit: 776,
    gre: 778,
    gre6: 823,
    netlink: 824,
    none: 0xfffe,
  },
  0xffff,
);

/** A flag of a link, as `ip link` has it (netdevice(7)). */
export type LinkFlag = ReturnType<typeof FLAGS.namesOf>[number] | 'NO-CARRIER';

/** A link as the kernel had it when it was asked: all that `ip -d addr` shows of it but its addresses. */
export interface LinkInfo {
  /** Its number in its namespace. */
  readonly index: number;
  /** Its name, at most 15 bytes. */
  readonly name: string;
  /** Further names (`ip link property add altname`). */
  readonly alternativeNames?: readonly string[];
  /** The kind of virtual link, such as `veth` or `bridge`; none for hardware and the loopback device. */
  readonly kind?: string;
  /** What links of this kind have; its own `kind` tells which. None for kinds that this package does not know. */
  readonly details?: LinkDetails;
  /** Of the hardware, or what stands in for it. */
  readonly type: 'ether' | 'loopback' | 'none' | string | number;
  /** In the order of `ip link`. */
  readonly flags: readonly LinkFlag[];
  /** The same as a number (netdevice(7)). */
  readonly flagBits: number;
  /** Whether it is switched on; whether it works is in `state`. */
  readonly up: boolean;
  /** Its operational state (RFC 2863). */
  readonly state:
    | 'UNKNOWN'
    | 'NOTPRESENT'
    | 'DOWN'
    | 'LOWERLAYERDOWN'
    | 'TESTING'
    | 'DORMANT'
    | 'UP'
    | number;
  /** How the state goes up. */
  readonly mode: 'DEFAULT' | 'DORMANT' | 'TESTING' | number;
  /** Whether there is a carrier. */
  readonly carrier?: boolean;
  /** How often the carrier came or went. */
  readonly carrierChanges?: number;
  /** In bytes. */
  readonly mtu: number;
  /** The smallest MTU that it takes. */
  readonly minMtu?: number;
  /** The largest MTU that it takes; 0: no limit. */
  readonly maxMtu?: number;
  /** Its queueing discipline. */
  readonly qdisc?: string;
  /** In packets. */
  readonly txQueueLength: number;
  /** The group that it is in; 0 is `default`. */
  readonly group: number;
  /** Its link-layer address, where it has one. */
  readonly mac?: string;
  /** The broadcast address of its link layer. */
  readonly broadcast?: string;
  /** The address that its hardware came with. */
  readonly permanentMac?: string;
  /** Index of the bridge, or other link, that it is a port of. */
  readonly masterIndex?: number;
  /** The name of that. */
  readonly master?: string;
  /** What kind of port it is, such as `bridge`. */
  readonly portKind?: string;
  /** As a port of a bridge. */
  readonly port?: BridgePortDetails;
  /** Index of the link that it belongs to: a veth's peer, a VLAN's parent. `ip` writes `veth1@if2`. */
  readonly linkIndex?: number;
  /** The name of that, where it is in the same namespace. */
  readonly link?: string;
  /** Where that is in another namespace: the id that this namespace has for it. */
  readonly linkNetnsid?: number;
  /** A text of the user's. */
  readonly alias?: string;
  /** How many ask for all frames. */
  readonly promiscuity?: number;
  /** How many ask for all multicast frames. */
  readonly allMulticast?: number;
  /** Transmit queues. */
  readonly txQueues?: number;
  /** Receive queues. */
  readonly rxQueues?: number;
  /** The largest super-packet for segmentation, in bytes. */
  readonly gsoMaxSize?: number;
  /** The most segments of a super-packet. */
  readonly gsoMaxSegments?: number;
  /** The largest super-packet on receipt, in bytes. */
  readonly groMaxSize?: number;
  /** Whether it is held down by a protocol. */
  readonly protocolDown?: boolean;
  /** How IPv6 link-local addresses are made. */
  readonly addressGeneration?: 'eui64' | 'none' | 'stable_secret' | 'random' | number;
  /** Packets and bytes, where they were asked for. */
  readonly statistics?: LinkStatistics;
  /** What the kernel said besides; views of a larger buffer. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** A link from the payload of a message; undefined where that is too short. Counters may come unasked. */
export function decodeLink({ payload }: NetlinkMessage, withStatistics = false): LinkInfo | undefined {
  if (payload.length < IFINFOMSG_SIZE) return undefined;
  const flags = readU32(payload, 8);
  const {
    name = '',
    mtu = 0,
    state = 'UNKNOWN',
    mode = 'DEFAULT',
    group = 0,
    txQueueLength = 0,
    info,
    families,
    masterIndex,
    linkIndex,
    newNetnsid: _netnsid,
    newIndex: _index,
    statistics,
    namespaceFd: _fd,
    filter: _filter,
    ...rest
  } = linkTable.decode(payload, IFINFOMSG_SIZE);
  const { kind, data, portKind, port } = info ?? {};
  const details = toDetails(kind, data);
  const addressGeneration = families?.inet6?.addressGeneration;
  const up = (flags & IFF_UP) !== 0;
  return {
    index: readI32(payload, 4),
    name,
    ...(kind !== undefined && { kind }),
    ...(details !== undefined && { details }),
    type: TYPES.nameOf(readU16(payload, 2)),
    flags: up && !(flags & IFF_RUNNING) ? ['NO-CARRIER', ...FLAGS.namesOf(flags)] : FLAGS.namesOf(flags),
    flagBits: flags,
    up,
    state,
    mode,
    mtu,
    group,
    txQueueLength,
    ...(masterIndex !== undefined && masterIndex !== 0 && { masterIndex }),
    // A link that belongs to itself says so by its own index; 0 is none, as `ip` shows it.
    ...(linkIndex !== undefined && { linkIndex }),
    ...(portKind !== undefined && { portKind }),
    ...(portKind === 'bridge' && port !== undefined && { port: port as BridgePortDetails }),
    ...(addressGeneration !== undefined && { addressGeneration }),
    ...(withStatistics && statistics !== undefined && { statistics }),
    ...rest,
  };
}

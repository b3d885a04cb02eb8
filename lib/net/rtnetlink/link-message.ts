/** Links in rtnetlink's messages (rtnetlink(7), linux/if_link.h). */

import { AttributeTable, attribute, type Codec, eachAttribute, type Values } from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import {
  flag,
  i32,
  linkLayerAddress,
  named,
  nested,
  nestedBy,
  readOnly,
  text,
  u8,
  u32,
} from '../netlink/codecs.js';
import { enumNames } from '../netlink/names.js';
import { bridgePortTable } from './bridge.js';
import { kindTables } from './link-kinds.js';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const IFINFOMSG_SIZE = 16;
export const IFF_UP = 0x1;

const STATES = enumNames({
  UNKNOWN: 0,
  NOTPRESENT: 1,
  DOWN: 2,
  LOWERLAYERDOWN: 3,
  TESTING: 4,
  DORMANT: 5,
  UP: 6,
});
const MODES = enumNames({ DEFAULT: 0, DORMANT: 1, TESTING: 2 });
const ADDRESS_GENERATION = enumNames({ eui64: 0, none: 1, stable_secret: 2, random: 3 });

/** Packets and bytes that a link has seen since it was made. */
export interface LinkStatistics {
  /** Packets received. */
  readonly rxPackets: number;
  /** Packets sent. */
  readonly txPackets: number;
  /** Bytes received. */
  readonly rxBytes: number;
  /** Bytes sent. */
  readonly txBytes: number;
  /** Bad packets received. */
  readonly rxErrors: number;
  /** Packets that could not be sent. */
  readonly txErrors: number;
  /** Packets received and dropped for want of room. */
  readonly rxDropped: number;
  /** Packets dropped on their way out. */
  readonly txDropped: number;
  /** Multicast packets received. */
  readonly multicast: number;
  /** Collisions. */
  readonly collisions: number;
}

const statistics: Codec<LinkStatistics> = readOnly({
  fits: (length) => length >= 80,
  read(from, start) {
    const at = (position: number): number => Number(bytes.readU64(from, start + 8 * position));
    return {
      rxPackets: at(0),
      txPackets: at(1),
      rxBytes: at(2),
      txBytes: at(3),
      rxErrors: at(4),
      txErrors: at(5),
      rxDropped: at(6),
      txDropped: at(7),
      multicast: at(8),
      collisions: at(9),
    };
  },
});

/** IFLA_ALT_IFNAME, once for each name. */
const alternativeNames: Codec<readonly string[]> = readOnly({
  fits: () => true,
  read(from, start, end) {
    const names: string[] = [];
    for (const { type, valueStart, valueEnd } of eachAttribute(from, start, end)) {
      if (type === 53) names.push(bytes.readText(from, valueStart, valueEnd));
    }
    return names;
  },
});

const inet6Table = new AttributeTable({
  addressGeneration: attribute(8, 'IFLA_INET6_ADDR_GEN_MODE', named(u8, ADDRESS_GENERATION)),
});

export const linkTable = new AttributeTable({
  mac: attribute(1, 'IFLA_ADDRESS', linkLayerAddress),
  broadcast: attribute(2, 'IFLA_BROADCAST', linkLayerAddress),
  name: attribute(3, 'IFLA_IFNAME', text),
  mtu: attribute(4, 'IFLA_MTU', u32),
  linkIndex: attribute(5, 'IFLA_LINK', i32),
  qdisc: attribute(6, 'IFLA_QDISC', text),
  masterIndex: attribute(10, 'IFLA_MASTER', i32),
  txQueueLength: attribute(13, 'IFLA_TXQLEN', u32),
  state: attribute(16, 'IFLA_OPERSTATE', named(u8, STATES)),
  mode: attribute(17, 'IFLA_LINKMODE', named(u8, MODES)),
  info: attribute(
    18,
    'IFLA_LINKINFO',
    nested(
      new AttributeTable({
        kind: attribute(1, 'IFLA_INFO_KIND', text),
        data: attribute(2, 'IFLA_INFO_DATA', nestedBy('kind', kindTables)),
        portKind: attribute(4, 'IFLA_INFO_SLAVE_KIND', text),
        port: attribute(5, 'IFLA_INFO_SLAVE_DATA', nestedBy('portKind', { bridge: bridgePortTable })),
      }),
    ),
  ),
  alias: attribute(20, 'IFLA_IFALIAS', text),
  statistics: attribute(23, 'IFLA_STATS64', statistics),
  families: attribute(
    26,
    'IFLA_AF_SPEC',
    nested(new AttributeTable({ inet6: attribute(10, 'AF_INET6', nested(inet6Table)) })),
  ),
  group: attribute(27, 'IFLA_GROUP', u32),
  namespaceFd: attribute(28, 'IFLA_NET_NS_FD', u32),
  filter: attribute(29, 'IFLA_EXT_MASK', u32),
  promiscuity: attribute(30, 'IFLA_PROMISCUITY', u32),
  txQueues: attribute(31, 'IFLA_NUM_TX_QUEUES', u32),
  rxQueues: attribute(32, 'IFLA_NUM_RX_QUEUES', u32),
  carrier: attribute(33, 'IFLA_CARRIER', flag),
  carrierChanges: attribute(35, 'IFLA_CARRIER_CHANGES', u32),
  linkNetnsid: attribute(37, 'IFLA_LINK_NETNSID', i32),
  protocolDown: attribute(39, 'IFLA_PROTO_DOWN', flag),
  gsoMaxSegments: attribute(40, 'IFLA_GSO_MAX_SEGS', u32),
  gsoMaxSize: attribute(41, 'IFLA_GSO_MAX_SIZE', u32),
  newNetnsid: attribute(45, 'IFLA_NEW_NETNSID', i32),
  newIndex: attribute(49, 'IFLA_NEW_IFINDEX', i32),
  minMtu: attribute(50, 'IFLA_MIN_MTU', u32),
  maxMtu: attribute(51, 'IFLA_MAX_MTU', u32),
  alternativeNames: attribute(52, 'IFLA_PROP_LIST', alternativeNames),
  alternativeName: attribute(53, 'IFLA_ALT_IFNAME', text),
  permanentMac: attribute(54, 'IFLA_PERM_ADDRESS', linkLayerAddress),
  groMaxSize: attribute(58, 'IFLA_GRO_MAX_SIZE', u32),
  allMulticast: attribute(61, 'IFLA_ALLMULTI', u32),
});

/** The header of every message about a link (struct ifinfomsg). */
export function ifinfomsg(index: number, flags = 0, change = 0, family = 0): Buffer {
  return Buffer.concat([
    Buffer.of(family, 0),
    bytes.u16(0),
    bytes.u32(index),
    bytes.u32(flags),
    bytes.u32(change),
  ]);
}

export function linkBody(header: Buffer, values: Values<LinkShape> = {}): Buffer {
  return Buffer.concat([header, linkTable.encode(values)]);
}

type LinkShape = typeof linkTable extends AttributeTable<infer S> ? S : never;
/** The attributes of a link that are to be sent. */
export type LinkValues = Values<LinkShape>;

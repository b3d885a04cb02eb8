/** Links in rtnetlink's messages (rtnetlink(7), linux/if_link.h). */

import {
  AttributeTable,
  attribute,
  type Codec,
  eachAttribute,
  type FieldsOf,
  type Values,
} from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import {
  flag,
  i32,
  linkLayerAddress,
  named,
  nested,
  nestedBy,
  optional,
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

// The first numbers of struct rtnl_link_stats64, with their places there.
const counters = {
  /** Packets received. */
  rxPackets: 0,
  /** Packets sent. */
  txPackets: 1,
  /** Bytes received. */
  rxBytes: 2,
  /** Bytes sent. */
  txBytes: 3,
  /** Bad packets received. */
  rxErrors: 4,
  /** Packets that could not be sent. */
  txErrors: 5,
  /** Packets received and dropped, for lack of room. */
  rxDropped: 6,
  /** Packets dropped on their way out. */
  txDropped: 7,
  /** Multicast packets received. */
  multicast: 8,
  /** Collisions. */
  collisions: 9,
};
/** Packets and bytes of a link since it was made. */
export interface LinkStatistics extends Readonly<typeof counters> {}

const statistics: Codec<LinkStatistics> = readOnly({
  fits: (length) => length >= 80,
  read(from, start) {
    const entries = Object.entries(counters);
    const values = entries.map(([name, place]) => [name, Number(bytes.readU64(from, start + 8 * place))]);
    return Object.fromEntries(values) as typeof counters;
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

const familyTable = new AttributeTable({ inet6: attribute(10, 'AF_INET6', nested(inet6Table)) });

const linkSettings = {
  /** In bytes. The kernel knows the limits of each kind. */
  mtu: attribute(4, 'IFLA_MTU', u32),
  /** Its link-layer address, if it has one. */
  mac: attribute(1, 'IFLA_ADDRESS', linkLayerAddress),
  /** A text of the user's, at most 255 bytes. */
  alias: attribute(20, 'IFLA_IFALIAS', text),
  /** The group that it is in; 0 is `default`. */
  group: attribute(27, 'IFLA_GROUP', u32),
  /** Length of its transmit queue, in packets. */
  txQueueLength: attribute(13, 'IFLA_TXQLEN', u32),
  /** Number of transmit queues. */
  txQueues: attribute(31, 'IFLA_NUM_TX_QUEUES', u32),
  /** Number of receive queues. */
  rxQueues: attribute(32, 'IFLA_NUM_RX_QUEUES', u32),
};
/** Settings of a link of any kind. */
export interface LinkSettings extends FieldsOf<typeof linkSettings> {}
export const linkSettingsTable = new AttributeTable(linkSettings);

const linkProperties = {
  ...linkSettings,
  /** The broadcast address of its link layer. */
  broadcast: attribute(2, 'IFLA_BROADCAST', linkLayerAddress),
  /** Its name, at most 15 bytes. */
  name: attribute(3, 'IFLA_IFNAME', text),
  /** Index of the link that it belongs to: a veth's peer, a VLAN's parent. `ip` writes `veth1@if2`. */
  linkIndex: attribute(5, 'IFLA_LINK', i32),
  /** Its queueing discipline. */
  qdisc: attribute(6, 'IFLA_QDISC', text),
  /** Index of the bridge, or other link, that it is a port of. */
  masterIndex: attribute(10, 'IFLA_MASTER', optional(i32, 0)),
  /** Its operational state (RFC 2863). */
  state: attribute(16, 'IFLA_OPERSTATE', named(u8, STATES)),
  /** Which state follows when the link has a carrier (RFC 2863). */
  mode: attribute(17, 'IFLA_LINKMODE', named(u8, MODES)),
  /** How many users want all frames. */
  promiscuity: attribute(30, 'IFLA_PROMISCUITY', u32),
  /** Whether there is a carrier. */
  carrier: attribute(33, 'IFLA_CARRIER', flag),
  /** How often the carrier changed. */
  carrierChanges: attribute(35, 'IFLA_CARRIER_CHANGES', u32),
  /** If `linkIndex` is of another namespace: the id that this namespace has for that one. */
  linkNetnsid: attribute(37, 'IFLA_LINK_NETNSID', i32),
  /** Whether a protocol holds it down. */
  protocolDown: attribute(39, 'IFLA_PROTO_DOWN', flag),
  /** The most segments that a super-packet may have. */
  gsoMaxSegments: attribute(40, 'IFLA_GSO_MAX_SEGS', u32),
  /** The largest super-packet for segmentation, in bytes. */
  gsoMaxSize: attribute(41, 'IFLA_GSO_MAX_SIZE', u32),
  /** The smallest MTU that it accepts. */
  minMtu: attribute(50, 'IFLA_MIN_MTU', u32),
  /** The largest MTU that it accepts; 0: no limit. */
  maxMtu: attribute(51, 'IFLA_MAX_MTU', u32),
  /** The address that its hardware came with. */
  permanentMac: attribute(54, 'IFLA_PERM_ADDRESS', linkLayerAddress),
  /** The largest super-packet on receipt, in bytes. */
  groMaxSize: attribute(58, 'IFLA_GRO_MAX_SIZE', u32),
  /** How many users want all multicast frames. */
  allMulticast: attribute(61, 'IFLA_ALLMULTI', u32),
  /** Further names (`ip link property add altname`). */
  alternativeNames: attribute(52, 'IFLA_PROP_LIST', alternativeNames),
};
/** Properties of a link of any kind. */
export interface LinkProperties extends FieldsOf<typeof linkProperties> {}

export const linkPropertiesTable = new AttributeTable(linkProperties);

const infoTable = new AttributeTable({
  kind: attribute(1, 'IFLA_INFO_KIND', text),
  data: attribute(2, 'IFLA_INFO_DATA', nestedBy('kind', kindTables)),
  portKind: attribute(4, 'IFLA_INFO_SLAVE_KIND', text),
  port: attribute(5, 'IFLA_INFO_SLAVE_DATA', nestedBy('portKind', { bridge: bridgePortTable })),
});

export const linkTable = new AttributeTable({
  ...linkProperties,
  info: attribute(18, 'IFLA_LINKINFO', nested(infoTable)),
  families: attribute(26, 'IFLA_AF_SPEC', nested(familyTable)),
  statistics: attribute(23, 'IFLA_STATS64', statistics),
  namespaceFd: attribute(28, 'IFLA_NET_NS_FD', u32),
  filter: attribute(29, 'IFLA_EXT_MASK', u32),
  newNetnsid: attribute(45, 'IFLA_NEW_NETNSID', i32),
  newIndex: attribute(49, 'IFLA_NEW_IFINDEX', i32),
  alternativeName: attribute(53, 'IFLA_ALT_IFNAME', text),
});

/** The header of every message about a link (struct ifinfomsg). */
export function ifinfomsg(index: number, flags = 0, change = 0, family = 0): Buffer {
  return Buffer.concat([Buffer.of(family, 0, 0, 0), ...[index, flags, change].map(bytes.u32)]);
}

type LinkShape = typeof linkTable extends AttributeTable<infer S> ? S : never;
/** Values of a link to send. */
export type LinkValues = Values<LinkShape>;

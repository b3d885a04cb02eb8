/** The kinds of virtual links and what each of them has (linux/if_link.h, ip-link(8)). */

import { AttributeTable, attribute, type Codec, type Shape } from '../netlink/attributes.js';
import { readU32, u32 as u32Bytes } from '../netlink/bytes.js';
import { flag, ip, named, range, raw, u8, u16, u16be, u32 } from '../netlink/codecs.js';
import { enumNames, flagNames } from '../netlink/names.js';
import { type BridgeDetails, bridgeTable, VLAN_PROTOCOLS } from './bridge.js';

/** The modes of a macvtap link that has a device (ip-link(8)), with the kernel's values. */
export const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
const macvlanModes = enumNames({ ...MACVLAN_MODES, source: 16 }, 16);
const tunTypes = enumNames({ tun: 1, tap: 2 });
const vlanFlags = flagNames({ reorder_hdr: 1, gvrp: 2, loose_binding: 4, mvrp: 8, bridge_binding: 16 });

/** struct ifla_vlan_flags: the flags, and a mask of those that are to change. */
const vlanFlagsCodec: Codec<readonly VlanFlag[]> = {
  fits: (length) => length >= 8,
  read: (from, start) => vlanFlags.namesOf(readU32(from, start)),
  write: (value, field) => Buffer.concat([u32Bytes(vlanFlags.bits(field, value)), u32Bytes(0xffffffff)]),
};

const macvlanTable = new AttributeTable({
  mode: attribute(1, 'IFLA_MACVLAN_MODE', named(u32, macvlanModes)),
  flags: attribute(2, 'IFLA_MACVLAN_FLAGS', u16),
  broadcastQueueLength: attribute(7, 'IFLA_MACVLAN_BC_QUEUE_LEN', u32),
});

const vxlanTable = new AttributeTable({
  id: attribute(1, 'IFLA_VXLAN_ID', u32),
  remote: attribute(2, 'IFLA_VXLAN_GROUP', ip),
  linkIndex: attribute(3, 'IFLA_VXLAN_LINK', u32),
  local: attribute(4, 'IFLA_VXLAN_LOCAL', ip),
  ttl: attribute(5, 'IFLA_VXLAN_TTL', u8),
  tos: attribute(6, 'IFLA_VXLAN_TOS', u8),
  learning: attribute(7, 'IFLA_VXLAN_LEARNING', flag),
  ageing: attribute(8, 'IFLA_VXLAN_AGEING', u32),
  limit: attribute(9, 'IFLA_VXLAN_LIMIT', u32),
  portRange: attribute(10, 'IFLA_VXLAN_PORT_RANGE', range(u16be, 2)),
  proxy: attribute(11, 'IFLA_VXLAN_PROXY', flag),
  l2miss: attribute(13, 'IFLA_VXLAN_L2MISS', flag),
  l3miss: attribute(14, 'IFLA_VXLAN_L3MISS', flag),
  port: attribute(15, 'IFLA_VXLAN_PORT', u16be),
  remote6: attribute(16, 'IFLA_VXLAN_GROUP6', ip),
  local6: attribute(17, 'IFLA_VXLAN_LOCAL6', ip),
  udpChecksum: attribute(18, 'IFLA_VXLAN_UDP_CSUM', flag),
});

export const kindTables = {
  bridge: bridgeTable,
  macvlan: macvlanTable,
  macvtap: macvlanTable,
  tun: new AttributeTable({
    owner: attribute(1, 'IFLA_TUN_OWNER', u32),
    group: attribute(2, 'IFLA_TUN_GROUP', u32),
    type: attribute(3, 'IFLA_TUN_TYPE', named(u8, tunTypes)),
    packetInformation: attribute(4, 'IFLA_TUN_PI', flag),
    vnetHeader: attribute(5, 'IFLA_TUN_VNET_HDR', flag),
    persist: attribute(6, 'IFLA_TUN_PERSIST', flag),
    multiQueue: attribute(7, 'IFLA_TUN_MULTI_QUEUE', flag),
    queues: attribute(8, 'IFLA_TUN_NUM_QUEUES', u32),
    disabledQueues: attribute(9, 'IFLA_TUN_NUM_DISABLED_QUEUES', u32),
  }),
  // VETH_INFO_PEER holds an ifinfomsg and the attributes of a link.
  veth: new AttributeTable({ peer: attribute(1, 'VETH_INFO_PEER', raw) }),
  vlan: new AttributeTable({
    id: attribute(1, 'IFLA_VLAN_ID', u16),
    flags: attribute(2, 'IFLA_VLAN_FLAGS', vlanFlagsCodec),
    protocol: attribute(5, 'IFLA_VLAN_PROTOCOL', named(u16be, VLAN_PROTOCOLS)),
  }),
  vxlan: vxlanTable,
} as const satisfies Readonly<Record<string, AttributeTable<Shape>>>;

/** A property of a VLAN link, as `ip link` has it. */
export type VlanFlag = ReturnType<typeof vlanFlags.namesOf>[number];

/** One end of a virtual Ethernet cable. */
export interface VethDetails {
  /** The kind. */
  readonly kind: 'veth';
}

/** What a macvlan or macvtap can be told. */
export interface MacvlanOptions {
  /** How the links on the same wire reach one another. **Default:** `vepa`, the kernel's */
  readonly mode?: 'private' | 'vepa' | 'bridge' | 'passthru' | 'source' | number;
  /** `MACVLAN_FLAG_*` of linux/if_link.h. */
  readonly flags?: number;
  /** In packets. */
  readonly broadcastQueueLength?: number;
}

/** A link that shares another link's wire, with a MAC of its own. */
export interface MacvlanDetails extends MacvlanOptions {
  /** The kind; a macvtap has a character device /dev/tapN as well. */
  readonly kind: 'macvlan' | 'macvtap';
}

/** A TUN or TAP device. */
export interface TunDetails {
  /** The kind, of TAP devices too; see `type`. */
  readonly kind: 'tun';
  /** Layer 3 or layer 2. */
  readonly type?: 'tun' | 'tap' | number;
  /** User id that may open a persistent device. */
  readonly owner?: number;
  /** Group id that may open a persistent device. */
  readonly group?: number;
  /** Whether four bytes of packet information stand before each packet (no IFF_NO_PI). */
  readonly packetInformation?: boolean;
  /** Whether a virtio_net_hdr stands before each packet (IFF_VNET_HDR). */
  readonly vnetHeader?: boolean;
  /** Whether it stays when nobody has it open. */
  readonly persist?: boolean;
  /** Whether it may have more than one queue. */
  readonly multiQueue?: boolean;
  /** Queues that are open. */
  readonly queues?: number;
  /** Queues that are open but detached. */
  readonly disabledQueues?: number;
}

/** What a VLAN can be told. */
export interface VlanOptions {
  /** The VLAN's number, 0 to 4094. */
  readonly id?: number;
  /** The tag's EtherType. **Default:** `802.1Q` */
  readonly protocol?: '802.1Q' | '802.1ad' | number;
  /** **Default:** `['reorder_hdr']` */
  readonly flags?: readonly VlanFlag[];
}

/** A VLAN of another link. */
export interface VlanDetails extends VlanOptions {
  /** The kind. */
  readonly kind: 'vlan';
}

/** What a VXLAN can be told. */
export interface VxlanOptions {
  /** The VXLAN network identifier, 0 to 16777215. */
  readonly id?: number;
  /** Where frames to unknown addresses go: a host, or a multicast group, which needs `link`. */
  readonly remote?: string;
  /** Source address of the outer packets. */
  readonly local?: string;
  /** Destination port. **Default:** 4789 */
  readonly port?: number;
  /** Source ports, first and last; 0, 0: the system's. */
  readonly portRange?: readonly [number, number];
  /** Of the outer packets; 0: the system's. */
  readonly ttl?: number;
  /** Of the outer packets; 1: that of the inner packet. */
  readonly tos?: number;
  /** Whether it learns where addresses are. **Default:** `true` */
  readonly learning?: boolean;
  /** Seconds that a learned address is kept. **Default:** 300 */
  readonly ageing?: number;
  /** How many addresses it keeps; 0: any number. */
  readonly limit?: number;
  /** Whether it answers ARP from what it knows. */
  readonly proxy?: boolean;
  /** Whether it notifies of unknown link-layer addresses. */
  readonly l2miss?: boolean;
  /** Whether it notifies of unknown network addresses. */
  readonly l3miss?: boolean;
  /** Whether the outer IPv4 packets have a UDP checksum. */
  readonly udpChecksum?: boolean;
}

/** Ethernet in UDP (RFC 7348). */
export interface VxlanDetails extends VxlanOptions {
  /** The kind. */
  readonly kind: 'vxlan';
  /** Index of the link that the outer packets leave by. */
  readonly linkIndex?: number;
}

/** What a virtual link has besides what all links have, by its kind. */
export type LinkDetails =
  | VethDetails
  | ({
      /** The kind. */
      readonly kind: 'bridge';
    } & BridgeDetails)
  | MacvlanDetails
  | TunDetails
  | VlanDetails
  | VxlanDetails;

/** Details from what a link's INFO_DATA held; undefined for kinds that this package does not know. */
export function toDetails(kind: string | undefined, data: object | undefined): LinkDetails | undefined {
  if (kind === undefined || !Object.hasOwn(kindTables, kind)) return undefined;
  if (kind === 'veth') return { kind };
  if (kind !== 'vxlan') return { kind, ...data } as LinkDetails;
  const { remote6, local6, ...rest } = (data ?? {}) as { remote6?: string; local6?: string };
  return {
    kind,
    ...(remote6 !== undefined && { remote: remote6 }),
    ...(local6 !== undefined && { local: local6 }),
    ...rest,
  };
}

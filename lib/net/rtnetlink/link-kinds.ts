/** The kinds of virtual links and their properties (linux/if_link.h, ip-link(8)). */

import {
  AttributeTable,
  attribute,
  type Codec,
  defined,
  type FieldsOf,
  type Shape,
} from '../netlink/attributes.js';
import { readU32, u32 as u32Bytes } from '../netlink/bytes.js';
import { flag, ip, named, range, raw, u8, u16, u16be, u32 } from '../netlink/codecs.js';
import { enumNames, flagNames } from '../netlink/names.js';
import { type BridgeDetails, bridgeTable, VLAN_PROTOCOLS } from './bridge.js';

/** The modes of a macvtap link that has a device (ip-link(8)), with the kernel's values. */
export const MACVTAP_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
export type MacvtapMode = keyof typeof MACVTAP_MODES;
const macvlanModes = enumNames({ ...MACVTAP_MODES, source: 16 }, 16);
const tunTypes = enumNames({ tun: 1, tap: 2 });
const vlanFlags = flagNames({ reorder_hdr: 1, gvrp: 2, loose_binding: 4, mvrp: 8, bridge_binding: 16 });

/** struct ifla_vlan_flags: the flags, and a mask of those to change. */
const vlanFlagsCodec: Codec<readonly VlanFlag[]> = {
  fits: (length) => length >= 8,
  read: (from, start) => vlanFlags.namesOf(readU32(from, start)),
  write: (value, field) => Buffer.concat([u32Bytes(vlanFlags.bits(field, value)), u32Bytes(0xffffffff)]),
};

const macvlanOptions = {
  /** How links with the same parent reach one another. **Default:** `vepa`, the kernel's */
  mode: attribute(1, 'IFLA_MACVLAN_MODE', named(u32, macvlanModes)),
  /** `MACVLAN_FLAG_*` of linux/if_link.h. */
  flags: attribute(2, 'IFLA_MACVLAN_FLAGS', u16),
  /** Length of its queue of broadcasts, in packets. */
  broadcastQueueLength: attribute(7, 'IFLA_MACVLAN_BC_QUEUE_LEN', u32),
};
const macvlanTable = new AttributeTable(macvlanOptions);

const tunProperties = {
  /** User id that may open a persistent device. */
  owner: attribute(1, 'IFLA_TUN_OWNER', u32),
  /** Group id that may open a persistent device. */
  group: attribute(2, 'IFLA_TUN_GROUP', u32),
  /** Layer 3 or layer 2. */
  type: attribute(3, 'IFLA_TUN_TYPE', named(u8, tunTypes)),
  /** Whether four bytes of packet information stand before each packet (no IFF_NO_PI). */
  packetInformation: attribute(4, 'IFLA_TUN_PI', flag),
  /** Whether a virtio_net_hdr stands before each packet (IFF_VNET_HDR). */
  vnetHeader: attribute(5, 'IFLA_TUN_VNET_HDR', flag),
  /** Whether it stays when no process has it open. */
  persist: attribute(6, 'IFLA_TUN_PERSIST', flag),
  /** Whether it may have more than one queue. */
  multiQueue: attribute(7, 'IFLA_TUN_MULTI_QUEUE', flag),
  /** Queues that are open. */
  queues: attribute(8, 'IFLA_TUN_NUM_QUEUES', u32),
  /** Queues that are open but detached. */
  disabledQueues: attribute(9, 'IFLA_TUN_NUM_DISABLED_QUEUES', u32),
};

const vlanOptions = {
  /** The VLAN's number, 0 to 4094. */
  id: attribute(1, 'IFLA_VLAN_ID', u16),
  /** Properties, by the names of `ip link`. **Default:** `['reorder_hdr']` */
  flags: attribute(2, 'IFLA_VLAN_FLAGS', vlanFlagsCodec),
  /** The tag's EtherType. **Default:** `802.1Q` */
  protocol: attribute(5, 'IFLA_VLAN_PROTOCOL', named(u16be, VLAN_PROTOCOLS)),
};

const vxlanOptions = {
  /** The VXLAN network identifier, 0 to 16777215. */
  id: attribute(1, 'IFLA_VXLAN_ID', u32),
  /** Destination of frames to unknown addresses: a host, or a multicast group, which needs `link`. */
  remote: attribute(2, 'IFLA_VXLAN_GROUP', ip),
  /** Source address of the outer packets. */
  local: attribute(4, 'IFLA_VXLAN_LOCAL', ip),
  /** TTL of the outer packets; 0: the system's. */
  ttl: attribute(5, 'IFLA_VXLAN_TTL', u8),
  /** Type of service of the outer packets; 1: that of the inner packet. */
  tos: attribute(6, 'IFLA_VXLAN_TOS', u8),
  /** Whether it learns from received frames which host has an address. **Default:** `true` */
  learning: attribute(7, 'IFLA_VXLAN_LEARNING', flag),
  /** Seconds that it keeps a learned address. **Default:** 300 */
  ageing: attribute(8, 'IFLA_VXLAN_AGEING', u32),
  /** The most addresses that it keeps; 0: no limit. */
  limit: attribute(9, 'IFLA_VXLAN_LIMIT', u32),
  /** Source ports, first and last; 0, 0: the system's. */
  portRange: attribute(10, 'IFLA_VXLAN_PORT_RANGE', range(u16be, 2)),
  /** Whether it answers ARP from what it knows. */
  proxy: attribute(11, 'IFLA_VXLAN_PROXY', flag),
  /** Whether it notifies of unknown link-layer addresses. */
  l2miss: attribute(13, 'IFLA_VXLAN_L2MISS', flag),
  /** Whether it notifies of unknown network addresses. */
  l3miss: attribute(14, 'IFLA_VXLAN_L3MISS', flag),
  /** Destination port. **Default:** 4789 */
  port: attribute(15, 'IFLA_VXLAN_PORT', u16be),
  /** Whether the outer IPv4 packets have a UDP checksum. */
  udpChecksum: attribute(18, 'IFLA_VXLAN_UDP_CSUM', flag),
};

export const kindTables = {
  bridge: bridgeTable,
  macvlan: macvlanTable,
  macvtap: macvlanTable,
  tun: new AttributeTable(tunProperties),
  // VETH_INFO_PEER holds an ifinfomsg and the attributes of a link.
  veth: new AttributeTable({ peer: attribute(1, 'VETH_INFO_PEER', raw) }),
  vlan: new AttributeTable(vlanOptions),
  vxlan: new AttributeTable({
    ...vxlanOptions,
    linkIndex: attribute(3, 'IFLA_VXLAN_LINK', u32),
    remote6: attribute(16, 'IFLA_VXLAN_GROUP6', ip),
    local6: attribute(17, 'IFLA_VXLAN_LOCAL6', ip),
  }),
} as const satisfies Readonly<Record<string, AttributeTable<Shape>>>;

/** A property of a VLAN link, as `ip link` has it. */
export type VlanFlag = ReturnType<typeof vlanFlags.namesOf>[number];

/** One end of a veth pair. */
export interface VethDetails {
  /** The kind. */
  readonly kind: 'veth';
}

/** Options of a macvlan or macvtap. */
export interface MacvlanOptions extends FieldsOf<typeof macvlanOptions> {}
/** A link that shares another link's network, with a MAC of its own. */
export interface MacvlanDetails extends MacvlanOptions {
  /** The kind; a macvtap has a character device /dev/tapN as well. */
  readonly kind: 'macvlan' | 'macvtap';
}

/** A TUN or TAP device. */
export interface TunDetails extends FieldsOf<typeof tunProperties> {
  /** The kind, of TAP devices too; see `type`. */
  readonly kind: 'tun';
}

/** Options of a VLAN. */
export interface VlanOptions extends FieldsOf<typeof vlanOptions> {}
/** A VLAN of another link. */
export interface VlanDetails extends VlanOptions {
  /** The kind. */
  readonly kind: 'vlan';
}

/** Options of a VXLAN. */
export interface VxlanOptions extends FieldsOf<typeof vxlanOptions> {}
/** Ethernet in UDP (RFC 7348). */
export interface VxlanDetails extends VxlanOptions {
  /** The kind. */
  readonly kind: 'vxlan';
  /** Index of the link that the outer packets leave by. */
  readonly linkIndex?: number;
}

/** The properties of a virtual link that depend on its kind. */
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

/** Details from a link's INFO_DATA; undefined for kinds that this package does not know. */
export function toDetails(kind: string | undefined, data: object | undefined): LinkDetails | undefined {
  if (kind === undefined || !Object.hasOwn(kindTables, kind)) return undefined;
  if (kind === 'veth') return { kind };
  if (kind !== 'vxlan') return { kind, ...data } as LinkDetails;
  const { remote6, local6, ...rest } = (data ?? {}) as { remote6?: string; local6?: string };
  return { kind, ...defined({ remote: remote6, local: local6 }), ...rest };
}

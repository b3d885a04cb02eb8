/** Attributes of bridges and of their ports (linux/if_link.h, IFLA_BR_* and IFLA_BRPORT_*). */

import { AttributeTable, attribute, type Codec, type FieldsOf } from '../netlink/attributes.js';
import {
  clockTime,
  clockTime64,
  flag,
  flag32,
  linkLayerAddress,
  named,
  readOnly,
  u8,
  u16,
  u16be,
  u32,
} from '../netlink/codecs.js';
import { enumNames } from '../netlink/names.js';

export const VLAN_PROTOCOLS = enumNames({ '802.1Q': 0x8100, '802.1ad': 0x88a8 }, 0xffff);
const PORT_STATES = enumNames({ disabled: 0, listening: 1, learning: 2, forwarding: 3, blocking: 4 }, 4);
const MULTICAST_ROUTER = enumNames({ off: 0, learn: 1, always: 2, temporary: 3 }, 3);

/** A bridge identifier in iproute2's notation: two bytes of priority, then the MAC. */
const bridgeId: Codec<string> = readOnly({
  fits: (length) => length >= 8,
  read: (from, start) =>
    `${from.toString('hex', start, start + 2)}.${from.toString('hex', start + 2, start + 8).replace(/..(?=.)/g, '$&:')}`,
});

const bridgeOptions = {
  /** Time in the listening and in the learning state, 2 to 30 s. */
  forwardDelay: attribute(1, 'IFLA_BR_FORWARD_DELAY', clockTime),
  /** Time between hello messages of the root bridge, 1 to 10 s. */
  helloTime: attribute(2, 'IFLA_BR_HELLO_TIME', clockTime),
  /** Age at which a hello message is too old, 6 to 40 s. */
  maxAge: attribute(3, 'IFLA_BR_MAX_AGE', clockTime),
  /** Time without a frame after which the bridge forgets a learned address. **Default:** 300 s. */
  ageingTime: attribute(4, 'IFLA_BR_AGEING_TIME', clockTime),
  /** Whether the bridge runs the spanning tree protocol. **Default:** `false` */
  stp: attribute(5, 'IFLA_BR_STP_STATE', flag32),
  /** Priority in the spanning tree, 0 to 65535. The bridge with the lowest becomes root. */
  priority: attribute(6, 'IFLA_BR_PRIORITY', u16),
  /** Whether the bridge filters frames by VLAN. */
  vlanFiltering: attribute(7, 'IFLA_BR_VLAN_FILTERING', flag),
  /** EtherType of its VLAN tags. */
  vlanProtocol: attribute(8, 'IFLA_BR_VLAN_PROTOCOL', named(u16be, VLAN_PROTOCOLS)),
  /** Bit n: the bridge forwards frames to 01:80:c2:00:00:0n. */
  groupForwardMask: attribute(9, 'IFLA_BR_GROUP_FWD_MASK', u16),
  /** Destination address of spanning tree messages. */
  groupAddress: attribute(20, 'IFLA_BR_GROUP_ADDR', linkLayerAddress),
  /** Whether the bridge itself gets all multicast. */
  multicastRouter: attribute(22, 'IFLA_BR_MCAST_ROUTER', named(u8, MULTICAST_ROUTER)),
  /** Whether multicast goes only to ports that joined its group (IGMP, MLD). */
  multicastSnooping: attribute(23, 'IFLA_BR_MCAST_SNOOPING', flag),
  /** Whether the bridge sends IGMP and MLD queries. */
  multicastQuerier: attribute(25, 'IFLA_BR_MCAST_QUERIER', flag),
  /** The VLAN of untagged frames at a new port; 0: none. */
  vlanDefaultPvid: attribute(39, 'IFLA_BR_VLAN_DEFAULT_PVID', u16),
  /** Whether the bridge counts packets for each VLAN. */
  vlanStatistics: attribute(41, 'IFLA_BR_VLAN_STATS_ENABLED', flag),
};
const bridgeState = {
  /** Priority and MAC of the spanning tree's root: `8000.02:00:00:00:00:01`. */
  rootId: attribute(10, 'IFLA_BR_ROOT_ID', bridgeId),
  /** Priority and MAC of this bridge. */
  bridgeId: attribute(11, 'IFLA_BR_BRIDGE_ID', bridgeId),
  /** Number of the port towards the root; 0: this bridge is the root. */
  rootPort: attribute(12, 'IFLA_BR_ROOT_PORT', readOnly(u16)),
  /** Cost of the way to the root. */
  rootPathCost: attribute(13, 'IFLA_BR_ROOT_PATH_COST', readOnly(u32)),
  /** Whether the spanning tree is changing. */
  topologyChange: attribute(14, 'IFLA_BR_TOPOLOGY_CHANGE', readOnly(flag)),
  /** Whether this bridge detected the change. */
  topologyChangeDetected: attribute(15, 'IFLA_BR_TOPOLOGY_CHANGE_DETECTED', readOnly(flag)),
  /** Seconds until the next hello message. */
  helloTimer: attribute(16, 'IFLA_BR_HELLO_TIMER', readOnly(clockTime64)),
};
export const bridgeTable = new AttributeTable({ ...bridgeOptions, ...bridgeState });

/** Options of a bridge. Times are in seconds, to a hundredth. */
export interface BridgeOptions extends FieldsOf<typeof bridgeOptions> {}
/** A bridge as it is now. */
export interface BridgeDetails extends BridgeOptions, FieldsOf<typeof bridgeState> {}

const portOptions = {
  /** State in the spanning tree. */
  state: attribute(1, 'IFLA_BRPORT_STATE', named(u8, PORT_STATES)),
  /** Priority in the spanning tree, 0 to 63. */
  priority: attribute(2, 'IFLA_BRPORT_PRIORITY', u16),
  /** Cost in the spanning tree, 1 to 65535. */
  cost: attribute(3, 'IFLA_BRPORT_COST', u32),
  /** Whether a frame may leave by the port that it came in. */
  hairpin: attribute(4, 'IFLA_BRPORT_MODE', flag),
  /** Whether spanning tree messages from this port are refused (BPDU guard). */
  guard: attribute(5, 'IFLA_BRPORT_GUARD', flag),
  /** Whether this port may never lead to the root. */
  rootBlock: attribute(6, 'IFLA_BRPORT_PROTECT', flag),
  /** Whether the bridge ends a multicast group at once when a listener leaves it. */
  fastLeave: attribute(7, 'IFLA_BRPORT_FAST_LEAVE', flag),
  /** Whether the bridge learns addresses from this port. */
  learning: attribute(8, 'IFLA_BRPORT_LEARNING', flag),
  /** Whether the bridge sends unicast frames for unknown addresses to this port. */
  flood: attribute(9, 'IFLA_BRPORT_UNICAST_FLOOD', flag),
  /** Whether the bridge answers ARP for hosts behind the port. */
  proxyArp: attribute(10, 'IFLA_BRPORT_PROXYARP', flag),
  /** Whether the bridge sends all multicast to this port. */
  multicastRouter: attribute(25, 'IFLA_BRPORT_MULTICAST_ROUTER', named(u8, MULTICAST_ROUTER)),
  /** Whether the bridge sends multicast of unknown groups to this port. */
  multicastFlood: attribute(27, 'IFLA_BRPORT_MCAST_FLOOD', flag),
  /** Whether the bridge sends multicast as one unicast frame for each listener. */
  multicastToUnicast: attribute(28, 'IFLA_BRPORT_MCAST_TO_UCAST', flag),
  /** Whether the bridge sends broadcasts to this port. */
  broadcastFlood: attribute(30, 'IFLA_BRPORT_BCAST_FLOOD', flag),
  /** Like the `groupForwardMask` of {@link BridgeOptions}, for this port. */
  groupForwardMask: attribute(31, 'IFLA_BRPORT_GROUP_FWD_MASK', u16),
  /** Whether the bridge answers ARP and NDP from what it knows, and does not flood it. */
  neighborSuppression: attribute(32, 'IFLA_BRPORT_NEIGH_SUPPRESS', flag),
  /** Whether the port exchanges frames only with ports that are not isolated. */
  isolated: attribute(33, 'IFLA_BRPORT_ISOLATED', flag),
  /** Whether the bridge drops frames from unknown addresses (802.1X). */
  locked: attribute(39, 'IFLA_BRPORT_LOCKED', flag),
};
const portState = {
  /** Priority and MAC of the root for the port's network. */
  designatedRoot: attribute(13, 'IFLA_BRPORT_ROOT_ID', bridgeId),
  /** The bridge that serves the port's network. */
  designatedBridge: attribute(14, 'IFLA_BRPORT_BRIDGE_ID', bridgeId),
  /** Number of the port by which that bridge serves the network. */
  designatedPort: attribute(15, 'IFLA_BRPORT_DESIGNATED_PORT', readOnly(u16)),
  /** Cost of that bridge's way to the root. */
  designatedCost: attribute(16, 'IFLA_BRPORT_DESIGNATED_COST', readOnly(u16)),
  /** Priority and number of this port together. */
  portId: attribute(17, 'IFLA_BRPORT_ID', readOnly(u16)),
  /** Number of this port in the bridge. */
  portNumber: attribute(18, 'IFLA_BRPORT_NO', readOnly(u16)),
};
export const bridgePortTable = new AttributeTable({ ...portOptions, ...portState });

/** A bridge or another link that may be the port of one. */
export interface BridgeLink {
  readonly index: number;
  readonly name: string;
  readonly isPort: boolean;
}

/** Options of a port of a bridge. */
export interface BridgePortOptions extends FieldsOf<typeof portOptions> {}
/** A port of a bridge as it is now. */
export interface BridgePortDetails extends BridgePortOptions, FieldsOf<typeof portState> {}

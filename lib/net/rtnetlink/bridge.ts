/** Attributes of bridges and of their ports (linux/if_link.h, IFLA_BR_* and IFLA_BRPORT_*). */

import { AttributeTable, attribute, type Codec } from '../netlink/attributes.js';
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

export const bridgeTable = new AttributeTable({
  forwardDelay: attribute(1, 'IFLA_BR_FORWARD_DELAY', clockTime),
  helloTime: attribute(2, 'IFLA_BR_HELLO_TIME', clockTime),
  maxAge: attribute(3, 'IFLA_BR_MAX_AGE', clockTime),
  ageingTime: attribute(4, 'IFLA_BR_AGEING_TIME', clockTime),
  stp: attribute(5, 'IFLA_BR_STP_STATE', flag32),
  priority: attribute(6, 'IFLA_BR_PRIORITY', u16),
  vlanFiltering: attribute(7, 'IFLA_BR_VLAN_FILTERING', flag),
  vlanProtocol: attribute(8, 'IFLA_BR_VLAN_PROTOCOL', named(u16be, VLAN_PROTOCOLS)),
  groupForwardMask: attribute(9, 'IFLA_BR_GROUP_FWD_MASK', u16),
  rootId: attribute(10, 'IFLA_BR_ROOT_ID', bridgeId),
  bridgeId: attribute(11, 'IFLA_BR_BRIDGE_ID', bridgeId),
  rootPort: attribute(12, 'IFLA_BR_ROOT_PORT', readOnly(u16)),
  rootPathCost: attribute(13, 'IFLA_BR_ROOT_PATH_COST', readOnly(u32)),
  topologyChange: attribute(14, 'IFLA_BR_TOPOLOGY_CHANGE', readOnly(flag)),
  topologyChangeDetected: attribute(15, 'IFLA_BR_TOPOLOGY_CHANGE_DETECTED', readOnly(flag)),
  helloTimer: attribute(16, 'IFLA_BR_HELLO_TIMER', readOnly(clockTime64)),
  groupAddress: attribute(20, 'IFLA_BR_GROUP_ADDR', linkLayerAddress),
  multicastRouter: attribute(22, 'IFLA_BR_MCAST_ROUTER', named(u8, MULTICAST_ROUTER)),
  multicastSnooping: attribute(23, 'IFLA_BR_MCAST_SNOOPING', flag),
  multicastQuerier: attribute(25, 'IFLA_BR_MCAST_QUERIER', flag),
  vlanDefaultPvid: attribute(39, 'IFLA_BR_VLAN_DEFAULT_PVID', u16),
  vlanStatistics: attribute(41, 'IFLA_BR_VLAN_STATS_ENABLED', flag),
});

export const bridgePortTable = new AttributeTable({
  state: attribute(1, 'IFLA_BRPORT_STATE', named(u8, PORT_STATES)),
  priority: attribute(2, 'IFLA_BRPORT_PRIORITY', u16),
  cost: attribute(3, 'IFLA_BRPORT_COST', u32),
  hairpin: attribute(4, 'IFLA_BRPORT_MODE', flag),
  guard: attribute(5, 'IFLA_BRPORT_GUARD', flag),
  rootBlock: attribute(6, 'IFLA_BRPORT_PROTECT', flag),
  fastLeave: attribute(7, 'IFLA_BRPORT_FAST_LEAVE', flag),
  learning: attribute(8, 'IFLA_BRPORT_LEARNING', flag),
  flood: attribute(9, 'IFLA_BRPORT_UNICAST_FLOOD', flag),
  proxyArp: attribute(10, 'IFLA_BRPORT_PROXYARP', flag),
  designatedRoot: attribute(13, 'IFLA_BRPORT_ROOT_ID', bridgeId),
  designatedBridge: attribute(14, 'IFLA_BRPORT_BRIDGE_ID', bridgeId),
  designatedPort: attribute(15, 'IFLA_BRPORT_DESIGNATED_PORT', readOnly(u16)),
  designatedCost: attribute(16, 'IFLA_BRPORT_DESIGNATED_COST', readOnly(u16)),
  portId: attribute(17, 'IFLA_BRPORT_ID', readOnly(u16)),
  portNumber: attribute(18, 'IFLA_BRPORT_NO', readOnly(u16)),
  multicastRouter: attribute(25, 'IFLA_BRPORT_MULTICAST_ROUTER', named(u8, MULTICAST_ROUTER)),
  multicastFlood: attribute(27, 'IFLA_BRPORT_MCAST_FLOOD', flag),
  multicastToUnicast: attribute(28, 'IFLA_BRPORT_MCAST_TO_UCAST', flag),
  broadcastFlood: attribute(30, 'IFLA_BRPORT_BCAST_FLOOD', flag),
  groupForwardMask: attribute(31, 'IFLA_BRPORT_GROUP_FWD_MASK', u16),
  neighborSuppression: attribute(32, 'IFLA_BRPORT_NEIGH_SUPPRESS', flag),
  isolated: attribute(33, 'IFLA_BRPORT_ISOLATED', flag),
  locked: attribute(39, 'IFLA_BRPORT_LOCKED', flag),
});

/** What can be told a bridge. Times are in seconds, to a hundredth. */
export interface BridgeOptions {
  /** Time in the listening and in the learning state, 2 to 30 s. */
  readonly forwardDelay?: number;
  /** Time between hello messages of the root bridge, 1 to 10 s. */
  readonly helloTime?: number;
  /** After how long a hello message is too old, 6 to 40 s. */
  readonly maxAge?: number;
  /** After how long without a frame a learned address is forgotten. **Default:** 300 s. */
  readonly ageingTime?: number;
  /** The spanning tree protocol. **Default:** off. */
  readonly stp?: boolean;
  /** Of the spanning tree, 0 to 65535; the lowest becomes root. */
  readonly priority?: number;
  /** Whether frames go by the ports' VLANs. */
  readonly vlanFiltering?: boolean;
  /** `'802.1Q'`, `'802.1ad'`, or an EtherType. */
  readonly vlanProtocol?: '802.1Q' | '802.1ad' | number;
  /** Bit n: frames to 01:80:c2:00:00:0n are forwarded. */
  readonly groupForwardMask?: number;
  /** The address that spanning tree messages go to. */
  readonly groupAddress?: string;
  /** Whether the bridge itself gets all multicast. */
  readonly multicastRouter?: 'off' | 'learn' | 'always' | 'temporary' | number;
  /** Whether multicast goes only to ports that asked for it (IGMP, MLD). */
  readonly multicastSnooping?: boolean;
  /** Whether the bridge sends IGMP and MLD queries. */
  readonly multicastQuerier?: boolean;
  /** The VLAN of untagged frames at a new port; 0: none. */
  readonly vlanDefaultPvid?: number;
  /** Whether counters are kept for each VLAN. */
  readonly vlanStatistics?: boolean;
}

/** A bridge as it is now. */
export interface BridgeDetails extends BridgeOptions {
  /** Priority and MAC of the spanning tree's root: `8000.02:00:00:00:00:01`. */
  readonly rootId?: string;
  /** This bridge's own. */
  readonly bridgeId?: string;
  /** Number of the port towards the root; 0: this bridge is the root. */
  readonly rootPort?: number;
  /** Cost of the way to the root. */
  readonly rootPathCost?: number;
  /** The spanning tree is changing. */
  readonly topologyChange?: boolean;
  /** This bridge saw the change. */
  readonly topologyChangeDetected?: boolean;
  /** Seconds to the next hello message. */
  readonly helloTimer?: number;
}

/** What can be told a port of a bridge. */
export interface BridgePortOptions {
  /** Of the spanning tree. */
  readonly state?: 'disabled' | 'listening' | 'learning' | 'forwarding' | 'blocking' | number;
  /** Of the spanning tree, 0 to 63. */
  readonly priority?: number;
  /** Of the spanning tree, 1 to 65535. */
  readonly cost?: number;
  /** Whether a frame may leave by the port that it came in. */
  readonly hairpin?: boolean;
  /** Whether spanning tree messages from this port are refused (BPDU guard). */
  readonly guard?: boolean;
  /** Whether this port may never lead to the root. */
  readonly rootBlock?: boolean;
  /** Whether a multicast group is left at once. */
  readonly fastLeave?: boolean;
  /** Whether addresses are learned here. */
  readonly learning?: boolean;
  /** Whether unicast frames to unknown addresses leave here. */
  readonly flood?: boolean;
  /** Whether the bridge answers ARP for what is behind the port. */
  readonly proxyArp?: boolean;
  /** Whether all multicast leaves here. */
  readonly multicastRouter?: 'off' | 'learn' | 'always' | 'temporary' | number;
  /** Whether multicast to unknown groups leaves here. */
  readonly multicastFlood?: boolean;
  /** Whether multicast leaves as one unicast frame for each listener. */
  readonly multicastToUnicast?: boolean;
  /** Whether broadcasts leave here. */
  readonly broadcastFlood?: boolean;
  /** As {@link BridgeOptions.groupForwardMask}, for this port. */
  readonly groupForwardMask?: number;
  /** Whether the bridge answers ARP and NDP from what it knows, and does not flood it. */
  readonly neighborSuppression?: boolean;
  /** Whether the port exchanges frames only with ports that are not isolated. */
  readonly isolated?: boolean;
  /** Whether frames from unknown addresses are dropped (802.1X). */
  readonly locked?: boolean;
}

/** A port of a bridge as it is now. */
export interface BridgePortDetails extends BridgePortOptions {
  /** Priority and MAC of the root, as the port's network sees it. */
  readonly designatedRoot?: string;
  /** The bridge that serves the port's network. */
  readonly designatedBridge?: string;
  /** Its port there. */
  readonly designatedPort?: number;
  /** Its cost to the root. */
  readonly designatedCost?: number;
  /** Priority and number together. */
  readonly portId?: number;
  /** Number of the port in the bridge. */
  readonly portNumber?: number;
}

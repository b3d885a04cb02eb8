/**
 * Network configuration over rtnetlink: namespaces, links, addresses, routes and their changes.
 * @module tuntap-native/net
 */

export type { SystemError } from '../system-error.js';
export { type BridgeSetup, createBridge } from './bridge.js';
export { Link } from './link.js';
export type { AddressFilter, LinkFilter } from './link-list.js';
export {
  type ChangeEvent,
  type MonitoredType,
  type MonitorOptions,
  type NetworkEvent,
  NetworkMonitor,
  type OverflowEvent,
  type SnapshotEvent,
} from './monitor.js';
export type { NamespaceHandle } from './namespace/handle.js';
export type { ResolvedAddress, ResolveOptions } from './namespace/resolver.js';
export type { NamespaceSpawnOptions } from './namespace/spawn.js';
export type {
  NamespaceBindOptions,
  NamespaceConnectionOptions,
  NamespaceConnectOptions,
  NamespaceListenOptions,
} from './namespace-sockets.js';
export type { UnknownAttribute } from './netlink/attributes.js';
export type { NetlinkError } from './netlink/error.js';
export type { NeighborFilter, RouteFilter } from './network-configuration.js';
export { type NamespaceReference, NetworkNamespace, type NewNamespaceOptions } from './network-namespace.js';
export type { AddressFlag, AddressInfo, AddressOptions, Scope } from './rtnetlink/address.js';
export type {
  BridgeDetails,
  BridgeOptions,
  BridgePortDetails,
  BridgePortOptions,
} from './rtnetlink/bridge.js';
export type { BridgeVlan, NewBridgeVlan } from './rtnetlink/bridge-vlan.js';
export type { Family } from './rtnetlink/family.js';
export type { FdbEntry, NewFdbEntry } from './rtnetlink/fdb.js';
export type { LinkChange } from './rtnetlink/link-change.js';
export type { LinkFlag, LinkInfo } from './rtnetlink/link-info.js';
export type {
  LinkDetails,
  MacvlanDetails,
  TunDetails,
  VethDetails,
  VlanDetails,
  VxlanDetails,
} from './rtnetlink/link-kinds.js';
export type { LinkProperties, LinkSettings, LinkStatistics } from './rtnetlink/link-message.js';
export type { LinkReference } from './rtnetlink/link-names.js';
export type { LinkName } from './rtnetlink/link-requests.js';
export type {
  FdbDestination,
  NeighborAges,
  NeighborFlag,
  NeighborInfo,
  NeighborState,
  NewNeighbor,
} from './rtnetlink/neighbor.js';
export type {
  NewBridge,
  NewLink,
  NewLinkBase,
  NewLinkInNamespace,
  NewMacvlan,
  NewPlainLink,
  NewVeth,
  NewVlan,
  NewVxlan,
  VethPeer,
} from './rtnetlink/new-link.js';
export type { NewQdisc, QdiscInfo, TbfOptions } from './rtnetlink/qdisc.js';
export type {
  NewNexthop,
  NewRoute,
  NexthopFlag,
  NexthopInfo,
  RouteInfo,
  RouteProtocol,
  RouteTable,
  RouteType,
} from './rtnetlink/route.js';
export type { RouteMetric, RouteMetrics } from './rtnetlink/route-metrics.js';
export type { NewRule, RuleInfo } from './rtnetlink/rule.js';
export { type AddressedLink, createVethPair, type VethEnd } from './veth-pair.js';

export type { SystemError } from '../system-error.js';
export type { AddressFlag, AddressInfo, Scope } from './address-message.js';
export type { AddressOptions } from './address-requests.js';
export type { UnknownAttribute } from './attributes.js';
export type {
  BridgeDetails,
  BridgeOptions,
  BridgePortDetails,
  BridgePortOptions,
} from './bridge-attributes.js';
export type { BridgeVlan, NewBridgeVlan } from './bridge-vlan.js';
export type { Family } from './families.js';
export { createLab, Lab } from './lab.js';
export type { LabBridge, LabDescription, LabEnd, LabHost } from './lab-plan.js';
export { Link } from './link.js';
export type { LinkChange } from './link-change.js';
export { type AddressFilter, LinkConfiguration, type LinkFilter } from './link-configuration.js';
export type { LinkFlag, LinkInfo } from './link-info.js';
export type {
  LinkDetails,
  MacvlanDetails,
  TunDetails,
  VethDetails,
  VlanDetails,
  VxlanDetails,
} from './link-kinds.js';
export type { LinkStatistics } from './link-message.js';
export {
  type ChangeEvent,
  type MonitoredType,
  type MonitorOptions,
  type NetworkEvent,
  NetworkMonitor,
  type OverflowEvent,
  type SnapshotEvent,
} from './monitor.js';
export type {
  FdbEntry,
  NeighborAges,
  NeighborFlag,
  NeighborInfo,
  NeighborState,
} from './neighbor-message.js';
export type { NewFdbEntry, NewNeighbor } from './neighbor-requests.js';
export type { NetlinkError } from './netlink-error.js';
export { type NeighborFilter, NetworkConfiguration, type RouteFilter } from './network-configuration.js';
export { type NamespaceReference, NetworkNamespace } from './network-namespace.js';
export type {
  LinkReference,
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
} from './new-link.js';
export type { NewQdisc, QdiscInfo, TbfOptions } from './qdisc-message.js';
export type {
  NexthopFlag,
  NexthopInfo,
  RouteInfo,
  RouteProtocol,
  RouteTable,
  RouteType,
} from './route-message.js';
export type { NewNexthop, NewRoute } from './route-requests.js';
export type { NewRule, RuleInfo } from './rule-message.js';
export { type BridgeSetup, createBridge, createVethPair, type VethEnd } from './topology.js';

/** Links to make: what a user says, and the attributes that say it to the kernel. */

import { checkIp } from '../../address.js';
import {
  checkLinkMtu,
  checkName,
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../../arguments.js';
import type { NamespaceHandle } from '../namespace/handle.js';
import { type BridgeOptions, bridgeTable } from './bridge.js';
import { kindTables } from './link-kinds.js';
import { ifinfomsg, type LinkValues, linkBody } from './link-message.js';
import type { LinkReference } from './link-names.js';

/** What every new link can be told. */
export interface NewLinkBase {
  /** At most 15 bytes, without `/`, `:` and white space. */
  readonly name: string;
  /** Its number; **Default:** the kernel chooses one. */
  readonly index?: number;
  /** Whether it is switched on. **Default:** `false` */
  readonly up?: boolean;
  /** In bytes. **Default:** the kind's */
  readonly mtu?: number;
  /** Its link-layer address. **Default:** a random one, where the kind has any */
  readonly mac?: string;
  /** A text of the user's, at most 255 bytes. */
  readonly alias?: string;
  /** The group that it is in. **Default:** 0 */
  readonly group?: number;
  /** In packets. **Default:** 1000, or the kind's */
  readonly txQueueLength?: number;
  /** Transmit queues. */
  readonly txQueues?: number;
  /** Receive queues. */
  readonly rxQueues?: number;
}

/** What a new link of a namespace can be told. */
export interface NewLinkInNamespace extends NewLinkBase {
  /** The bridge that it becomes a port of. */
  readonly master?: LinkReference;
}

/** The other end of a new veth pair. The kernel can't switch it on in the same step; {@link createVethPair} does. */
export interface VethPeer extends Omit<NewLinkBase, 'up'> {
  /** **Default:** the one of the first end */
  readonly namespace?: NamespaceHandle;
}

/** A virtual Ethernet cable, both ends in one request. */
export interface NewVeth extends NewLinkInNamespace {
  /** The kind. */
  readonly kind: 'veth';
  /** The other end. */
  readonly peer: VethPeer;
}

/** A bridge. */
export interface NewBridge extends NewLinkInNamespace, BridgeOptions {
  /** The kind. */
  readonly kind: 'bridge';
}

/** Ethernet in UDP (RFC 7348). */
export interface NewVxlan extends NewLinkInNamespace {
  /** The kind. */
  readonly kind: 'vxlan';
  /** The VXLAN network identifier, 0 to 16777215. */
  readonly id: number;
  /** Where frames to unknown addresses go: a host, or a multicast group, which needs `link`. */
  readonly remote?: string;
  /** Source address of the outer packets. */
  readonly local?: string;
  /** The link that the outer packets leave by. */
  readonly link?: LinkReference;
  /** Destination port. **Default:** 4789 */
  readonly port?: number;
  /** Source ports, first and last. */
  readonly portRange?: readonly [number, number];
  /** Of the outer packets. */
  readonly ttl?: number;
  /** Of the outer packets; 1: that of the inner packet. */
  readonly tos?: number;
  /** Whether it learns where addresses are. **Default:** `true` */
  readonly learning?: boolean;
  /** Seconds that a learned address is kept. **Default:** 300 */
  readonly ageing?: number;
  /** How many addresses it keeps. **Default:** any number */
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

/** A link that shares another link's wire, with a MAC of its own. */
export interface NewMacvlan extends NewLinkInNamespace {
  /** The kind; a macvtap has a character device, for `openMacvtap`, as well. */
  readonly kind: 'macvlan' | 'macvtap';
  /** The link whose wire it shares. */
  readonly link: LinkReference;
  /** How the links on the same wire reach one another. **Default:** `vepa`, the kernel's */
  readonly mode?: 'private' | 'vepa' | 'bridge' | 'passthru' | 'source';
}

/** A VLAN of another link. */
export interface NewVlan extends NewLinkInNamespace {
  /** The kind. */
  readonly kind: 'vlan';
  /** The link that it is a VLAN of. */
  readonly link: LinkReference;
  /** The VLAN's number, 0 to 4094. */
  readonly id: number;
  /** The tag's EtherType. **Default:** `802.1Q` */
  readonly protocol?: '802.1Q' | '802.1ad';
}

/** A link of a kind without options here. */
export interface NewPlainLink extends NewLinkInNamespace {
  /** The kind; which of them there are is the kernel's choice (ENOTSUP). */
  readonly kind: 'dummy' | 'ifb' | 'nlmon' | 'wireguard';
}

/** A link to make, by its kind. */
export type NewLink = NewVeth | NewBridge | NewVxlan | NewMacvlan | NewVlan | NewPlainLink;

const PLAIN_KINDS: readonly string[] = ['dummy', 'ifb', 'nlmon', 'wireguard'];

/** The attributes that every link may have, checked. */
export function baseValues(link: NewLinkBase): LinkValues & { readonly name: string } {
  requireObject('link', link);
  const { name, mtu, mac, alias, group, txQueueLength, txQueues, rxQueues } = link;
  if (link.up !== undefined) requireBoolean('up', link.up);
  if (link.index !== undefined) requireInteger('index', link.index, 1, 0x7fffffff);
  return {
    name: checkName(name, false),
    mtu: mtu === undefined ? undefined : checkLinkMtu(mtu),
    mac,
    alias,
    group,
    txQueueLength,
    txQueues,
    rxQueues,
  };
}

/** The references to other links in a new link, which are to be turned into indices. */
export function referencesOf(link: NewLink): readonly LinkReference[] {
  const { master } = link;
  const parent = 'link' in link ? link.link : undefined;
  return [master, parent].filter((reference) => reference !== undefined);
}

/**
 * The attributes that make a link.
 * @param index gives the index of a link that {@link referencesOf} named
 */
export function newLinkValues(
  link: NewLink,
  index: (reference: LinkReference) => number,
): LinkValues & { readonly name: string } {
  const values = baseValues(link);
  const masterIndex = link.master === undefined ? undefined : index(link.master);
  const info = (data?: object) => ({ ...values, masterIndex, info: { kind: link.kind, data } });
  switch (link.kind) {
    case 'veth':
      return info({ peer: encodePeer(link.peer) });
    case 'bridge':
      return info(bridgeValues(link));
    case 'vxlan':
      return info(vxlanValues(link, index));
    case 'macvlan':
    case 'macvtap':
      return { ...info({ mode: link.mode }), linkIndex: index(required('link', link.link)) };
    case 'vlan': {
      const { id, protocol } = link;
      requireInteger('id', id, 0, 4094);
      return { ...info({ id, protocol }), linkIndex: index(required('link', link.link)) };
    }
    default:
      if (PLAIN_KINDS.includes(link.kind)) return info();
      throw invalidArgValue(
        'kind',
        (link as { kind: unknown }).kind,
        `must be one of ${[...Object.keys(kindTables), ...PLAIN_KINDS].filter((kind) => kind !== 'tun').join(', ')}; TUN and TAP devices are opened by openTun() and openTap()`,
      );
  }
}

/** Only what belongs to a bridge. */
export function bridgeValues(options: BridgeOptions): BridgeOptions {
  const values: Record<string, unknown> = {};
  for (const name of bridgeTable.fields()) values[name] = options[name as keyof BridgeOptions];
  return values;
}

/** VETH_INFO_PEER: a link's header and attributes (drivers/net/veth.c). */
function encodePeer(peer: VethPeer): Buffer {
  if (peer === undefined) throw invalidArgType('peer', 'an object', peer);
  const values = baseValues(peer);
  if ('up' in peer) throw invalidArgValue('peer.up', peer.up, "can't be set here: see createVethPair()");
  const namespaceFd = peer.namespace?.fd;
  if (namespaceFd !== undefined && namespaceFd < 0) {
    throw invalidArgValue('peer.namespace', peer.namespace, 'is closed');
  }
  return linkBody(ifinfomsg(peer.index ?? 0), { ...values, namespaceFd });
}

function vxlanValues(link: NewVxlan, index: (reference: LinkReference) => number): object {
  const { id, remote, local, port = 4789, portRange, ttl, tos, learning = true, ageing, limit } = link;
  requireInteger('id', id, 0, 0xffffff);
  const isV6 = (name: string, address: string | undefined) =>
    address !== undefined && checkIp(name, address).length === 16;
  return {
    id,
    ...(isV6('remote', remote) ? { remote6: remote } : { remote }),
    ...(isV6('local', local) ? { local6: local } : { local }),
    linkIndex: link.link === undefined ? undefined : index(link.link),
    port,
    portRange,
    ttl,
    tos,
    learning,
    ageing,
    limit,
    proxy: link.proxy,
    l2miss: link.l2miss,
    l3miss: link.l3miss,
    udpChecksum: link.udpChecksum,
  };
}

function required<T>(name: string, value: T | undefined): T {
  if (value === undefined) throw invalidArgType(name, 'given', value);
  return value;
}

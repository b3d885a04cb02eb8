/** Links to make: what the caller gives, and the attributes that are sent. */

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
import { defined } from '../netlink/attributes.js';
import type { BridgeOptions } from './bridge.js';
import type { LinkInfo } from './link-info.js';
import { kindTables, type MacvlanOptions, type VlanOptions, type VxlanOptions } from './link-kinds.js';
import {
  ifinfomsg,
  type LinkSettings,
  type LinkValues,
  linkSettingsTable,
  linkTable,
} from './link-message.js';
import type { LinkReference } from './link-names.js';

/** Options of every new link. The kernel chooses what you leave out; `mtu` and the queues depend on the kind. */
export interface NewLinkBase extends LinkSettings {
  /** At most 15 bytes, without `/`, `:` and white space. */
  readonly name: string;
  /** Its number. **Default:** the kernel chooses one */
  readonly index?: number;
  /** Whether it is switched on. **Default:** `false` */
  readonly up?: boolean;
}

/** Options of a new link in a namespace. */
export interface NewLinkInNamespace extends NewLinkBase {
  /** The bridge that it becomes a port of. */
  readonly master?: LinkReference;
}

/** The other end of a new veth pair. The kernel can't switch it on in the same request; `createVethPair()` does. */
export interface VethPeer extends Omit<NewLinkBase, 'up'> {
  /** Where it is to be. **Default:** the namespace of the first end */
  readonly namespace?: NamespaceHandle;
}

/** A veth pair, both ends in one request. */
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
export interface NewVxlan extends NewLinkInNamespace, VxlanOptions {
  /** The kind. */
  readonly kind: 'vxlan';
  readonly id: number;
  /** The link that the outer packets leave by. */
  readonly link?: LinkReference;
}

/** A link that shares another link's network, with a MAC of its own. */
export interface NewMacvlan extends NewLinkInNamespace, MacvlanOptions {
  /** The kind; a macvtap has a character device, for `openMacvtap`, as well. */
  readonly kind: 'macvlan' | 'macvtap';
  /** The link whose network it shares. */
  readonly link: LinkReference;
}

/** A VLAN of another link. */
export interface NewVlan extends NewLinkInNamespace, VlanOptions {
  /** The kind. */
  readonly kind: 'vlan';
  readonly id: number;
  /** The link that it is a VLAN of. */
  readonly link: LinkReference;
}

/** A link of a kind without further options. */
export interface NewPlainLink extends NewLinkInNamespace {
  /** The kind. A kernel without it answers ENOTSUP. */
  readonly kind: 'dummy' | 'ifb' | 'nlmon' | 'wireguard';
}

/** A link to make, by its kind. */
export type NewLink = NewVeth | NewBridge | NewVxlan | NewMacvlan | NewVlan | NewPlainLink;

const PLAIN_KINDS: readonly string[] = ['dummy', 'ifb', 'nlmon', 'wireguard'];

/** The attributes that every link may have, checked. */
function baseValues(what: 'link' | 'peer', link: NewLinkBase): LinkValues & { readonly name: string } {
  requireObject(what, link);
  if (link.up !== undefined) requireBoolean(`${what}.up`, link.up);
  if (link.index !== undefined) requireInteger(`${what}.index`, link.index, 1, 0x7fffffff);
  if (link.mtu !== undefined) checkLinkMtu(`${what}.mtu`, link.mtu);
  return { ...linkSettingsTable.pick(link), name: checkName(`${what}.name`, link.name) };
}

const KINDS = [...Object.keys(kindTables).filter((kind) => kind !== 'tun'), ...PLAIN_KINDS];

/** The link that a link belongs to. A veth's `LinkInfo` names its peer there. */
function parentOf({ kind, link }: { kind?: string; link?: LinkReference }): LinkReference | undefined {
  return kind === 'veth' ? undefined : link;
}

/** The references to other links in a new link, which are to be turned into indices. */
export function referencesOf(link: NewLink | LinkInfo): readonly LinkReference[] {
  return [link.master, parentOf(link)].filter((reference) => reference !== undefined);
}

/**
 * The attributes that make a link.
 * @param index gives the index of a link that {@link referencesOf} named
 */
export function newLinkValues(
  link: NewLink | LinkInfo,
  index: (reference: LinkReference) => number,
): LinkValues & { readonly name: string } {
  const { kind = '', master } = link;
  const options = ('details' in link ? link.details : undefined) ?? link;
  const values = {
    ...baseValues('link', link),
    masterIndex: master === undefined ? undefined : index(master),
  };
  if (!KINDS.includes(kind)) {
    const expected = `must be one of ${KINDS.join(', ')}; TUN and TAP devices are opened by openTun() and openTap()`;
    throw invalidArgValue('kind', link.kind, expected);
  }
  if (PLAIN_KINDS.includes(kind)) return { ...values, info: { kind } };
  if (kind === 'veth') return { ...values, info: { kind, data: { peer: encodePeer(peerOf(link)) } } };
  const parent = parentOf(link);
  const linkIndex = parent === undefined ? undefined : index(parent);
  const data = kindTables[kind as keyof typeof kindTables].pick(options);
  if (kind === 'vxlan') {
    return { ...values, info: { kind, data: vxlanValues(data as VxlanOptions, linkIndex) } };
  }
  if (kind === 'bridge') {
    // A kernel without VLAN filtering lists `false`, and refuses even that.
    const vlanFiltering = (options as BridgeOptions).vlanFiltering || undefined;
    return { ...values, info: { kind, data: { ...data, vlanFiltering } } };
  }
  if (kind === 'vlan') requireInteger('id', (data as VlanOptions).id, 0, 4094);
  return { ...values, info: { kind, data }, linkIndex: required('link', linkIndex) };
}

/** The peer that a veth is to have. A `LinkInfo` knows its name if it is in the same namespace. */
function peerOf(link: NewLink | LinkInfo): VethPeer {
  if ('peer' in link) return link.peer;
  const { link: name, linkIndex: index } = link as LinkInfo;
  return required('peer', name === undefined ? undefined : { name, index });
}

/** VETH_INFO_PEER: a link's header and attributes (drivers/net/veth.c). */
function encodePeer(peer: VethPeer): Buffer {
  const values = baseValues('peer', peer);
  if ('up' in peer) throw invalidArgValue('peer.up', peer.up, "can't be set here: see createVethPair()");
  const namespaceFd = peer.namespace?.fd;
  if (namespaceFd !== undefined && namespaceFd < 0) {
    throw invalidArgValue('peer.namespace', peer.namespace, 'is closed');
  }
  return Buffer.concat([ifinfomsg(peer.index ?? 0), linkTable.encode({ ...values, namespaceFd })]);
}

function vxlanValues(options: VxlanOptions, linkIndex: number | undefined): object {
  const { id, remote, local, port = 4789, learning = true } = options;
  requireInteger('id', id, 0, 0xffffff);
  const isV6 = (name: string, address: string | undefined) =>
    address !== undefined && checkIp(name, address).length === 16;
  return {
    ...options,
    ...(isV6('remote', remote) && { remote: undefined, remote6: remote }),
    ...(isV6('local', local) && { local: undefined, local6: local }),
    ...{ port, learning },
    ...defined({ linkIndex }),
  };
}

function required<T>(name: string, value: T | undefined): T {
  if (value === undefined) throw invalidArgType(name, 'given', value);
  return value;
}

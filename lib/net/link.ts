/** Links over rtnetlink (rtnetlink(7), linux/if_link.h). */

import { formatMac } from '../address.js';
import {
  attribute,
  decodeAttributes,
  nested,
  readI32,
  readText,
  readU32,
  text,
  u16,
  u32,
} from './netlink-message.js';
import type { NetlinkSocket } from './netlink-socket.js';

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const IFINFOMSG_SIZE = 16;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_TXQLEN = 13;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_MACVLAN_MODE = 1;

export const IFF_UP = 0x1;

/** A link as the kernel has it now. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `IFF_UP` and the other flags of netdevice(7). */
  readonly flags: number;
  /** In bytes. */
  readonly mtu: number;
  /** The link-layer address, where the link has one. */
  readonly mac?: string;
  /** In packets. */
  readonly txQueueLength: number;
}

export interface LinkChange {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: Uint8Array;
  readonly txQueueLength?: number;
}

function header(index: number, flags = 0, change = 0): Buffer {
  return Buffer.concat([u16(0), u16(0), u32(index), u32(flags), u32(change)]);
}

/** @param which a link's name or index */
export function getLink(socket: NetlinkSocket, which: string | number): Link {
  const parts =
    typeof which === 'number' ? [header(which)] : [header(0), attribute(IFLA_IFNAME, text(which))];
  const [answer] = socket.request('get link', String(which), RTM_GETLINK, 0, ...parts);
  const payload = answer?.payload ?? Buffer.alloc(0);
  if (payload.length < IFINFOMSG_SIZE) throw new Error(`rtnetlink gave no link for '${which}'`);
  const attributes = decodeAttributes(payload.subarray(IFINFOMSG_SIZE));
  const number = (type: number): number => {
    const value = attributes.get(type);
    return value && value.length >= 4 ? readU32(value) : 0;
  };
  const mac = attributes.get(IFLA_ADDRESS);
  return {
    index: readI32(payload, 4),
    name: readText(attributes.get(IFLA_IFNAME) ?? Buffer.alloc(0)),
    flags: readU32(payload, 8),
    mtu: number(IFLA_MTU),
    ...(mac?.length === 6 && { mac: formatMac(mac) }),
    txQueueLength: number(IFLA_TXQLEN),
  };
}

export function setLink(
  socket: NetlinkSocket,
  { index, name }: { index: number; name: string },
  change: LinkChange,
): void {
  const { up, mtu, mac, txQueueLength } = change;
  socket.request(
    'set link',
    name,
    RTM_NEWLINK,
    0,
    header(index, up ? IFF_UP : 0, up === undefined ? 0 : IFF_UP),
    ...(mtu === undefined ? [] : [attribute(IFLA_MTU, u32(mtu))]),
    ...(mac === undefined ? [] : [attribute(IFLA_ADDRESS, mac)]),
    ...(txQueueLength === undefined ? [] : [attribute(IFLA_TXQLEN, u32(txQueueLength))]),
  );
}

/** The modes of a macvtap or macvlan link (ip-link(8)), with the kernel's values. */
export const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;

export function addMacvtap(
  socket: NetlinkSocket,
  name: string,
  parent: number,
  mode: keyof typeof MACVLAN_MODES,
): void {
  socket.request(
    'add link',
    name,
    RTM_NEWLINK,
    NLM_F_CREATE | NLM_F_EXCL,
    header(0),
    attribute(IFLA_IFNAME, text(name)),
    attribute(IFLA_LINK, u32(parent)),
    nested(
      IFLA_LINKINFO,
      attribute(IFLA_INFO_KIND, text('macvtap')),
      nested(IFLA_INFO_DATA, attribute(IFLA_MACVLAN_MODE, u32(MACVLAN_MODES[mode]))),
    ),
  );
}

export function deleteLink(socket: NetlinkSocket, index: number, name: string): void {
  socket.request('delete link', name, RTM_DELLINK, 0, header(index));
}

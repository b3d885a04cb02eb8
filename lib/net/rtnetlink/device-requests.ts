/** What opening a device needs of rtnetlink, synchronous as open(2) is. */

import { type Cidr, formatIp, formatMac } from '../../address.js';
import type { NetlinkSocket } from '../netlink/socket.js';
import { addressRequest } from './address.js';
import type { LinkInfo } from './link-info.js';
import type { MACVLAN_MODES } from './link-kinds.js';
import {
  addLinkRequest,
  deleteLinkRequest,
  getLinkRequest,
  type LinkName,
  replied,
  setLinkRequest,
} from './link-requests.js';

/** @param which a link's name, alternative name or index */
export function getLink(socket: NetlinkSocket, which: string | number): LinkInfo {
  return replied(socket.request(getLinkRequest(which)), which);
}

export function setLink(
  socket: NetlinkSocket,
  link: LinkName,
  change: {
    readonly up?: boolean;
    readonly mtu?: number;
    readonly mac?: Uint8Array;
    readonly txQueueLength?: number;
  },
): void {
  const { up, mtu, mac, txQueueLength } = change;
  const values = { mtu, mac: mac && formatMac(mac), txQueueLength };
  socket.request(setLinkRequest(link, values, up));
}

/**
 * Adds an address to a link, without duplicate address detection: it is usable on return. An IPv4 network of
 * three or more hosts gets its broadcast address.
 */
export function addAddress(socket: NetlinkSocket, link: LinkName, cidr: Cidr): void {
  const text = `${formatIp(cidr.address)}/${cidr.prefixLength}`;
  const broadcast = cidr.family === 4 && cidr.prefixLength < 31 ? true : undefined;
  socket.request(addressRequest('add', link, text, { noDad: cidr.family === 6, broadcast }));
}

export function addMacvtap(
  socket: NetlinkSocket,
  name: string,
  parent: number,
  mode: keyof typeof MACVLAN_MODES,
): void {
  const info = { kind: 'macvtap', data: { mode } };
  socket.request(addLinkRequest({ name, linkIndex: parent, info }, {}));
}

export function deleteLink(socket: NetlinkSocket, index: number, name: string): void {
  socket.request(deleteLinkRequest({ index, name }));
}

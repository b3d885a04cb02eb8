/** The requests of opening a device, synchronous as open(2) is. */

import { type Cidr, formatIp } from '../../address.js';
import { matching } from '../netlink/attributes.js';
import type { NetlinkSocket } from '../netlink/socket.js';
import { addressRequest, type BareAddress, listAddressesRequest } from './address.js';
import { AF_UNSPEC } from './family.js';
import type { LinkInfo } from './link-info.js';
import type { MacvtapMode } from './link-kinds.js';
import { addLinkRequest, getLinkRequest, type LinkName, replied } from './link-requests.js';

/** @param which a link's name, alternative name or index */
export function getLink(socket: NetlinkSocket, which: string | number): LinkInfo {
  return replied(socket.request(getLinkRequest(which)), which);
}

/**
 * Gives a link an address, unless it has it, without duplicate address detection: it is usable on return. An IPv4
 * network of three or more hosts gets its broadcast address.
 * @throws EEXIST if the link has it with another prefix length or a peer
 */
export function ensureAddress(socket: NetlinkSocket, link: LinkName, cidr: Cidr): void {
  const { family, prefixLength } = cidr;
  const address = formatIp(cidr.address);
  const options = { noDad: family === 6, broadcast: (family === 4 && prefixLength < 31) || undefined };
  const send = (action: 'add' | 'replace') =>
    socket.request(addressRequest(action, link, `${address}/${prefixLength}`, options));
  try {
    send('add');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const isSame = matching<BareAddress>({ index: link.index, address, prefixLength });
    const found = socket.request(listAddressesRequest(AF_UNSPEC, link.index)).filter(isSame);
    if (!found.some(({ peer }) => peer === undefined)) throw error;
    send('replace'); // It may have had a lifetime.
  }
}

/** Makes a macvtap link, unless the same one exists, which a killed process may have left. */
export function ensureMacvtap(socket: NetlinkSocket, name: string, parent: number, mode: MacvtapMode): void {
  const info = { kind: 'macvtap', data: { mode } };
  try {
    socket.request(addLinkRequest({ name, linkIndex: parent, info }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const { linkIndex, details } = getLink(socket, name);
    if (linkIndex !== parent || details?.kind !== 'macvtap' || details.mode !== mode) throw error;
  }
}

/** The lists of links and addresses, and their filters. */

import { requireObject } from '../arguments.js';
import { matching } from './netlink/attributes.js';
import type { RequestQueue } from './netlink/request-queue.js';
import {
  type AddressInfo,
  type BareAddress,
  listAddressesRequest,
  SCOPES,
  type Scope,
} from './rtnetlink/address.js';
import { type Family, fromFamily } from './rtnetlink/family.js';
import type { LinkInfo } from './rtnetlink/link-info.js';
import { findLink, type LinkReference, namesOf, withNames } from './rtnetlink/link-names.js';
import { listLinksRequest } from './rtnetlink/link-requests.js';

/** Which links to list. What you leave out does not matter. */
export interface LinkFilter {
  /** Of this kind. */
  readonly kind?: string;
  /** Ports of this bridge. */
  readonly master?: LinkReference;
  /** Switched on, or not. */
  readonly up?: boolean;
  /** In this group. */
  readonly group?: number;
  /** With packet and byte counters. **Default:** `false` */
  readonly statistics?: boolean;
}

/** Which addresses to list. What you leave out does not matter. */
export interface AddressFilter {
  /** Of this link. */
  readonly device?: LinkReference;
  /** Of IPv4 or IPv6. */
  readonly family?: Family;
  /** Valid this far. */
  readonly scope?: Scope;
}

// The kernel filters where it can. Each list is filtered here again: older kernels ignore what they are asked for.

export async function listLinks(rtnetlink: RequestQueue, filter: LinkFilter): Promise<readonly LinkInfo[]> {
  requireObject('filter', filter);
  const { kind, up, group, statistics } = filter;
  const masterIndex = (await findLink(rtnetlink, filter.master))?.index;
  const found = await rtnetlink.request(listLinksRequest(statistics, { masterIndex, kind }));
  const links = found.filter(matching<LinkInfo>({ kind, masterIndex, up, group }));
  const nameOf = await namesOf(
    rtnetlink,
    links.flatMap((link) => [link.masterIndex, link.linkNetnsid === undefined ? link.linkIndex : undefined]),
    found,
  );
  return links.map((link) => withNames(link, nameOf));
}

export async function listAddresses(
  rtnetlink: RequestQueue,
  filter: AddressFilter,
): Promise<readonly AddressInfo[]> {
  requireObject('filter', filter);
  const { family } = filter;
  const scope = SCOPES.normal('filter.scope', filter.scope);
  const addressFamily = fromFamily(family);
  const device = await findLink(rtnetlink, filter.device);
  const listed = await rtnetlink.request(listAddressesRequest(addressFamily, device?.index));
  const found = listed.filter(matching<BareAddress>({ family, scope, index: device?.index }));
  const indices = found.map(({ index }) => index);
  const nameOf = await namesOf(rtnetlink, indices, device && [device]);
  return found.map((address) => ({ ...address, device: nameOf(address.index) }));
}

/** What can be asked about links: requests as data, without I/O. */

import { checkIndex, checkName } from '../../arguments.js';
import { NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL } from '../netlink/message.js';
import { nothing, type Request } from '../netlink/request.js';
import { decodeLink, type LinkInfo } from './link-info.js';
import {
  IFF_UP,
  IFINFOMSG_SIZE,
  ifinfomsg,
  type LinkValues,
  linkBody,
  linkTable,
  RTM_DELLINK,
  RTM_GETLINK,
  RTM_NEWLINK,
} from './link-message.js';

const RTEXT_FILTER_SKIP_STATS = 8;

const family = { headerSize: IFINFOMSG_SIZE, table: linkTable } as const;

function checkReference(which: unknown): string | number {
  return typeof which === 'number' ? checkIndex('link', which) : checkName(which, false);
}

/** One link, by name or index. */
export function getLinkRequest(which: string | number, statistics = false): Request<LinkInfo> {
  checkReference(which);
  const filter = statistics ? undefined : RTEXT_FILTER_SKIP_STATS;
  return {
    ...family,
    operation: 'get link',
    subject: String(which),
    type: RTM_GETLINK,
    flags: 0,
    body:
      typeof which === 'number'
        ? linkBody(ifinfomsg(which), { filter })
        : linkBody(ifinfomsg(0), { name: which, filter }),
    decode: (message) => (message.type === RTM_NEWLINK ? decodeLink(message, statistics) : undefined),
  };
}

/** All links. */
export function listLinksRequest(statistics = false): Request<LinkInfo> {
  return {
    ...family,
    operation: 'list links',
    type: RTM_GETLINK,
    flags: NLM_F_DUMP,
    body: linkBody(ifinfomsg(0), { filter: statistics ? undefined : RTEXT_FILTER_SKIP_STATS }),
    decode: (message) => (message.type === RTM_NEWLINK ? decodeLink(message, statistics) : undefined),
  };
}

/**
 * A new link. The kernel answers with it (NLM_F_ECHO, for links since Linux 6.2), unless it was made in
 * another namespace or the kernel is older.
 */
export function addLinkRequest(
  values: LinkValues & { readonly name: string },
  { up, index = 0 }: { readonly up?: boolean; readonly index?: number },
): Request<LinkInfo> {
  return {
    ...family,
    operation: 'add link',
    subject: values.name,
    type: RTM_NEWLINK,
    flags: NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO,
    body: linkBody(linkHeader(index, up), values),
    decode: (message) => (message.type === RTM_NEWLINK ? decodeLink(message) : undefined),
  };
}

/** Changes a link. */
export function setLinkRequest(
  { index, name }: { readonly index: number; readonly name: string },
  values: LinkValues,
  up?: boolean,
  operation = 'set link',
): Request<undefined> {
  return {
    ...family,
    operation,
    subject: name,
    type: RTM_NEWLINK,
    flags: 0,
    body: linkBody(linkHeader(index, up), values),
    decode: nothing,
  };
}

export function deleteLinkRequest({
  index,
  name,
}: {
  readonly index: number;
  readonly name: string;
}): Request<undefined> {
  return {
    ...family,
    operation: 'delete link',
    subject: name,
    type: RTM_DELLINK,
    flags: 0,
    body: linkBody(ifinfomsg(index)),
    decode: nothing,
  };
}

/** With the state that the link is to have, where that is told. */
export function linkHeader(index: number, up: boolean | undefined): Buffer {
  return ifinfomsg(index, up ? IFF_UP : 0, up === undefined ? 0 : IFF_UP);
}

/** Requests about links, as data without I/O. */

import { checkIndex, codedError, invalidArgType, invalidArgValue } from '../../arguments.js';
import { type NetlinkMessage, NLM_F_ECHO } from '../netlink/message.js';
import { changeRequest, getRequest, type Request } from '../netlink/request.js';
import { decodeLink, type LinkInfo } from './link-info.js';
import {
  IFF_UP,
  IFINFOMSG_SIZE,
  ifinfomsg,
  type LinkValues,
  linkTable,
  RTM_NEWLINK,
} from './link-message.js';

const RTEXT_FILTER_SKIP_STATS = 8;
const MAX_NAME_BYTES = 15; // IFNAMSIZ less its NUL
const MAX_ALTERNATIVE_NAME_BYTES = 127; // ALTIFNAMSIZ less its NUL

/** A link, as far as a request needs to know it. */
export interface LinkName {
  /** Its number in its namespace. */
  readonly index: number;
  /** Its name. */
  readonly name: string;
}

const linkMessages = { type: RTM_NEWLINK, headerSize: IFINFOMSG_SIZE, table: linkTable } as const;

/** What finds a link that exists by its name. An alternative name may hold any character but NUL. */
function nameValues(name: unknown): LinkValues {
  if (typeof name !== 'string') throw invalidArgType('link', 'a name, an index or a Link', name);
  const length = Buffer.byteLength(name);
  if (length === 0 || length > MAX_ALTERNATIVE_NAME_BYTES || name.includes('\0')) {
    throw invalidArgValue('link', name, `must have 1 to ${MAX_ALTERNATIVE_NAME_BYTES} bytes and no NUL`);
  }
  // Linux before 5.5 has no IFLA_ALT_IFNAME. Later kernels also find a short alternative name by IFLA_IFNAME.
  return length > MAX_NAME_BYTES ? { alternativeName: name } : { name };
}

/** One link, by name, alternative name or index. */
export function getLinkRequest(which: string | number, statistics = false): Request<LinkInfo> {
  const names = typeof which === 'number' ? {} : nameValues(which);
  const index = typeof which === 'number' ? checkIndex('link', which) : 0;
  const body = [ifinfomsg(index), linkTable.encode({ ...names, ...filter(statistics) })];
  const decode = (message: NetlinkMessage) => decodeLink(message, statistics);
  return getRequest(linkMessages, 'get link', body, decode, { subject: String(which), flags: 0 });
}

/** The link that a request got as its answer. */
export function replied([link]: readonly LinkInfo[], which: string | number): LinkInfo {
  if (link !== undefined) return link;
  throw codedError('ERR_TUNTAP_NO_REPLY', `The kernel sent no reply about link '${which}'`);
}

/** All links, or those that the kernel's filters let through. Linux before 4.20 may send all. */
export function listLinksRequest(
  statistics = false,
  { masterIndex, kind }: { readonly masterIndex?: number; readonly kind?: string } = {},
): Request<LinkInfo> {
  const info = kind === undefined ? undefined : { kind };
  const body = [ifinfomsg(0), linkTable.encode({ ...filter(statistics), masterIndex, info })];
  return getRequest(linkMessages, 'list links', body, (message) => decodeLink(message, statistics));
}

const filter = (statistics: boolean): LinkValues => (statistics ? {} : { filter: RTEXT_FILTER_SKIP_STATS });

/**
 * A new link. The kernel answers with it (NLM_F_ECHO, for links since Linux 6.2), unless it was made in
 * another namespace or the kernel is older.
 */
export function addLinkRequest(
  values: LinkValues & { readonly name: string },
  { up, index = 0 }: { readonly up?: boolean; readonly index?: number } = {},
): Request<LinkInfo> {
  const request = changeRequest(linkMessages, 'add', 'link', values.name, linkBody(index, up, values));
  return {
    ...request,
    flags: request.flags | NLM_F_ECHO,
    decode: (message) => (message.type === RTM_NEWLINK ? decodeLink(message) : undefined),
  };
}

/** Changes a link. */
export function setLinkRequest(
  { index, name }: LinkName,
  values: LinkValues,
  up?: boolean,
  operation = 'set link',
): Request<undefined> {
  const request = changeRequest(linkMessages, 'add', 'link', name, linkBody(index, up, values));
  return { ...request, operation, flags: 0 };
}

export function deleteLinkRequest({ index, name }: LinkName): Request<undefined> {
  return changeRequest(linkMessages, 'delete', 'link', name, [ifinfomsg(index)]);
}

/** With the state that the link is to have, if that is given. */
function linkBody(index: number, up: boolean | undefined, values: LinkValues): Buffer[] {
  return [ifinfomsg(index, up ? IFF_UP : 0, up === undefined ? 0 : IFF_UP), linkTable.encode(values)];
}

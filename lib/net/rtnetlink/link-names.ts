/** Links by name or index within one namespace, and the names that belong to indices. */

import { checkIndex, invalidArgType, invalidArgValue } from '../../arguments.js';
import { defined } from '../netlink/attributes.js';
import type { RequestQueue } from '../netlink/request-queue.js';
import type { LinkInfo } from './link-info.js';
import { getLinkRequest, type LinkName, listLinksRequest, replied } from './link-requests.js';

/** What names a link: its name, an alternative name, its index, or a `Link` or `LinkInfo` of the same namespace. */
export type LinkReference = string | number | LinkName;

// Up to this number, links are requested one by one, all in one send. More are found in a list of all links.
const FEW = 16;

/**
 * The names of links. A link that is gone meanwhile is named by its number, as `ip` does.
 * @param known links whose names need not be requested
 */
export async function namesOf(
  rtnetlink: RequestQueue,
  indices: Iterable<number | undefined>,
  known: readonly LinkName[] = [],
): Promise<(index: number) => string> {
  const names = new Map(known.map(({ index, name }) => [index, name]));
  const wanted = new Set<number>();
  for (const index of indices) {
    if (index !== undefined && index > 0 && !names.has(index)) wanted.add(index);
  }
  const links =
    wanted.size <= FEW
      ? (await Promise.all([...wanted].map((index) => lookUp(rtnetlink, index)))).flat()
      : await rtnetlink.request(listLinksRequest());
  for (const { index, name } of links) names.set(index, name);
  return (index) => names.get(index) ?? `if${index}`;
}

/** What was found on links, with the names of these. */
export async function withDevices<T extends { readonly deviceIndex: number }>(
  rtnetlink: RequestQueue,
  found: readonly T[],
  known?: LinkName,
): Promise<(T & { readonly device: string })[]> {
  const indices = found.map(({ deviceIndex }) => deviceIndex);
  const nameOf = await namesOf(rtnetlink, indices, known && [known]);
  return found.map((each) => ({ ...each, device: nameOf(each.deviceIndex) }));
}

/** The link of that name or index, if there is one. */
export async function lookUp(rtnetlink: RequestQueue, which: string | number): Promise<readonly LinkInfo[]> {
  try {
    return await rtnetlink.request(getLinkRequest(which));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENODEV') return [];
    throw error;
  }
}

/** The link of that name or index. */
export async function getLink(
  rtnetlink: RequestQueue,
  which: string | number,
  statistics = false,
): Promise<LinkInfo> {
  const link = replied(await rtnetlink.request(getLinkRequest(which, statistics)), which);
  const { masterIndex, linkIndex, linkNetnsid } = link;
  const near = linkNetnsid === undefined ? linkIndex : undefined;
  return withNames(link, await namesOf(rtnetlink, [masterIndex, near]));
}

/** The link that a filter names, or undefined without one. Throws ENODEV if the link does not exist. */
export async function findLink(
  rtnetlink: RequestQueue,
  reference: LinkReference | undefined,
): Promise<LinkName | undefined> {
  if (reference === undefined) return undefined;
  const which = nameOrIndex(rtnetlink, reference);
  return replied(await rtnetlink.request(getLinkRequest(which)), which);
}

/** The index of a link. An index that the caller gave is not looked up: the kernel refuses a wrong one. */
export async function indexOf(rtnetlink: RequestQueue, reference: LinkReference): Promise<number> {
  const which = nameOrIndex(rtnetlink, reference);
  if (typeof which === 'number') return which;
  return replied(await rtnetlink.request(getLinkRequest(which)), which).index;
}

function nameOrIndex(rtnetlink: RequestQueue, reference: LinkReference): string | number {
  if (typeof reference === 'string') return reference;
  if (typeof reference === 'number') return checkIndex('link', reference);
  if (typeof reference !== 'object' || reference === null || typeof reference.index !== 'number') {
    throw invalidArgType('link', 'a name, an index or a Link', reference);
  }
  const { namespace } = reference as { readonly namespace?: { readonly rtnetlink: RequestQueue } };
  if (namespace !== undefined && namespace.rtnetlink !== rtnetlink) {
    throw invalidArgValue('link', reference, 'is in another namespace');
  }
  return checkIndex('link', reference.index);
}

/** A link with the names of its master and of the link it belongs to. */
export function withNames(link: LinkInfo, nameOf: (index: number) => string): LinkInfo {
  const { masterIndex, linkIndex, linkNetnsid } = link;
  const near = linkNetnsid === undefined && linkIndex !== undefined && linkIndex > 0;
  const master = masterIndex === undefined ? undefined : nameOf(masterIndex);
  return { ...link, ...defined({ master, link: near ? nameOf(linkIndex) : undefined }) };
}

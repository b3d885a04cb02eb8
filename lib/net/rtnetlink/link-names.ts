/** Names of links from their indices, and the other way round, within one namespace. */

import { invalidArgValue } from '../../arguments.js';
import type { Conversation } from '../netlink/request-queue.js';
import type { LinkInfo } from './link-info.js';
import { getLinkRequest, listLinksRequest } from './link-requests.js';

// Up to so many links are asked for one by one, all in one send; more, by a list of all.
const FEW = 16;

/** The names of links. One that is gone meanwhile is named by its number, as `ip` does. */
export async function namesOf(
  conversation: Conversation,
  indices: Iterable<number | undefined>,
): Promise<(index: number) => string> {
  const wanted = new Set<number>();
  for (const index of indices) if (index !== undefined && index > 0) wanted.add(index);
  const links =
    wanted.size <= FEW
      ? (await Promise.all([...wanted].map((index) => find(conversation, index)))).flat()
      : await conversation.request(listLinksRequest());
  const names = new Map(links.map(({ index, name }) => [index, name]));
  return (index) => names.get(index) ?? `if${index}`;
}

async function find(conversation: Conversation, index: number): Promise<readonly LinkInfo[]> {
  try {
    return await conversation.request(getLinkRequest(index));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENODEV') return [];
    throw error;
  }
}

/** The link of that name or index. */
export async function getLink(
  conversation: Conversation,
  which: string | number,
  statistics = false,
): Promise<LinkInfo> {
  const [link] = await conversation.request(getLinkRequest(which, statistics));
  if (link === undefined) throw invalidArgValue('link', which, 'got no answer from the kernel');
  const { masterIndex, linkIndex, linkNetnsid } = link;
  const near = linkNetnsid === undefined ? linkIndex : undefined;
  return withNames(link, await namesOf(conversation, [masterIndex, near]));
}

/** A link with the names of its master and of the link it belongs to. */
export function withNames(link: LinkInfo, nameOf: (index: number) => string): LinkInfo {
  const { masterIndex, linkIndex, linkNetnsid } = link;
  const near = linkNetnsid === undefined && linkIndex !== undefined && linkIndex > 0;
  if (masterIndex === undefined && !near) return link;
  return {
    ...link,
    ...(masterIndex !== undefined && { master: nameOf(masterIndex) }),
    ...(near && { link: nameOf(linkIndex) }),
  };
}

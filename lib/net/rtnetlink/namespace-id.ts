/** The ids that a namespace has for others (linux/net_namespace.h), and where namespaces can be found. */

import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { AttributeTable, attribute } from '../netlink/attributes.js';
import { i32, u32 } from '../netlink/codecs.js';
import type { Request } from '../netlink/request.js';

const RTM_NEWNSID = 88;
const RTM_GETNSID = 90;
const RTGENMSG_SIZE = 4; // struct rtgenmsg, padded

const table = new AttributeTable({
  nsid: attribute(1, 'NETNSA_NSID', i32),
  fd: attribute(3, 'NETNSA_FD', u32),
});

/** The id of the namespace of an nsfs fd; -1: it has none. */
export function getNsidRequest(fd: number): Request<number> {
  return {
    operation: 'get namespace id',
    headerSize: RTGENMSG_SIZE,
    table,
    type: RTM_GETNSID,
    flags: 0,
    body: Buffer.concat([Buffer.alloc(RTGENMSG_SIZE), table.encode({ fd })]),
    decode: ({ type, payload }) =>
      type === RTM_NEWNSID ? table.decode(payload, RTGENMSG_SIZE).nsid : undefined,
  };
}

/** Paths of all network namespaces that can be seen: this process's own fds, the named ones, processes'. */
export function* namespacePaths(): Generator<string> {
  const seen = new Set<string>();
  for (const [directory, suffix] of [
    ['/proc/self/fd', ''],
    ['/run/netns', ''],
    ['/proc', '/ns/net'],
  ]) {
    for (const entry of entries(directory)) {
      if (suffix !== '' && !/^\d+$/.test(entry)) continue;
      const path = `${directory}/${entry}${suffix}`;
      const identity = identify(path, directory === '/run/netns');
      if (identity === undefined || seen.has(identity)) continue;
      seen.add(identity);
      yield path;
    }
  }
}

function entries(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function identify(path: string, mounted: boolean): string | undefined {
  try {
    if (mounted) return `net:[${statSync(path).ino}]`;
    const target = readlinkSync(path);
    return target.startsWith('net:[') ? target : undefined;
  } catch {
    return undefined; // gone meanwhile, or not ours to see
  }
}

/** Where network namespaces can be found. */

import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { isNamespaceFile, NAMED_DIRECTORY } from './reference.js';

/** Paths of all namespaces that this process can see: its own fds, the named ones, those of processes. */
export function* namespacePaths(): Generator<string> {
  const seen = new Set<string>();
  for (const [directory, suffix] of [
    ['/proc/self/fd', ''],
    [NAMED_DIRECTORY, ''],
    ['/proc', '/ns/net'],
  ]) {
    for (const entry of entries(directory)) {
      if (suffix !== '' && !/^\d+$/.test(entry)) continue;
      const path = `${directory}/${entry}${suffix}`;
      const identity = identify(path, directory === NAMED_DIRECTORY);
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

/** What `/proc/PID/ns/net` points to, such as `net:[4026531840]`; undefined if `path` is no namespace. */
function identify(path: string, mounted: boolean): string | undefined {
  try {
    if (mounted) return isNamespaceFile(path) ? `net:[${statSync(path).ino}]` : undefined;
    const target = readlinkSync(path);
    return target.startsWith('net:[') ? target : undefined;
  } catch {
    return undefined; // it is gone meanwhile, or this process may not see it
  }
}

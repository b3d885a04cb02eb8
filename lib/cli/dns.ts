/** The DNS servers of a tunnel, through resolvconf(8) as wg-quick(8) sets them. */

import { lstatSync, readFileSync } from 'node:fs';
import type { ParsedConfig } from '../wireguard/index.js';
import { findProgram, runProgram } from './programs.js';

const INTERFACE_ORDER = '/etc/resolvconf/interface-order';

/** Debian's resolvconf sorts by name: the prefix puts tunnels where it wants them. Its successors are symbolic links. */
function interfacePrefix(resolvconf: string): string {
  if (lstatSync(resolvconf).isSymbolicLink()) return '';
  let order: string;
  try {
    order = readFileSync(INTERFACE_ORDER, 'utf8');
  } catch {
    return '';
  }
  const first = /^([A-Za-z0-9-]+)\*$/m.exec(order);
  return first === null ? '' : `${first[1]}.`;
}

/** What resolv.conf(5) says for the servers of a file. */
export function resolvConf({ dns, searchDomains }: Pick<ParsedConfig, 'dns' | 'searchDomains'>): string {
  const lines = dns.map((server) => `nameserver ${server}\n`);
  if (searchDomains.length > 0) lines.push(`search ${searchDomains.join(' ')}\n`);
  return lines.join('');
}

/**
 * Sets the DNS servers, if a file names any.
 * @param warn is told if resolvconf is not installed, so that DNS is left alone
 * @returns what undoes it, if anything was done
 * @throws Error if resolvconf fails
 */
export async function setDns(
  { dns, searchDomains }: Pick<ParsedConfig, 'dns' | 'searchDomains'>,
  name: string,
  env: NodeJS.ProcessEnv,
  warn: (line: string) => void,
): Promise<(() => Promise<void>) | undefined> {
  if (dns.length === 0) return undefined;
  const resolvconf = findProgram('resolvconf', env);
  if (resolvconf === undefined) {
    warn('DNS is left alone: resolvconf is not installed (Debian has it in openresolv)');
    return undefined;
  }
  const entry = `${interfacePrefix(resolvconf)}${name}`;
  const text = resolvConf({ dns, searchDomains });
  await runProgram('resolvconf', resolvconf, ['-a', entry, '-m', '0', '-x'], { env }, text);
  return () => runProgram('resolvconf', resolvconf, ['-d', entry, '-f'], { env });
}

/** Rules that tell which destinations a program may reach. */

import { BlockList, isIP } from 'node:net';

export type Verdict = 'allow' | 'refuse' | 'drop';

/** Where a connection or a datagram goes. */
export interface Destination {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly family: 4 | 6;
  readonly port: number;
  /** The name that was looked up before, if any. */
  readonly name?: string;
}

/** A rule: what it says, and what it is for. */
export interface Rule {
  readonly text: string;
  readonly verdict: Verdict;
  matches(destination: Destination): boolean;
}

/**
 * A rule such as `tcp/*.example.com:443`, `192.0.2.0/24`, `udp/[2001:db8::1]:53` or `*:25`: protocol, host and port,
 * of which protocol and port may be left out. The host is a name, `*.` before a name for all below it, an address, a network, or `*`.
 */
export function parseRule(verdict: Verdict, text: string): Rule {
  const [, protocol, host, port] =
    /^(?:(tcp|udp)\/)?(\[[^\]]*\](?:\/\d+)?|[^:]*)(?::(\d+))?$/.exec(text) ?? [];
  if (!host || Number(port ?? 1) > 65_535) throw new Error(`'${text}' is no rule`);
  const hostMatches = matcher(host.replace(/[[\]]/g, '').toLowerCase());
  return {
    text: `${verdict} ${text}`,
    verdict,
    matches: (to) =>
      (protocol === undefined || protocol === to.protocol) &&
      (port === undefined || Number(port) === to.port) &&
      hostMatches(to),
  };
}

/** The verdict of the first rule that matches; `refuse` if none does. */
export function decide(rules: readonly Rule[], destination: Destination): Pick<Rule, 'text' | 'verdict'> {
  const rule = rules.find((candidate) => candidate.matches(destination));
  return rule ?? { text: 'no rule', verdict: 'refuse' };
}

function matcher(host: string): (destination: Destination) => boolean {
  if (host === '*') return () => true;
  const [address, length] = host.split('/');
  if (isIP(address)) {
    const type = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    const networks = new BlockList();
    networks.addSubnet(address, Number(length ?? (type === 'ipv4' ? 32 : 128)), type);
    // A destination with a name has an address that stands for the name only.
    return (to) => to.name === undefined && networks.check(to.address, to.family === 4 ? 'ipv4' : 'ipv6');
  }
  if (host.startsWith('*.')) return ({ name }) => name?.endsWith(host.slice(1)) ?? false;
  return ({ name }) => name === host;
}

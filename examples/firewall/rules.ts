/** Rules that tell which destinations a program may reach. */

import { BlockList, isIP } from 'node:net';

export type Verdict = 'allow' | 'refuse' | 'drop';

/** Where a connection or a datagram goes. */
export interface Destination {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly family: 4 | 6;
  readonly port: number;
  /** The name that was looked up before, if any. The address only stands for the name then, unless it is `resolved`. */
  readonly name?: string;
  /** Whether the address is where the name really leads. */
  readonly resolved?: boolean;
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

/**
 * The addresses by which this machine reaches itself. Who owns a name can give it one of these, so only a rule for the
 * address itself lets a name lead there.
 */
const own = new BlockList();
own.addSubnet('127.0.0.0', 8, 'ipv4');
own.addSubnet('0.0.0.0', 8, 'ipv4');
own.addSubnet('::', 127, 'ipv6');

function leadsHere({ resolved, address, family }: Destination): boolean {
  return resolved === true && own.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

function matcher(host: string): (destination: Destination) => boolean {
  if (host === '*') return (to) => !leadsHere(to);
  const [address, length] = host.split('/');
  if (isIP(address)) {
    const type = isIP(address) === 4 ? 'ipv4' : 'ipv6';
    const networks = new BlockList();
    networks.addSubnet(address, Number(length ?? (type === 'ipv4' ? 32 : 128)), type);
    return (to) =>
      (to.name === undefined || to.resolved === true) &&
      networks.check(to.address, to.family === 4 ? 'ipv4' : 'ipv6');
  }
  if (host.startsWith('*.')) return (to) => !leadsHere(to) && (to.name?.endsWith(host.slice(1)) ?? false);
  return (to) => !leadsHere(to) && to.name === host;
}

/** Rules that tell which destinations a program may reach. */

import { BlockList } from 'node:net';
import { formatIp, parseCidr } from 'tuntap-native/packet';

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
 * @throws Error for what is no rule: one that is not understood must neither allow nor refuse what its writer did not mean
 */
export function parseRule(verdict: Verdict, text: string): Rule {
  const [, protocol, host, port] =
    /^(?:(tcp|udp)\/)?(\[[^\]]*\](?:\/\d+)?|[^:]*)(?::(\d+))?$/.exec(text) ?? [];
  const hostMatches = host && matcher(host.toLowerCase());
  if (!hostMatches || Number(port ?? 1) < 1 || Number(port ?? 1) > 65_535)
    throw new Error(
      `'${text}' is no rule such as tcp/*.example.org:443, udp/192.0.2.0/24 or [2001:db8::1]:53`,
    );
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

/** Undefined for what is neither a name nor an address or a network. */
function matcher(host: string): ((destination: Destination) => boolean) | undefined {
  if (host === '*') return (to) => !leadsHere(to);
  // A name does not end in a number: that would be meant as an address.
  if (/^(\*\.)?([a-z0-9_-]+\.)*[a-z0-9_-]*[a-z_-][a-z0-9_-]*$/.test(host)) {
    return (to) =>
      !leadsHere(to) &&
      (host.startsWith('*.') ? to.name?.endsWith(host.slice(1)) : to.name === host) === true;
  }
  const network = networkOf(host.replace(/[[\]]/g, ''));
  return (
    network &&
    ((to) =>
      (to.name === undefined || to.resolved === true) &&
      network.check(to.address, to.family === 4 ? 'ipv4' : 'ipv6'))
  );
}

function networkOf(text: string): BlockList | undefined {
  try {
    const { family, address, prefixLength } = parseCidr(text);
    const networks = new BlockList();
    networks.addSubnet(formatIp(address), prefixLength, family === 4 ? 'ipv4' : 'ipv6');
    return networks;
  } catch {
    return undefined;
  }
}

/** Which routes and rules bring packets for the peers into the tunnel: as wg-quick(8) decides it, without asking anybody. */

import type { NewRoute, NewRule, RouteInfo, RuleInfo } from '../net/index.js';
import type { RouteOption } from './options.js';
import { formatPrefix, maskPrefix, type Prefix, parsePrefix } from './prefix.js';

/** What routes are for. */
export interface RouteNeeds {
  /** The tunnel's link. */
  readonly device: string;
  readonly option: RouteOption;
  /** Of all peers. */
  readonly allowedIps: readonly string[];
  /** Addresses of all peers, without ports. */
  readonly endpoints: readonly string[];
  /** Whether the UDP socket is in another namespace, so that its packets never meet these routes. */
  readonly isSocketElsewhere: boolean;
}

/** What is there already, apart from what an earlier plan made. */
export interface RouteSurroundings {
  /** Routes of the main table through the tunnel's link, both families. */
  readonly deviceRoutes: readonly Pick<RouteInfo, 'family' | 'destination'>[];
  /** All rules, both families. */
  readonly rules: readonly Pick<RuleInfo, 'family' | 'priority'>[];
  /** The table for networks that also hold endpoints. */
  readonly table: number;
  /** The mark of the tunnel's own UDP packets. */
  readonly mark: number;
}

/** One thing to do, and to undo in reverse order. A sysctl stays. */
export type RouteOperation =
  | { readonly kind: 'route'; readonly route: NewRoute }
  | { readonly kind: 'rule'; readonly rule: NewRule }
  | { readonly kind: 'sysctl'; readonly name: string; readonly value: string };

const MAIN_PRIORITY = 32766;

/** The networks, each once, the longest prefix first. */
function networks({ allowedIps }: RouteNeeds): Prefix[] {
  const unique = new Map<string, Prefix>();
  for (const text of allowedIps) {
    const prefix = parsePrefix(text);
    if (prefix) unique.set(formatPrefix(prefix), prefix);
  }
  return [...unique.values()].sort((a, b) => b.length - a.length);
}

/**
 * Networks that the tunnel's own packets must not take: everything, and what holds an endpoint.
 * wg-quick knows the first kind only, and such an endpoint's packets go round in circles.
 */
function markedNetworks(needs: RouteNeeds): Prefix[] {
  if (needs.option !== 'auto' || needs.isSocketElsewhere) return [];
  const all = networks(needs);
  const endpoints = needs.endpoints.map(parsePrefix).filter((endpoint) => endpoint !== undefined);
  const marked = new Set(endpoints.flatMap((endpoint) => networksAround(endpoint, lengths(all))));
  return all.filter((network) => network.length === 0 || marked.has(formatPrefix(network)));
}

/** The prefix lengths that networks have: some 160 at most, however many networks there are. */
function lengths(all: readonly Prefix[]): ReadonlySet<number> {
  return new Set(all.map(({ length }) => length));
}

/** The networks of these prefix lengths that a network lies in. */
function networksAround(network: Prefix, among: ReadonlySet<number>): string[] {
  return [...among]
    .filter((length) => length <= network.length)
    .map((length) => formatPrefix(maskPrefix({ ...network, length })));
}

/** Whether the tunnel's UDP packets need a mark, and a table of its own for some networks. */
export function needsMark(needs: RouteNeeds): boolean {
  return markedNetworks(needs).length > 0;
}

/** @returns the operations, in their order */
export function planRoutes(needs: RouteNeeds, surroundings: RouteSurroundings): readonly RouteOperation[] {
  const { device, option } = needs;
  if (option === 'off') return [];
  const route = (network: Prefix, table?: number): RouteOperation => ({
    kind: 'route',
    route: { destination: formatPrefix(network), family: network.family, device, ...(table && { table }) },
  });
  if (option !== 'auto') return networks(needs).map((network) => route(network, option));
  const marked = new Map(markedNetworks(needs).map((network) => [formatPrefix(network), network]));
  const present = surroundings.deviceRoutes.map(destinationOf).filter((network) => network !== undefined);
  const presentNames = new Set(present.map(formatPrefix));
  const presentLengths = lengths(present);
  const isPresent = (network: Prefix) =>
    networksAround(network, presentLengths).some((name) => presentNames.has(name));
  const plain = networks(needs).filter(
    (network) => !marked.has(formatPrefix(network)) && !isPresent(network),
  );
  return [
    ...plain.map((network) => route(network)),
    ...([4, 6] as const).flatMap((family) => {
      const ofFamily = [...marked.values()].filter((network) => network.family === family);
      return ofFamily.length === 0
        ? []
        : [
            ...markOperations(family, ofFamily, surroundings),
            ...ofFamily.map((network) => route(network, surroundings.table)),
          ];
    }),
  ];
}

function destinationOf({
  family,
  destination,
}: Pick<RouteInfo, 'family' | 'destination'>): Prefix | undefined {
  return parsePrefix(destination === 'default' ? defaultNetwork(family) : destination);
}

/** What the kernel's lists call `default`. */
export function defaultNetwork(family: 4 | 6 | undefined): string {
  return family === 6 ? '::/0' : '0.0.0.0/0';
}

/**
 * All but marked packets ask the tunnel's table. Before that, for each of its networks, the main table is asked for longer
 * prefixes, so that links nearby stay reachable. Each rule is asked before the one above it.
 */
function markOperations(
  family: 4 | 6,
  marked: readonly Prefix[],
  { rules, table, mark }: RouteSurroundings,
): RouteOperation[] {
  let priority = firstPriority(rules.filter((rule) => rule.family === family));
  const rule = (rest: NewRule): RouteOperation => ({
    kind: 'rule',
    rule: { family, priority: Math.max(priority--, 0), ...rest },
  });
  const sysctl = { kind: 'sysctl', name: 'net.ipv4.conf.all.src_valid_mark', value: '1' } as const;
  return [
    // Without it, strict reverse path filtering drops the answers to marked packets.
    ...(family === 4 ? [sysctl] : []),
    rule({ not: true, fwmark: mark, table }),
    ...marked.toReversed().map((network) =>
      rule({
        ...(network.length > 0 && { to: formatPrefix(network) }),
        table: 'main',
        suppressPrefixLength: network.length,
      }),
    ),
  ];
}

/** The priority that the kernel would choose: before all rules but the first (fib_default_rule_pref). */
function firstPriority(rules: readonly Pick<RuleInfo, 'priority'>[]): number {
  const priorities = rules.map(({ priority }) => priority).sort((a, b) => a - b);
  return Math.max((priorities[1] ?? MAIN_PRIORITY) - 1, 0);
}

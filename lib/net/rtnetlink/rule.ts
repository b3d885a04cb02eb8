/** Routing policy rules: `ip rule` (linux/fib_rules.h). */

import { checkCidr, formatIp } from '../../address.js';
import {
  checkName,
  invalidArgType,
  invalidArgValue,
  requireInteger,
  requireObject,
} from '../../arguments.js';
import { AttributeTable, attribute, type UnknownAttribute } from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { flag, ip, named, range, text, u8, u16, u32 } from '../netlink/codecs.js';
import { type NetlinkMessage, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL } from '../netlink/message.js';
import { enumNames } from '../netlink/names.js';
import { nothing, type Request } from '../netlink/request.js';
import { AF_INET, AF_INET6, type Family, toFamily } from './family.js';
import { ROUTE_PROTOCOLS, type RouteProtocol, type RouteTable, TABLES } from './route.js';

const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const HEADER_SIZE = 12; // struct fib_rule_hdr
const FIB_RULE_INVERT = 2;
const NO_SUPPRESSION = 0xffffffff;

const ACTIONS = enumNames({
  unspec: 0,
  lookup: 1,
  goto: 2,
  nop: 3,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
});

const ruleTable = new AttributeTable({
  to: attribute(1, 'FRA_DST', ip),
  from: attribute(2, 'FRA_SRC', ip),
  iif: attribute(3, 'FRA_IIFNAME', text),
  goto: attribute(4, 'FRA_GOTO', u32),
  priority: attribute(6, 'FRA_PRIORITY', u32),
  fwmark: attribute(10, 'FRA_FWMARK', u32),
  suppressGroup: attribute(13, 'FRA_SUPPRESS_IFGROUP', u32),
  suppressPrefixLength: attribute(14, 'FRA_SUPPRESS_PREFIXLEN', u32),
  table: attribute(15, 'FRA_TABLE', named(u32, TABLES)),
  fwmask: attribute(16, 'FRA_FWMASK', u32),
  oif: attribute(17, 'FRA_OIFNAME', text),
  l3mdev: attribute(19, 'FRA_L3MDEV', flag),
  uidRange: attribute(20, 'FRA_UID_RANGE', range(u32, 4)),
  protocol: attribute(21, 'FRA_PROTOCOL', named(u8, ROUTE_PROTOCOLS)),
  ipProtocol: attribute(22, 'FRA_IP_PROTO', u8),
  sport: attribute(23, 'FRA_SPORT_RANGE', range(u16, 2)),
  dport: attribute(24, 'FRA_DPORT_RANGE', range(u16, 2)),
});

/** A rule to make or delete; the words are those of `ip rule`. */
export interface NewRule {
  /** 4 for IPv4, 6 for IPv6. **Default:** that of `from` or `to`, else 4 */
  readonly family?: Family;
  /** Its place: the kernel tries rules from the lowest to the highest. **Default:** before the others */
  readonly priority?: number;
  /** For packets from this network. **Default:** `all` */
  readonly from?: string;
  /** For packets to this network. **Default:** `all` */
  readonly to?: string;
  /** For packets that came in by this link; `lo`: for those of this host. */
  readonly iif?: string;
  /** For packets of sockets bound to this link. */
  readonly oif?: string;
  /** For packets with this mark. */
  readonly fwmark?: number;
  /** Which bits of the mark matter. **Default:** all */
  readonly fwmask?: number;
  /** For packets of this type of service. */
  readonly tos?: number;
  /** For packets of sockets of these users, first and last id. */
  readonly uidRange?: readonly [number, number];
  /** For packets of this IP protocol: 6 is TCP. */
  readonly ipProtocol?: number;
  /** For packets from these ports, first and last. */
  readonly sport?: readonly [number, number];
  /** For packets to these ports, first and last. */
  readonly dport?: readonly [number, number];
  /** For all packets but those. */
  readonly not?: boolean;
  /** What is done. **Default:** `lookup`, in `table` */
  readonly action?: 'lookup' | 'goto' | 'nop' | 'blackhole' | 'unreachable' | 'prohibit' | number;
  /** The table to look in. **Default:** `main` */
  readonly table?: RouteTable;
  /** For `goto`: the priority of the rule to go on with. */
  readonly goto?: number;
  /** Routes with prefixes of this length or less do not count. */
  readonly suppressPrefixLength?: number;
  /** Routes through links of this group do not count. */
  readonly suppressGroup?: number;
  /** In the table of the packet's VRF. */
  readonly l3mdev?: boolean;
  /** Who made it. */
  readonly protocol?: RouteProtocol;
  /** Attributes that this package has no name for. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** A rule, as `ip rule` shows it. */
export interface RuleInfo extends NewRule {
  readonly family: Family;
  readonly priority: number;
  /** A network, or `all`. */
  readonly from: string;
  /** A network, or `all`. */
  readonly to: string;
  readonly action: 'lookup' | 'goto' | 'nop' | 'blackhole' | 'unreachable' | 'prohibit' | number;
}

const common = { headerSize: HEADER_SIZE, table: ruleTable } as const;

function header(fields: readonly number[], flags = 0): Buffer {
  return Buffer.concat([Buffer.from(fields), Buffer.alloc(8 - fields.length), bytes.u32(flags)]);
}

export function listRulesRequest(family: number): Request<RuleInfo> {
  return {
    ...common,
    operation: 'list rules',
    type: RTM_GETRULE,
    flags: NLM_F_DUMP,
    body: header([family]),
    decode: (message) => (message.type === RTM_NEWRULE ? decodeRule(message) : undefined),
  };
}

function decodeRule({ payload }: NetlinkMessage): RuleInfo | undefined {
  if (payload.length < HEADER_SIZE) return undefined;
  const family = toFamily(payload[0]);
  if (family === undefined) return undefined;
  const {
    to,
    from,
    table,
    suppressPrefixLength,
    suppressGroup,
    priority = 0,
    l3mdev,
    ...rest
  } = ruleTable.decode(payload, HEADER_SIZE);
  const action = ACTIONS.nameOf(payload[7]);
  const where = table ?? TABLES.nameOf(payload[4]);
  return {
    family,
    priority,
    from: network(from, payload[2]),
    to: network(to, payload[1]),
    action: action === 'unspec' ? 0 : action,
    ...(action === 'lookup' && where !== 0 && { table: where }),
    ...(payload[3] !== 0 && { tos: payload[3] }),
    ...(bytes.readU32(payload, 8) & FIB_RULE_INVERT && { not: true }),
    ...(l3mdev && { l3mdev }),
    ...(suppressPrefixLength !== undefined &&
      suppressPrefixLength !== NO_SUPPRESSION && { suppressPrefixLength }),
    ...(suppressGroup !== undefined && suppressGroup !== NO_SUPPRESSION && { suppressGroup }),
    ...rest,
  };
}

function network(address: string | undefined, prefixLength: number): string {
  return address === undefined ? 'all' : `${address}/${prefixLength}`;
}

export function ruleRequest(action: 'add' | 'delete', rule: NewRule): Request<undefined> {
  requireObject('rule', rule);
  const selects = Object.entries(rule).some(([name, value]) => name !== 'family' && value !== undefined);
  // The kernel would delete its first rule, without which nothing reaches this host.
  if (action === 'delete' && !selects)
    throw invalidArgType('rule', 'an object with something to match', rule);
  const cidr = (name: 'from' | 'to') =>
    rule[name] === undefined || rule[name] === 'all' ? undefined : checkCidr(`rule.${name}`, rule[name]);
  const from = cidr('from');
  const to = cidr('to');
  const family = rule.family ?? from?.family ?? to?.family ?? 4;
  if (family !== 4 && family !== 6) throw invalidArgValue('rule.family', family, 'must be 4 or 6');
  for (const [name, each] of [
    ['from', from],
    ['to', to],
  ] as const) {
    if (each && each.family !== family)
      throw invalidArgValue(`rule.${name}`, rule[name], `must be IPv${family}`);
  }
  for (const name of ['iif', 'oif'] as const) if (rule[name] !== undefined) checkName(rule[name], false);
  const { tos = 0, not = false } = rule;
  requireInteger('rule.tos', tos, 0, 255);
  const kind = rule.action ?? (rule.goto !== undefined ? 'goto' : action === 'add' ? 'lookup' : 0);
  const table = rule.table ?? (kind === 'lookup' && !rule.l3mdev ? 'main' : undefined);
  const tableNumber = table === undefined ? 0 : TABLES.number('rule.table', table);
  const attributes = ruleTable.encode({
    ...ruleTable.pick(rule),
    from: from && formatIp(from.address),
    to: to && formatIp(to.address),
    table,
    unknown: rule.unknown,
  });
  return {
    ...common,
    operation: `${action} rule`,
    type: action === 'add' ? RTM_NEWRULE : RTM_DELRULE,
    flags: action === 'add' ? NLM_F_CREATE | NLM_F_EXCL : 0,
    body: Buffer.concat([
      header(
        [
          family === 4 ? AF_INET : AF_INET6,
          to?.prefixLength ?? 0,
          from?.prefixLength ?? 0,
          tos,
          tableNumber < 256 ? tableNumber : 0,
          0,
          0,
          ACTIONS.number('rule.action', kind),
        ],
        not ? FIB_RULE_INVERT : 0,
      ),
      attributes,
    ]),
    decode: nothing,
  };
}

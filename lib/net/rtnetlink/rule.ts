/** Routing policy rules: `ip rule` (linux/fib_rules.h). */

import { checkCidr, formatIp } from '../../address.js';
import {
  checkName,
  invalidArgType,
  invalidArgValue,
  requireInteger,
  requireObject,
} from '../../arguments.js';
import { AttributeTable, attribute, type FieldsOf, type UnknownAttribute } from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { flag, ip, named, optional, range, text, u8, u16, u32 } from '../netlink/codecs.js';
import type { NetlinkMessage } from '../netlink/message.js';
import { enumNames } from '../netlink/names.js';
import { changeRequest, getRequest, type Request } from '../netlink/request.js';
import { AF_INET, AF_INET6, type Family, toFamily } from './family.js';
import { ROUTE_PROTOCOLS, TABLES } from './route.js';

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

const ruleFields = {
  /** For packets to this network. **Default:** `all` */
  to: attribute(1, 'FRA_DST', ip),
  /** For packets from this network. **Default:** `all` */
  from: attribute(2, 'FRA_SRC', ip),
  /** For packets that came in by this link; `lo`: for those of this host. */
  iif: attribute(3, 'FRA_IIFNAME', text),
  /** For `goto`: the priority of the next rule. */
  goto: attribute(4, 'FRA_GOTO', u32),
  /** Its place. The kernel tries rules from the lowest to the highest. **Default:** before the others */
  priority: attribute(6, 'FRA_PRIORITY', u32),
  /** For packets with this mark. */
  fwmark: attribute(10, 'FRA_FWMARK', u32),
  /** Group of links. The kernel ignores the routes through them. */
  suppressGroup: attribute(13, 'FRA_SUPPRESS_IFGROUP', optional(u32, NO_SUPPRESSION)),
  /** Prefix length. The kernel ignores routes with this length or less. */
  suppressPrefixLength: attribute(14, 'FRA_SUPPRESS_PREFIXLEN', optional(u32, NO_SUPPRESSION)),
  /** The table to look in. **Default:** `main` */
  table: attribute(15, 'FRA_TABLE', named(u32, TABLES)),
  /** Which bits of the mark matter. **Default:** all */
  fwmask: attribute(16, 'FRA_FWMASK', u32),
  /** For packets of sockets bound to this link. */
  oif: attribute(17, 'FRA_OIFNAME', text),
  /** Whether it looks in the table of the packet's VRF. */
  l3mdev: attribute(19, 'FRA_L3MDEV', optional(flag, false)),
  /** For packets of these users' sockets, first and last id. */
  uidRange: attribute(20, 'FRA_UID_RANGE', range(u32, 4)),
  /** Who made it. */
  protocol: attribute(21, 'FRA_PROTOCOL', named(u8, ROUTE_PROTOCOLS)),
  /** For packets of this IP protocol: 6 is TCP. */
  ipProtocol: attribute(22, 'FRA_IP_PROTO', u8),
  /** For packets from these ports, first and last. */
  sport: attribute(23, 'FRA_SPORT_RANGE', range(u16, 2)),
  /** For packets to these ports, first and last. */
  dport: attribute(24, 'FRA_DPORT_RANGE', range(u16, 2)),
};
const ruleTable = new AttributeTable(ruleFields);

/** A rule to add or delete. The names are those of `ip rule`. */
export interface NewRule extends FieldsOf<typeof ruleFields> {
  /** 4 for IPv4, 6 for IPv6. **Default:** that of `from` or `to`, else 4 */
  readonly family?: Family;
  /** For packets of this type of service. */
  readonly tos?: number;
  /** Whether it is for all packets except those. */
  readonly not?: boolean;
  /** What is done. **Default:** `lookup`, in `table` */
  readonly action?: 'lookup' | 'goto' | 'nop' | 'blackhole' | 'unreachable' | 'prohibit' | number;
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
  readonly action: NonNullable<NewRule['action']>;
}

/** RTM_NEWRULE. */
const ruleMessages = { type: 32, headerSize: HEADER_SIZE, table: ruleTable } as const;

function header(fields: readonly number[], flags = 0): Buffer {
  return Buffer.concat([Buffer.from(fields), Buffer.alloc(8 - fields.length), bytes.u32(flags)]);
}

export function listRulesRequest(family: number): Request<RuleInfo> {
  return getRequest(ruleMessages, 'list rules', [header([family])], decodeRule);
}

function decodeRule({ payload }: NetlinkMessage): RuleInfo | undefined {
  if (payload.length < HEADER_SIZE) return undefined;
  const family = toFamily(payload[0]);
  if (family === undefined) return undefined;
  const { to, from, table, ...rest } = ruleTable.decode(payload, HEADER_SIZE);
  const action = ACTIONS.nameOf(payload[7]);
  const where = table ?? TABLES.nameOf(payload[4]);
  return {
    family,
    priority: 0,
    from: network(from, payload[2]),
    to: network(to, payload[1]),
    action: action === 'unspec' ? 0 : action,
    ...(action === 'lookup' && where !== 0 && { table: where }),
    ...(payload[3] !== 0 && { tos: payload[3] }),
    ...(bytes.readU32(payload, 8) & FIB_RULE_INVERT && { not: true }),
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
  for (const [name, each] of Object.entries({ from, to })) {
    if (each && each.family !== family) {
      throw invalidArgValue(`rule.${name}`, rule[name as 'from' | 'to'], `must be IPv${family}`);
    }
  }
  for (const name of ['iif', 'oif'] as const)
    if (rule[name] !== undefined) checkName(`rule.${name}`, rule[name]);
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
  const fields = [
    family === 4 ? AF_INET : AF_INET6,
    to?.prefixLength ?? 0,
    from?.prefixLength ?? 0,
    tos,
    tableNumber < 256 ? tableNumber : 0,
    0,
    0,
    ACTIONS.number('rule.action', kind),
  ];
  const body = [header(fields, not ? FIB_RULE_INVERT : 0), attributes];
  return changeRequest(ruleMessages, action, 'rule', undefined, body);
}

/** The description of a lab, and its check before anything is made. */

import { invalidArgType, invalidArgValue, requireBoolean, requireObject } from '../arguments.js';
import { sysctlParts, sysctlText } from '../net/namespace/sysctl.js';
import { addressRequest } from '../net/rtnetlink/address.js';
import type { BridgeOptions } from '../net/rtnetlink/bridge.js';
import { addLinkRequest } from '../net/rtnetlink/link-requests.js';
import { type NewLink, type NewLinkBase, newLinkValues } from '../net/rtnetlink/new-link.js';
import { checkQdisc, type NewQdisc } from '../net/rtnetlink/qdisc.js';
import type { NewRoute } from '../net/rtnetlink/route.js';
import { checkRoute } from '../net/rtnetlink/route-requests.js';
import type { AddressedLink } from '../net/veth-pair.js';

/** A bridge of a {@link LabHost}. */
export interface LabBridge extends NewLinkBase, BridgeOptions, Pick<AddressedLink, 'addresses'> {
  /** Whether it is switched on. **Default:** `true` */
  readonly up?: boolean;
}

/**
 * A host of a lab: a network namespace. Its loopback device is up, and it does no duplicate address detection, so that
 * IPv6 addresses are usable at once (`net.ipv6.conf.default.accept_dad` is 0 unless `sysctls` says otherwise).
 */
export interface LabHost {
  /** Its name under /run/netns, which `ip netns` lists. **Default:** none; the namespace is anonymous */
  readonly namespace?: string;
  /** Whether it forwards IPv4 and, if the kernel has it, IPv6. **Default:** `false` */
  readonly forwarding?: boolean;
  /**
   * Network settings, such as `{ 'net.ipv4.conf.all.rp_filter': 0 }`. A setting that names a link of this host
   * is made when that link exists, before it is up. The others are made before there is any link.
   */
  readonly sysctls?: Readonly<Record<string, string | number | boolean>>;
  /** Its bridges. Their ports are the ends of links that name them as `master`. **Default:** none */
  readonly bridges?: readonly LabBridge[];
  /** Its routes. They are added in this order, when all links are up. **Default:** none */
  readonly routes?: readonly NewRoute[];
}

/** One end of a veth pair between two hosts. */
export interface LabEnd<H extends string = string>
  extends Omit<NewLinkBase, 'name'>,
    Pick<AddressedLink, 'addresses'> {
  /** The host that it belongs to. */
  readonly host: H;
  /** Its name. **Default:** the first of `eth0`, `eth1`, … that is free on that host */
  readonly name?: string;
  /** The bridge of that host that it becomes a port of. **Default:** none */
  readonly master?: string;
  /** A token bucket for packets that leave by this end. **Default:** none; there is no limit */
  readonly tbf?: Omit<NewQdisc, 'device' | 'kind'>;
  /** Whether it is switched on. **Default:** `true` */
  readonly up?: boolean;
}

/** What {@link createLab} builds. */
export interface LabDescription<H extends string = string> {
  /** The hosts by their names. */
  readonly hosts: Readonly<Record<H, LabHost>>;
  /** The veth pairs, each as its two ends. **Default:** none */
  readonly links?: readonly (readonly [LabEnd<NoInfer<H>>, LabEnd<NoInfer<H>>])[];
}

/** An end that has a name. */
export type PlannedEnd = LabEnd & { readonly name: string };

/** A description that was checked. */
export interface LabPlan {
  readonly hosts: ReadonlyMap<string, LabHost>;
  readonly links: readonly (readonly [PlannedEnd, PlannedEnd])[];
}

/** Throws on what can't be right, and names the ends that have no name. */
export function planLab(description: LabDescription): LabPlan {
  requireObject('description', description);
  requireObject('description.hosts', description.hosts);
  const hosts = new Map(Object.entries(description.hosts));
  const taken = new Map([...hosts].map(([host, setup]) => [host, checkHost(host, setup)]));
  refuseTwice('namespace', [...hosts.values()].map(({ namespace }) => namespace).filter(Boolean));

  const { links = [] } = description;
  if (!Array.isArray(links)) throw invalidArgType('description.links', 'an array of pairs', links);
  for (const ends of links) {
    if (!Array.isArray(ends) || ends.length !== 2) {
      throw invalidArgType('description.links', 'an array of pairs of ends', ends);
    }
    for (const end of ends) checkEnd(end, hosts, taken);
  }
  // Ends without a name come after all given names are known.
  const named = (end: LabEnd): PlannedEnd => ({ ...end, name: end.name ?? freeName(taken.get(end.host)) });
  return { hosts, links: links.map(([first, second]) => [named(first), named(second)]) };
}

/** Returns the names of links that the host has. */
function checkHost(host: string, setup: LabHost): Set<string> {
  if (!/^\P{Cc}+$/u.test(host))
    throw invalidArgValue('hosts', host, 'must have names without control characters');
  const argument = `hosts.${host}`;
  requireObject(argument, setup);
  const { namespace, forwarding, sysctls = {}, bridges = [], routes = [] } = setup;
  if (namespace !== undefined && (typeof namespace !== 'string' || namespace === '')) {
    throw invalidArgType(`${argument}.namespace`, 'a name', namespace);
  }
  if (forwarding !== undefined) requireBoolean(`${argument}.forwarding`, forwarding);
  requireObject(`${argument}.sysctls`, sysctls);
  for (const [name, value] of Object.entries(sysctls)) {
    sysctlParts(name);
    sysctlText(value);
  }
  if (!Array.isArray(bridges)) throw invalidArgType(`${argument}.bridges`, 'an array', bridges);
  for (const bridge of bridges) checkLink({ ...bridge, kind: 'bridge' }, bridge.addresses);
  if (!Array.isArray(routes)) throw invalidArgType(`${argument}.routes`, 'an array', routes);
  for (const route of routes) checkRoute(route);
  return refuseTwice(argument, ['lo', ...bridges.map(({ name }) => name)]);
}

/** Adds the end's name, if it has one, to those that are taken on its host. */
function checkEnd(end: LabEnd, hosts: LabPlan['hosts'], taken: ReadonlyMap<string, Set<string>>): void {
  requireObject('end', end);
  const { host, name, master, addresses, tbf, ...link } = end;
  const names = taken.get(host);
  if (names === undefined)
    throw invalidArgValue('host', host, `must be one of ${[...hosts.keys()].join(', ')}`);
  checkLink({ ...link, name: name ?? 'eth0', kind: 'veth', peer: { name: 'eth0' } }, addresses);
  if (master !== undefined && !hosts.get(host)?.bridges?.some((bridge) => bridge.name === master)) {
    throw invalidArgValue('master', master, `must be a bridge of the host '${host}'`);
  }
  if (tbf !== undefined) checkQdisc({ ...tbf, device: name ?? 'eth0', kind: 'tbf' });
  if (name === undefined) return;
  if (names.has(name)) throw invalidArgValue('name', name, `is taken on the host '${host}'`);
  names.add(name);
}

function checkLink(link: NewLink, addresses: readonly string[] = []): void {
  addLinkRequest(newLinkValues(link, () => 1));
  if (!Array.isArray(addresses)) throw invalidArgType('addresses', 'an array of strings', addresses);
  for (const address of addresses) addressRequest('add', { index: 1, name: link.name }, address);
}

function freeName(names = new Set<string>()): string {
  let number = 0;
  while (names.has(`eth${number}`)) number++;
  names.add(`eth${number}`);
  return `eth${number}`;
}

function refuseTwice<T>(argument: string, values: readonly T[]): Set<T> {
  const seen = new Set<T>();
  for (const value of values) {
    if (seen.has(value)) throw invalidArgValue(argument, value, 'must not occur twice');
    seen.add(value);
  }
  return seen;
}

/** iproute2 as the oracle: what it lists, beside what we list, in its own words. */

import assert from 'node:assert/strict';
import type {
  AddressInfo,
  FdbEntry,
  LinkInfo,
  NeighborInfo,
  NetworkNamespace,
  QdiscInfo,
  RouteInfo,
  RuleInfo,
} from 'tuntap-native/net';
import { run } from '../support.ts';

type Json = Record<string, unknown>;

/** Comparisons made so far in this file's process. */
export const comparisons = { count: 0 };

/** Runs a command line inside the namespace; it must succeed. */
export async function sh(namespace: NetworkNamespace, command: string): Promise<string> {
  const { status, stdout, stderr } = await run(namespace, 'sh', '-ec', command);
  assert.equal(status, 0, `${command}: ${stderr}`);
  return stdout;
}

async function json(namespace: NetworkNamespace, command: string): Promise<Json[]> {
  const text = await sh(namespace, command);
  return text.trim() === '' ? [] : (JSON.parse(text) as Json[]).filter((row) => Object.keys(row).length > 0);
}

/** Only what is defined, so that a missing field and an undefined one are the same. */
function compact(row: Json): Json {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
}

/** The fields of `row` that are told by name. */
function pick(row: Json, names: readonly string[]): Json {
  return compact(Object.fromEntries(names.map((name) => [name, row[name]])));
}

const LINK_FIELDS = [
  'ifindex ifname link link_index link_netnsid mtu qdisc master operstate linkmode txqlen link_type',
  'address broadcast promiscuity allmulti min_mtu max_mtu inet6_addr_gen_mode num_tx_queues num_rx_queues',
  'gso_max_size gso_max_segs gro_max_size ifalias',
].flatMap((line) => line.split(' '));

const bit = (value: boolean | undefined): number | undefined =>
  value === undefined ? undefined : Number(value);
const hundredths = (value: number | undefined): number | undefined =>
  value === undefined ? undefined : Math.round(value * 100);

/** A link's details as `info_data` has them, those of ours that it has. */
function infoData({ details }: LinkInfo): Json {
  switch (details?.kind) {
    case 'bridge':
      return {
        forward_delay: hundredths(details.forwardDelay),
        hello_time: hundredths(details.helloTime),
        max_age: hundredths(details.maxAge),
        ageing_time: hundredths(details.ageingTime),
        stp_state: bit(details.stp),
        priority: details.priority,
        vlan_filtering: bit(details.vlanFiltering),
        root_port: details.rootPort,
        root_path_cost: details.rootPathCost,
        group_addr: details.groupAddress,
        mcast_snooping: bit(details.multicastSnooping),
        mcast_querier: bit(details.multicastQuerier),
      };
    case 'vxlan':
      return {
        id: details.id,
        remote:
          details.remote?.includes(':') || details.remote?.startsWith('239.') ? undefined : details.remote,
        local: details.local?.includes(':') ? undefined : details.local,
        port: details.port,
        learning: details.learning,
        ttl: details.ttl,
        ageing: details.ageing,
        udp_csum: details.udpChecksum,
        limit: details.limit || undefined,
      };
    case 'macvlan':
    case 'macvtap':
      return { mode: details.mode };
    case 'tun':
      return {
        type: details.type,
        pi: details.packetInformation,
        vnet_hdr: details.vnetHeader,
        multi_queue: details.multiQueue,
        persist: details.persist,
      };
    default:
      return {};
  }
}

function portData({ port }: LinkInfo): Json {
  return {
    state: port?.state,
    priority: port?.priority,
    cost: port?.cost,
    hairpin: port?.hairpin,
    guard: port?.guard,
    root_block: port?.rootBlock,
    fastleave: port?.fastLeave,
    learning: port?.learning,
    flood: port?.flood,
    designated_port: port?.designatedPort,
    mcast_flood: port?.multicastFlood,
    bcast_flood: port?.broadcastFlood,
    mcast_to_unicast: port?.multicastToUnicast,
    neigh_suppress: port?.neighborSuppression,
    isolated: port?.isolated,
    locked: port?.locked,
  };
}

function ourLink(link: LinkInfo): Json {
  return compact({
    ifindex: link.index,
    ifname: link.name,
    link: link.link,
    link_index: link.link === undefined ? link.linkIndex || undefined : undefined,
    link_netnsid: link.linkNetnsid,
    flags: link.flags.join(),
    mtu: link.mtu,
    qdisc: link.qdisc,
    master: link.master,
    operstate: link.state,
    linkmode: link.mode,
    group: link.group,
    txqlen: link.txQueueLength,
    link_type: link.type,
    address: link.mac,
    broadcast: link.broadcast,
    promiscuity: link.promiscuity,
    allmulti: link.allMulticast,
    min_mtu: link.minMtu,
    max_mtu: link.maxMtu,
    inet6_addr_gen_mode: link.addressGeneration,
    num_tx_queues: link.txQueues,
    num_rx_queues: link.rxQueues,
    gso_max_size: link.gsoMaxSize,
    gso_max_segs: link.gsoMaxSegments,
    gro_max_size: link.groMaxSize,
    ifalias: link.alias,
    kind: link.kind,
    data: compact(infoData(link)),
    port: compact(portData(link)),
  });
}

function theirLink(link: Json, ours: Json): Json {
  const info = (link.linkinfo ?? {}) as { info_kind?: string; info_data?: Json; info_slave_data?: Json };
  return compact({
    ...pick(link, LINK_FIELDS),
    // M-DOWN is the state of the link's peer, which `ip` asks for.
    flags: (link.flags as string[]).filter((flag) => flag !== 'M-DOWN').join(),
    group: link.group === 'default' ? 0 : Number(link.group),
    ...(link.link === null && { link: undefined }),
    kind: info.info_kind,
    data: pick(info.info_data ?? {}, Object.keys(ours.data as Json)),
    port: pick(info.info_slave_data ?? {}, Object.keys(ours.port as Json)),
  });
}

const by =
  (...names: string[]) =>
  (a: Json, b: Json): number => {
    const key = (row: Json): string => JSON.stringify(names.map((name) => row[name] ?? null));
    return key(a) < key(b) ? -1 : 1;
  };

function same(ours: Json[], theirs: Json[], what: string): void {
  comparisons.count++;
  assert.deepEqual(ours, theirs, what);
}

/** Waits until the carrier of every link has reached its state; the kernel does that up to a second later. */
async function settle(namespace: NetworkNamespace): Promise<void> {
  const reached = ({ up, carrier, state, kind }: LinkInfo): boolean =>
    !up || (carrier ? state === 'UP' || kind !== 'veth' : state !== 'UP' && state !== 'UNKNOWN');
  await using monitor = namespace.monitor({ types: ['link'] });
  while (!(await namespace.links()).every(reached)) await monitor.next();
}

export async function compareLinks(namespace: NetworkNamespace): Promise<Json[]> {
  await settle(namespace);
  const theirs = await json(namespace, 'ip -j -d link');
  const ours = (await namespace.links()).map(ourLink);
  same(
    ours,
    theirs.map((link, i) => theirLink(link, ours[i])),
    'links',
  );
  return ours;
}

function ourAddress(address: AddressInfo): Json {
  const seconds = (value: number): number => (value === Number.POSITIVE_INFINITY ? 0xffffffff : value);
  const has = (flag: AddressInfo['flags'][number]): true | undefined =>
    address.flags.includes(flag) || undefined;
  return compact({
    device: address.device,
    family: address.family === 4 ? 'inet' : 'inet6',
    local: address.address,
    address: address.peer,
    prefixlen: address.prefixLength,
    broadcast: address.broadcast,
    scope: String(address.scope),
    label: address.label,
    metric: address.metric,
    dynamic: has('permanent') ? undefined : true,
    nodad: has('nodad'),
    noprefixroute: has('noprefixroute'),
    tentative: has('tentative'),
    deprecated: has('deprecated'),
    // The same bit means "temporary" for IPv6.
    secondary: address.family === 4 ? has('secondary') : undefined,
    mngtmpaddr: has('mngtmpaddr'),
    home: has('home'),
    valid_life_time: seconds(address.validLifetime),
    preferred_life_time: seconds(address.preferredLifetime),
  });
}

export async function compareAddresses(namespace: NetworkNamespace): Promise<Json[]> {
  const theirs = (await json(namespace, 'ip -j -d addr')).flatMap((link) =>
    (link.addr_info as Json[]).map(({ protocol: _protocol, ...address }) => ({
      device: link.ifname,
      ...address,
    })),
  );
  const ours = (await namespace.addresses()).map(ourAddress);
  const order = by('device', 'local');
  same(ours.sort(order), theirs.sort(order), 'addresses');
  return ours;
}

function ourRoute(route: RouteInfo): Json {
  const host = route.destination.replace(route.family === 4 ? /\/32$/ : /\/128$/, '');
  const { mtu, window, advmss, hoplimit, initcwnd, initrwnd } = route;
  const metrics = compact({ mtu, window, advmss, hoplimit, initcwnd, initrwnd });
  return compact({
    type: route.type,
    dst: host,
    from: route.from,
    gateway: route.via?.includes(':') === (route.family === 6) ? route.via : undefined,
    via:
      route.via === undefined || route.via.includes(':') === (route.family === 6)
        ? undefined
        : { family: 'inet6', host: route.via },
    dev: route.device,
    table: String(route.table),
    protocol: String(route.protocol),
    scope: String(route.scope),
    prefsrc: route.src,
    metric: route.metric,
    tos: route.tos === undefined ? undefined : `0x${route.tos.toString(16)}`,
    metrics: Object.keys(metrics).length > 0 ? [metrics] : undefined,
    pref: route.preference,
    flags: flagText(route.flags),
    nexthops: route.nexthops?.map((hop) =>
      compact({ gateway: hop.via, dev: hop.device, weight: hop.weight, flags: flagText(hop.flags) }),
    ),
  });
}

/** Without what comes and goes with the carrier, at a time of the kernel's choice. */
const flagText = (flags: readonly string[]): string => flags.filter((flag) => flag !== 'linkdown').join();

export async function compareRoutes(namespace: NetworkNamespace, family: 4 | 6 = 4): Promise<Json[]> {
  const theirs = (await json(namespace, `ip -${family} -j -d route show table all`)).map((route) =>
    compact({
      table: 'main',
      ...route,
      flags: flagText(route.flags as string[]),
      expires: undefined,
      metrics: (route.metrics as Json[] | undefined)?.map((metric) => pick(metric, Object.keys(metric))),
      nexthops: (route.nexthops as Json[] | undefined)?.map((hop) => ({
        ...hop,
        flags: flagText(hop.flags as string[]),
      })),
    }),
  );
  const ours = (await namespace.routes({ family, table: 'all' })).map(ourRoute);
  const order = by('table', 'dst', 'metric', 'type', 'dev', 'tos');
  same(ours.sort(order), theirs.sort(order), `IPv${family} routes`);
  return ours;
}

function ourRule(rule: RuleInfo): Json {
  const [from, fromLength] = rule.from.split('/');
  const [to, toLength] = rule.to.split('/');
  const bits = rule.family === 4 ? '32' : '128';
  const hex = (value: number | undefined) => (value === undefined ? undefined : `0x${value.toString(16)}`);
  return compact({
    priority: rule.priority,
    src: from,
    srclen: fromLength === undefined || fromLength === bits ? undefined : Number(fromLength),
    dst: to === 'all' ? undefined : to,
    dstlen: toLength === undefined || toLength === bits ? undefined : Number(toLength),
    not: rule.not ? null : undefined,
    tos: rule.tos === undefined ? undefined : `0x${rule.tos.toString(16).padStart(2, '0')}`,
    fwmark: hex(rule.fwmark),
    fwmask: rule.fwmask === 0xffffffff ? undefined : hex(rule.fwmask),
    iif: rule.iif,
    oif: rule.oif,
    uid_start: rule.uidRange?.[0],
    uid_end: rule.uidRange?.[1],
    ipproto: rule.ipProtocol === 6 ? 'tcp' : rule.ipProtocol === 17 ? 'udp' : undefined,
    sport: rule.sport && rule.sport[0] === rule.sport[1] ? rule.sport[0] : undefined,
    dport: rule.dport && rule.dport[0] === rule.dport[1] ? rule.dport[0] : undefined,
    dport_start: rule.dport && rule.dport[0] !== rule.dport[1] ? rule.dport[0] : undefined,
    dport_end: rule.dport && rule.dport[0] !== rule.dport[1] ? rule.dport[1] : undefined,
    table: rule.table === undefined ? undefined : String(rule.table),
    suppress_prefixlen: rule.suppressPrefixLength,
    suppress_ifgroup: rule.suppressGroup === undefined ? undefined : String(rule.suppressGroup),
    goto: rule.goto,
    action: rule.action === 'lookup' || rule.action === 'goto' ? undefined : rule.action,
    protocol: String(rule.protocol ?? 'unspec'),
  });
}

export async function compareRules(namespace: NetworkNamespace, family: 4 | 6 = 4): Promise<Json[]> {
  const theirs = (await json(namespace, `ip -${family} -j -d rule`)).map((rule) =>
    compact({
      ...rule,
      iif_detached: undefined,
      oif_detached: undefined,
      unresolved: undefined,
      nop: undefined,
    }),
  );
  const ours = (await namespace.rules({ family })).map(ourRule);
  same(ours, theirs, 'rules');
  return ours;
}

function ourNeighbor(neighbor: NeighborInfo): Json {
  const proxy = neighbor.flags.includes('proxy');
  return compact({
    dst: neighbor.address,
    dev: neighbor.device,
    lladdr: neighbor.mac,
    router: neighbor.flags.includes('router') ? null : undefined,
    proxy: proxy ? null : undefined,
    state: proxy ? undefined : [neighbor.state],
  });
}

export async function compareNeighbors(namespace: NetworkNamespace, proxy = false): Promise<Json[]> {
  const theirs = await json(namespace, `ip -j neigh show ${proxy ? 'proxy' : ''}`);
  const ours = (await namespace.neighbors({ proxy })).map(ourNeighbor);
  const order = by('dev', 'dst');
  same(
    ours.sort(order),
    theirs.map(({ state, ...rest }) => (proxy ? rest : { ...rest, state })).sort(order),
    'neighbors',
  );
  return ours;
}

function ourQdisc(qdisc: QdiscInfo): Json {
  return compact({
    kind: qdisc.kind,
    handle: qdisc.handle,
    dev: qdisc.device,
    root: qdisc.parent === 'root' ? true : undefined,
    parent: qdisc.parent === 'root' ? undefined : qdisc.parent,
    rate: qdisc.tbf && qdisc.tbf.rate / 8,
    burst: qdisc.tbf?.burst,
  });
}

export async function compareQdiscs(namespace: NetworkNamespace): Promise<Json[]> {
  const theirs = (await json(namespace, 'tc -j qdisc')).map(({ refcnt: _refcnt, options, ...qdisc }) =>
    compact({ ...qdisc, rate: (options as Json).rate, burst: (options as Json).burst }),
  );
  const ours = (await namespace.qdiscs()).map(ourQdisc);
  same(ours, theirs, 'qdiscs');
  return ours;
}

function ourFdbEntry(entry: FdbEntry): Json {
  return compact({
    mac: entry.mac,
    ifname: entry.device,
    dst: entry.address,
    port: entry.port,
    vni: entry.vni,
    vlan: entry.vlan,
    flags: entry.flags.join(),
    state: entry.state ?? '',
  });
}

/** @param name of the bridge or VXLAN */
export async function compareFdb(
  namespace: NetworkNamespace,
  name: string,
  kind: 'br' | 'dev',
): Promise<Json[]> {
  const theirs = (await json(namespace, `bridge -j fdb show ${kind} ${name}`)).map((entry) =>
    compact({
      ...entry,
      flags: (entry.flags as string[]).join(),
      ifname: entry.ifname ?? name,
      master: undefined,
    }),
  );
  const link = await namespace.link(name);
  const ours = (await link.fdb()).map(ourFdbEntry);
  const order = by('mac', 'ifname', 'dst', 'flags');
  same(ours.sort(order), theirs.sort(order), 'fdb');
  return ours;
}

import assert from 'node:assert/strict';
import { NetworkNamespace } from 'tuntap-native/net';
import { needs } from '../support.ts';
import {
  compareAddresses,
  compareFdb,
  compareLinks,
  compareNeighbors,
  compareQdiscs,
  compareRoutes,
  compareRules,
  comparisons,
  sh,
} from './oracle.ts';

type Compare = (namespace: NetworkNamespace) => Promise<Record<string, unknown>[]>;

interface Case {
  readonly name: string;
  /** As iproute2 does it. */
  readonly ip: string;
  /** The same by this package. */
  readonly ours: (namespace: NetworkNamespace) => Promise<unknown>;
}

const MAC = '02:00:00:00:00:11';
const bridgeUp = `ip link add br0 address ${MAC} type bridge; ip link set br0 up; ip addr add 192.0.2.1/24 dev br0; ip -6 addr add 2001:db8::1/64 dev br0 nodad`;

async function add(namespace: NetworkNamespace, ...rest: Parameters<NetworkNamespace['addLink']>) {
  return namespace.addLink(...rest);
}

/** A bridge and a veth pair whose addresses do not change. */
const veth = (more = '') =>
  `ip link add v1 address 02:00:00:00:00:21 ${more} type veth peer name v2 address 02:00:00:00:00:22`;
const pair = (namespace: NetworkNamespace) =>
  add(namespace, {
    kind: 'veth',
    name: 'v1',
    mac: '02:00:00:00:00:21',
    peer: { name: 'v2', mac: '02:00:00:00:00:22' },
  });
const bridge = (namespace: NetworkNamespace) => add(namespace, { kind: 'bridge', name: 'br0', mac: MAC });

const links: Case[] = [
  { name: 'lo, up', ip: 'ip link set lo up', ours: async (ns) => (await ns.link('lo')).set({ up: true }) },
  { name: 'a veth pair', ip: veth(), ours: pair },
  {
    name: 'a veth pair with an MTU, a queue length and a group',
    ip: veth('mtu 1400 txqueuelen 50 group 7'),
    ours: (ns) =>
      add(ns, {
        kind: 'veth',
        name: 'v1',
        mac: '02:00:00:00:00:21',
        mtu: 1400,
        txQueueLength: 50,
        group: 7,
        peer: { name: 'v2', mac: '02:00:00:00:00:22' },
      }),
  },
  {
    name: 'a veth end that is up without a carrier',
    ip: `${veth()}; ip link set v1 up`,
    ours: async (ns) => (await pair(ns)).set({ up: true }),
  },
  {
    name: 'both veth ends up',
    ip: `${veth()}; ip link set v1 up; ip link set v2 up`,
    ours: async (ns) => {
      await (await pair(ns)).set({ up: true });
      await (await ns.link('v2')).set({ up: true });
    },
  },
  {
    name: 'an MTU, an alias and a group, set later',
    ip: `${veth()}; ip link set v1 mtu 1300 alias "my link" group 3`,
    ours: async (ns) => (await pair(ns)).set({ mtu: 1300, alias: 'my link', group: 3 }),
  },
  {
    name: 'a MAC and a queue length, set later',
    ip: `${veth()}; ip link set v2 address 02:00:00:00:00:99 txqueuelen 77`,
    ours: async (ns) => {
      await pair(ns);
      await (await ns.link('v2')).set({ mac: '02:00:00:00:00:99', txQueueLength: 77 });
    },
  },
  {
    name: 'a rename',
    ip: `${veth()}; ip link set v1 name other`,
    ours: async (ns) => (await pair(ns)).rename('other'),
  },
  {
    name: 'how link-local addresses are made',
    ip: `${veth()}; ip link set v1 addrgenmode none`,
    ours: async (ns) => (await pair(ns)).set({ addressGeneration: 'none' }),
  },
  {
    name: 'one end deleted, both gone',
    ip: `${veth()}; ip link del v2`,
    ours: async (ns) => {
      await pair(ns);
      await (await ns.link('v2')).delete();
    },
  },
  {
    name: 'a link with an index of its own',
    ip: `ip link add br0 index 77 address ${MAC} type bridge`,
    ours: (ns) => add(ns, { kind: 'bridge', name: 'br0', mac: MAC, index: 77 }),
  },
  {
    name: 'queues',
    ip: 'ip link add v1 address 02:00:00:00:00:21 numtxqueues 3 numrxqueues 2 type veth peer name v2 address 02:00:00:00:00:22',
    ours: (ns) =>
      add(ns, {
        kind: 'veth',
        name: 'v1',
        mac: '02:00:00:00:00:21',
        txQueues: 3,
        rxQueues: 2,
        peer: { name: 'v2', mac: '02:00:00:00:00:22' },
      }),
  },
  { name: 'a bridge', ip: `ip link add br0 address ${MAC} type bridge`, ours: bridge },
  {
    name: 'a bridge with its options',
    ip: `ip link add br0 address ${MAC} type bridge forward_delay 1000 hello_time 300 max_age 1500 ageing_time 1234 stp_state 1 priority 4096 mcast_snooping 0 group_fwd_mask 8`,
    ours: (ns) =>
      add(ns, {
        kind: 'bridge',
        name: 'br0',
        mac: MAC,
        forwardDelay: 10,
        helloTime: 3,
        maxAge: 15,
        ageingTime: 12.34,
        stp: true,
        priority: 4096,
        multicastSnooping: false,
        groupForwardMask: 8,
      }),
  },
  {
    name: "a bridge's options, set later",
    ip: `ip link add br0 address ${MAC} type bridge; ip link set br0 type bridge ageing_time 500 mcast_querier 1`,
    ours: async (ns) => (await bridge(ns)).set({ bridge: { ageingTime: 5, multicastQuerier: true } }),
  },
  {
    name: 'a port of a bridge',
    ip: `ip link add br0 address ${MAC} type bridge; ${veth()}; ip link set v1 master br0`,
    ours: async (ns) => {
      const br0 = await bridge(ns);
      await (await pair(ns)).set({ master: br0 });
    },
  },
  {
    name: 'a link made as a port',
    ip: `ip link add br0 address ${MAC} type bridge; ip link add vx address 02:00:00:00:00:31 master br0 type vxlan id 4 dstport 4789`,
    ours: async (ns) => {
      await bridge(ns);
      await add(ns, { kind: 'vxlan', name: 'vx', mac: '02:00:00:00:00:31', id: 4, master: 'br0' });
    },
  },
  {
    name: "a port's options",
    ip: `ip link add br0 address ${MAC} type bridge; ${veth()}; ip link set v1 master br0; ip link set v1 type bridge_slave cost 9 priority 5 hairpin on guard on root_block on fastleave on learning off flood off mcast_flood off bcast_flood off isolated on neigh_suppress on`,
    ours: async (ns) => {
      const br0 = await bridge(ns);
      const port = await pair(ns);
      await port.set({ master: br0 });
      await port.set({
        port: {
          cost: 9,
          priority: 5,
          hairpin: true,
          guard: true,
          rootBlock: true,
          fastLeave: true,
          learning: false,
          flood: false,
          multicastFlood: false,
          broadcastFlood: false,
          isolated: true,
          neighborSuppression: true,
        },
      });
    },
  },
  {
    name: 'a port that left its bridge',
    ip: `ip link add br0 address ${MAC} type bridge; ${veth()}; ip link set v1 master br0; ip link set v1 nomaster`,
    ours: async (ns) => {
      await bridge(ns);
      const port = await pair(ns);
      await port.set({ master: 'br0' });
      await port.set({ master: null });
    },
  },
  {
    name: 'a vxlan',
    ip: 'ip link add vx address 02:00:00:00:00:31 type vxlan id 5 dstport 4789 local 192.0.2.1 remote 192.0.2.2 ttl 9 nolearning ageing 60 maxaddress 10 noudpcsum',
    ours: (ns) =>
      add(ns, {
        kind: 'vxlan',
        name: 'vx',
        mac: '02:00:00:00:00:31',
        id: 5,
        local: '192.0.2.1',
        remote: '192.0.2.2',
        ttl: 9,
        learning: false,
        ageing: 60,
        limit: 10,
        udpChecksum: false,
      }),
  },
  {
    name: 'a vxlan over IPv6, another port',
    ip: 'ip link add vx address 02:00:00:00:00:31 type vxlan id 6 dstport 8472 local 2001:db8::1 remote 2001:db8::2',
    ours: (ns) =>
      add(ns, {
        kind: 'vxlan',
        name: 'vx',
        mac: '02:00:00:00:00:31',
        id: 6,
        port: 8472,
        local: '2001:db8::1',
        remote: '2001:db8::2',
      }),
  },
  {
    name: 'a vxlan of a multicast group',
    ip: `ip link add br0 address ${MAC} type bridge; ip link add vx address 02:00:00:00:00:31 type vxlan id 7 dstport 4789 group 239.1.1.1 dev br0`,
    ours: async (ns) => {
      await bridge(ns);
      await add(ns, {
        kind: 'vxlan',
        name: 'vx',
        mac: '02:00:00:00:00:31',
        id: 7,
        remote: '239.1.1.1',
        link: 'br0',
      });
    },
  },
  ...(['private', 'vepa', 'bridge', 'passthru'] as const).map(
    (mode): Case => ({
      name: `a macvlan, ${mode}`,
      ip: `${veth()}; ip link add link v1 name mv address 02:00:00:00:00:41 type macvlan mode ${mode}`,
      ours: async (ns) => {
        await pair(ns);
        await add(ns, { kind: 'macvlan', name: 'mv', link: 'v1', mac: '02:00:00:00:00:41', mode });
      },
    }),
  ),
  {
    name: 'a macvtap',
    ip: `${veth()}; ip link add link v1 name mt address 02:00:00:00:00:41 type macvtap mode bridge`,
    ours: async (ns) => {
      await add(ns, {
        kind: 'macvtap',
        name: 'mt',
        link: await pair(ns),
        mac: '02:00:00:00:00:41',
        mode: 'bridge',
      });
    },
  },
];

const onBridge =
  (action: (namespace: NetworkNamespace) => Promise<unknown>) => async (namespace: NetworkNamespace) => {
    const br0 = await namespace.addLink({ kind: 'bridge', name: 'br0', mac: MAC, up: true });
    await br0.addAddress('192.0.2.1/24');
    await br0.addAddress('2001:db8::1/64', { noDad: true });
    await action(namespace);
  };
const addressCase = (
  name: string,
  options: string,
  ...[address, ours]: Parameters<Awaited<ReturnType<NetworkNamespace['link']>>['addAddress']>
): Case => ({
  name,
  ip: `${bridgeUp}; ip addr add ${options} dev br0`,
  ours: onBridge(async (ns) => (await ns.link('br0')).addAddress(address, ours)),
});

const addresses: Case[] = [
  addressCase('an IPv4 address', '198.51.100.1/25', '198.51.100.1/25'),
  addressCase('a host address', '198.51.100.1', '198.51.100.1'),
  addressCase('a secondary address', '192.0.2.9/24', '192.0.2.9/24'),
  addressCase('a broadcast address', '198.51.100.1/24 brd +', '198.51.100.1/24', { broadcast: true }),
  addressCase('a broadcast address that is told', '198.51.100.1/24 brd 198.51.100.127', '198.51.100.1/24', {
    broadcast: '198.51.100.127',
  }),
  addressCase('a peer', '198.51.100.1 peer 198.51.100.2/32', '198.51.100.1', { peer: '198.51.100.2/32' }),
  addressCase('a scope', '198.51.100.1/24 scope link', '198.51.100.1/24', { scope: 'link' }),
  addressCase('a label', '198.51.100.1/24 label br0:1', '198.51.100.1/24', { label: 'br0:1' }),
  addressCase('lifetimes', '198.51.100.1/24 valid_lft 1000 preferred_lft 500', '198.51.100.1/24', {
    validLifetime: 1000,
    preferredLifetime: 500,
  }),
  addressCase('no prefix route', '198.51.100.1/24 noprefixroute', '198.51.100.1/24', { noPrefixRoute: true }),
  addressCase('a metric', '198.51.100.1/24 metric 50', '198.51.100.1/24', { metric: 50 }),
  addressCase(
    'an IPv6 address without duplicate address detection',
    '2001:db8:1::1/64 nodad',
    '2001:db8:1::1/64',
    { noDad: true },
  ),
  addressCase('an IPv6 address that is home', '2001:db8:1::1/64 nodad home', '2001:db8:1::1/64', {
    noDad: true,
    flags: ['home'],
  }),
  addressCase('an IPv6 peer', '2001:db8:1::1 peer 2001:db8:2::1/128 nodad', '2001:db8:1::1', {
    peer: '2001:db8:2::1/128',
    noDad: true,
  }),
  addressCase(
    'an IPv6 address that is deprecated',
    '2001:db8:1::1/64 nodad valid_lft 1000 preferred_lft 0',
    '2001:db8:1::1/64',
    { noDad: true, validLifetime: 1000, preferredLifetime: 0 },
  ),
  {
    name: 'a replaced address',
    ip: `${bridgeUp}; ip addr replace 192.0.2.1/24 dev br0 valid_lft 900 preferred_lft 800`,
    ours: onBridge(async (ns) =>
      (await ns.link('br0')).replaceAddress('192.0.2.1/24', { validLifetime: 900, preferredLifetime: 800 }),
    ),
  },
  {
    name: 'a deleted address',
    ip: `${bridgeUp}; ip addr del 192.0.2.1/24 dev br0`,
    ours: onBridge(async (ns) => (await ns.link('br0')).deleteAddress('192.0.2.1/24')),
  },
];

const routeCase = (
  name: string,
  options: string,
  ours: Parameters<NetworkNamespace['addRoute']>[0],
): Case => ({
  name,
  ip: `${bridgeUp}; ip route add ${options}`,
  ours: onBridge((ns) => ns.addRoute(ours)),
});
const destination = '198.51.100.0/24';
const destination6 = '2001:db8:ff::/48';

const routes: Case[] = [
  routeCase('through a gateway', `${destination} via 192.0.2.2`, { destination, via: '192.0.2.2' }),
  routeCase('through a link', `${destination} dev br0`, { destination, device: 'br0' }),
  routeCase('the default route', 'default via 192.0.2.2', { destination: 'default', via: '192.0.2.2' }),
  routeCase('to a host', '198.51.100.7 via 192.0.2.2', { destination: '198.51.100.7', via: '192.0.2.2' }),
  routeCase('with a metric and a source', `${destination} dev br0 metric 50 src 192.0.2.1`, {
    destination,
    device: 'br0',
    metric: 50,
    src: '192.0.2.1',
  }),
  routeCase('in another table', `${destination} dev br0 table 100`, {
    destination,
    device: 'br0',
    table: 100,
  }),
  routeCase('in a table above 255', `${destination} dev br0 table 51820`, {
    destination,
    device: 'br0',
    table: 51820,
  }),
  routeCase('with a scope and a protocol', `${destination} dev br0 scope host proto static`, {
    destination,
    device: 'br0',
    scope: 'host',
    protocol: 'static',
  }),
  routeCase(
    'with an MTU and metrics of TCP',
    `${destination} via 192.0.2.2 mtu 1300 advmss 1000 window 5000 initcwnd 20 initrwnd 30 hoplimit 9`,
    {
      destination,
      via: '192.0.2.2',
      mtu: 1300,
      advmss: 1000,
      window: 5000,
      initcwnd: 20,
      initrwnd: 30,
      hoplimit: 9,
    },
  ),
  routeCase('to a gateway that is onlink', `${destination} via 203.0.113.1 dev br0 onlink`, {
    destination,
    via: '203.0.113.1',
    device: 'br0',
    onlink: true,
  }),
  routeCase('with several ways', `${destination} nexthop via 192.0.2.2 weight 3 nexthop via 192.0.2.3`, {
    destination,
    nexthops: [{ via: '192.0.2.2', weight: 3 }, { via: '192.0.2.3' }],
  }),
  routeCase(
    'with several ways through links',
    `${destination} nexthop dev br0 nexthop via 203.0.113.1 dev br0 onlink`,
    { destination, nexthops: [{ device: 'br0' }, { via: '203.0.113.1', device: 'br0', onlink: true }] },
  ),
  routeCase('through an IPv6 gateway', `${destination} via inet6 2001:db8::2`, {
    destination,
    via: '2001:db8::2',
  }),
  routeCase('for a type of service', `${destination} dev br0 tos 0x10`, {
    destination,
    device: 'br0',
    tos: 0x10,
  }),
  ...(['blackhole', 'unreachable', 'prohibit', 'throw'] as const).map((type) =>
    routeCase(type, `${type} ${destination}`, { destination, type }),
  ),
  routeCase('of this host', 'local 198.51.100.0/24 dev lo', { destination, type: 'local', device: 'lo' }),
  {
    name: 'replaced',
    ip: `${bridgeUp}; ip route add ${destination} via 192.0.2.2; ip route replace ${destination} via 192.0.2.3`,
    ours: onBridge(async (ns) => {
      await ns.addRoute({ destination, via: '192.0.2.2' });
      await ns.replaceRoute({ destination, via: '192.0.2.3' });
    }),
  },
  {
    name: 'deleted',
    ip: `${bridgeUp}; ip route add ${destination} via 192.0.2.2; ip route del ${destination}`,
    ours: onBridge(async (ns) => {
      await ns.addRoute({ destination, via: '192.0.2.2' });
      await ns.deleteRoute({ destination });
    }),
  },
];
const routes6: Case[] = [
  routeCase('through a gateway', `${destination6} via 2001:db8::2`, {
    destination: destination6,
    via: '2001:db8::2',
  }),
  routeCase('the default route', '-6 default via 2001:db8::2'.replace('-6 ', ''), {
    destination: 'default',
    via: '2001:db8::2',
  }),
  routeCase('through a link, with a metric and a preference', `${destination6} dev br0 metric 7 pref high`, {
    destination: destination6,
    device: 'br0',
    metric: 7,
    preference: 'high',
  }),
  routeCase('with an MTU', `${destination6} via 2001:db8::2 mtu 1400`, {
    destination: destination6,
    via: '2001:db8::2',
    mtu: 1400,
  }),
  routeCase('with several ways', `${destination6} nexthop via 2001:db8::2 weight 2 nexthop via 2001:db8::3`, {
    destination: destination6,
    nexthops: [{ via: '2001:db8::2', weight: 2 }, { via: '2001:db8::3' }],
  }),
  routeCase('blackhole', `blackhole ${destination6}`, { destination: destination6, type: 'blackhole' }),
];

const ruleCase = (name: string, options: string, rule: Parameters<NetworkNamespace['addRule']>[0]): Case => ({
  name,
  ip: `ip rule add ${options}`,
  ours: (ns) => ns.addRule(rule),
});
const rules: Case[] = [
  ruleCase('for a network', 'from 192.0.2.0/24 priority 5 table 100', {
    from: '192.0.2.0/24',
    priority: 5,
    table: 100,
  }),
  ruleCase('to a host', 'to 192.0.2.1 priority 5 table 51820', {
    to: '192.0.2.1',
    priority: 5,
    table: 51820,
  }),
  ruleCase('for a mark', 'fwmark 0x10/0xff priority 5 table main', {
    fwmark: 0x10,
    fwmask: 0xff,
    priority: 5,
  }),
  ruleCase('for all but a mark, as WireGuard does', 'not fwmark 51820 priority 5 table 51820', {
    not: true,
    fwmark: 51820,
    priority: 5,
    table: 51820,
  }),
  ruleCase('that leaves the default route out', 'priority 5 table main suppress_prefixlength 0', {
    priority: 5,
    table: 'main',
    suppressPrefixLength: 0,
  }),
  ruleCase('for links', 'iif lo oif eth9 priority 5 table 9', {
    iif: 'lo',
    oif: 'eth9',
    priority: 5,
    table: 9,
  }),
  ruleCase('for ports', 'ipproto tcp dport 80-90 sport 7 priority 5 table 9', {
    ipProtocol: 6,
    dport: [80, 90],
    sport: [7, 7],
    priority: 5,
    table: 9,
  }),
  ruleCase('for users', 'uidrange 1000-2000 priority 5 table 9', {
    uidRange: [1000, 2000],
    priority: 5,
    table: 9,
  }),
  ruleCase('that prohibits', 'from 192.0.2.0/24 priority 5 prohibit', {
    from: '192.0.2.0/24',
    priority: 5,
    action: 'prohibit',
  }),
  ruleCase('that goes on elsewhere', 'priority 5 goto 32766', { priority: 5, goto: 32766 }),
  {
    name: 'deleted',
    ip: 'ip rule add from 192.0.2.0/24 priority 5 table 100; ip rule del priority 5',
    ours: async (ns) => {
      await ns.addRule({ from: '192.0.2.0/24', priority: 5, table: 100 });
      await ns.deleteRule({ priority: 5 });
    },
  },
];

const neighborCase = (
  name: string,
  command: string,
  ours: (ns: NetworkNamespace) => Promise<unknown>,
): Case => ({
  name,
  ip: `${bridgeUp}; ${command}`,
  ours: onBridge(ours),
});
const neighbor = { device: 'br0', address: '192.0.2.7', mac: '02:00:00:00:00:77' } as const;
const neighbors: Case[] = [
  neighborCase('an ARP entry', 'ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:77 dev br0', (ns) =>
    ns.addNeighbor(neighbor),
  ),
  neighborCase(
    'an NDP entry of a router',
    'ip neigh add 2001:db8::7 lladdr 02:00:00:00:00:77 router dev br0',
    (ns) => ns.addNeighbor({ ...neighbor, address: '2001:db8::7', router: true }),
  ),
  neighborCase('a stale entry', 'ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:77 nud stale dev br0', (ns) =>
    ns.addNeighbor({ ...neighbor, state: 'STALE' }),
  ),
  neighborCase(
    'a replaced entry',
    'ip neigh add 192.0.2.7 lladdr 02:00:00:00:00:77 dev br0; ip neigh replace 192.0.2.7 lladdr 02:00:00:00:00:78 dev br0',
    async (ns) => {
      await ns.addNeighbor(neighbor);
      await ns.replaceNeighbor({ ...neighbor, mac: '02:00:00:00:00:78' });
    },
  ),
];
const proxies: Case[] = [
  neighborCase(
    'an address to answer for',
    'ip neigh add proxy 192.0.2.8 dev br0; ip neigh add proxy 2001:db8::8 dev br0',
    async (ns) => {
      await ns.addNeighbor({ device: 'br0', address: '192.0.2.8', proxy: true });
      await ns.addNeighbor({ device: 'br0', address: '2001:db8::8', proxy: true });
    },
  ),
];

const tbf = {
  device: 'v1',
  kind: 'tbf',
  handle: '1:',
  rate: 1_000_000,
  burst: 10_000,
  latencyMs: 50,
} as const;
const withPair = (action: (ns: NetworkNamespace) => Promise<unknown>) => async (ns: NetworkNamespace) => {
  const v1 = await pair(ns);
  await v1.set({ up: true });
  await action(ns);
};
const qdiscs: Case[] = [
  {
    name: 'a token bucket',
    ip: `${veth()}; ip link set v1 up; tc qdisc add dev v1 handle 1: root tbf rate 1mbit burst 10000 latency 50ms`,
    ours: withPair((ns) => ns.addQdisc(tbf)),
  },
  {
    name: 'a fast token bucket',
    ip: `${veth()}; ip link set v1 up; tc qdisc add dev v1 handle 1: root tbf rate 1gbit burst 1000000 limit 3000000`,
    ours: withPair((ns) =>
      ns.addQdisc({ device: 'v1', kind: 'tbf', handle: '1:', rate: 1e9, burst: 1_000_000, limit: 3_000_000 }),
    ),
  },
  {
    name: 'a token bucket that was replaced',
    ip: `${veth()}; ip link set v1 up; tc qdisc add dev v1 handle 1: root tbf rate 1mbit burst 10000 latency 50ms; tc qdisc replace dev v1 handle 1: root tbf rate 2mbit burst 20000 latency 50ms`,
    ours: withPair(async (ns) => {
      await ns.addQdisc(tbf);
      await ns.replaceQdisc({ ...tbf, rate: 2_000_000, burst: 20_000 });
    }),
  },
  {
    name: 'none any more',
    ip: `${veth()}; ip link set v1 up; tc qdisc add dev v1 handle 1: root tbf rate 1mbit burst 10000 latency 50ms; tc qdisc del dev v1 root`,
    ours: withPair(async (ns) => {
      await ns.addQdisc(tbf);
      await ns.deleteQdisc('v1');
    }),
  },
];

const port = `ip link add br0 address ${MAC} type bridge; ${veth()}; ip link set v1 master br0`;
const withPort = (action: (ns: NetworkNamespace) => Promise<unknown>) => async (ns: NetworkNamespace) => {
  const br0 = await bridge(ns);
  await (await pair(ns)).set({ master: br0 });
  await action(ns);
};
const fdb: Case[] = [
  { name: 'the addresses of a bridge and its ports', ip: port, ours: withPort(async () => undefined) },
  {
    name: 'a static entry of a port',
    ip: `${port}; bridge fdb add 02:00:00:00:00:55 dev v1 master static`,
    ours: withPort(async (ns) => (await ns.link('v1')).addFdbEntry({ mac: '02:00:00:00:00:55' })),
  },
  {
    name: 'a permanent entry of a port',
    ip: `${port}; bridge fdb add 02:00:00:00:00:55 dev v1 master permanent`,
    ours: withPort(async (ns) =>
      (await ns.link('v1')).addFdbEntry({ mac: '02:00:00:00:00:55', state: 'permanent' }),
    ),
  },
  {
    name: 'a deleted entry',
    ip: `${port}; bridge fdb add 02:00:00:00:00:55 dev v1 master static; bridge fdb del 02:00:00:00:00:55 dev v1 master`,
    ours: withPort(async (ns) => {
      const v1 = await ns.link('v1');
      await v1.addFdbEntry({ mac: '02:00:00:00:00:55' });
      await v1.deleteFdbEntry({ mac: '02:00:00:00:00:55' });
    }),
  },
];
const vxlan = 'ip link add vx address 02:00:00:00:00:31 type vxlan id 5 dstport 4789';
const vxlanFdb: Case[] = [
  {
    name: 'hosts of a vxlan',
    ip: `${vxlan}; bridge fdb append 00:00:00:00:00:00 dev vx dst 192.0.2.2; bridge fdb append 00:00:00:00:00:00 dev vx dst 192.0.2.3 port 8472 vni 9`,
    ours: async (ns) => {
      const vx = await add(ns, { kind: 'vxlan', name: 'vx', mac: '02:00:00:00:00:31', id: 5 });
      await vx.appendFdbEntry({ mac: '00:00:00:00:00:00', address: '192.0.2.2' });
      await vx.appendFdbEntry({ mac: '00:00:00:00:00:00', address: '192.0.2.3', port: 8472, vni: 9 });
    },
  },
];

const tables: readonly (readonly [string, Compare, readonly Case[]])[] = [
  ['links', compareLinks, links],
  ['addresses', compareAddresses, addresses],
  ['IPv4 routes', (ns) => compareRoutes(ns, 4), routes],
  ['IPv6 routes', (ns) => compareRoutes(ns, 6), routes6],
  ['rules', compareRules, rules],
  ['neighbors', compareNeighbors, neighbors],
  ['proxy neighbors', (ns) => compareNeighbors(ns, true), proxies],
  ['queueing disciplines', compareQdiscs, qdiscs],
  ['forwarding database of a bridge', (ns) => compareFdb(ns, 'br0', 'br'), fdb],
  ['forwarding database of a vxlan', (ns) => compareFdb(ns, 'vx', 'dev'), vxlanFdb],
];

describe('iproute2 and this package agree', () => {
  before(function () {
    needs(this, 'ip', 'bridge', 'tc');
  });

  for (const [what, compare, cases] of tables) {
    describe(what, () => {
      for (const { name, ip, ours } of cases) {
        it(name, async () => {
          await using theirNamespace = await NetworkNamespace.create();
          await using ourNamespace = await NetworkNamespace.create();
          await sh(theirNamespace, ip);
          await ours(ourNamespace);
          // We read what ip made; ip reads what we made; and both are the same.
          const theirs = await compare(theirNamespace);
          const made = await compare(ourNamespace);
          comparisons.count++;
          assert.deepEqual(made, theirs);
        });
      }
    });
  }

  after(() => {
    if (comparisons.count > 0) console.log(`      ${comparisons.count} comparisons with iproute2`);
  });
});

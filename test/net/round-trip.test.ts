import assert from 'node:assert/strict';
import { type FdbEntry, type LinkInfo, NetworkNamespace } from 'tuntap-native/net';
import { needs } from '../support.ts';
import { sh } from './oracle.ts';

/** One kind of object: how iproute2 shows it, and what a listed one is given back to. */
interface Kind {
  /** Prints all objects of this kind. */
  readonly show: string;
  /** Run before each case. */
  readonly setup: string;
  /** Lists the objects that the case made. */
  readonly list: (namespace: NetworkNamespace) => Promise<readonly unknown[]>;
  readonly remove: (namespace: NetworkNamespace, item: never) => Promise<void>;
  readonly add: (namespace: NetworkNamespace, item: never) => Promise<void>;
  readonly replace?: (namespace: NetworkNamespace, item: never) => Promise<void>;
  /** Command lines that make objects. */
  readonly cases: readonly string[];
}

const PAIR = [
  'ip link set lo up',
  'ip link add v1 address 02:00:00:00:00:21 type veth peer name v2 address 02:00:00:00:00:22',
  'ip link set v1 up',
  'ip link set v2 up',
].join(';');
const ADDRESSED = `${PAIR}; ip addr add 192.0.2.1/24 dev v1; ip addr add 2001:db8::1/64 dev v1 nodad`;

const onV1 = (namespace: NetworkNamespace) => namespace.link('v1');

type Listed<K extends 'addresses' | 'routes' | 'rules' | 'neighbors' | 'qdiscs'> = Awaited<
  ReturnType<NetworkNamespace[K]>
>[number];

const MAC = '02:00:00:00:00:77';

const FDB: Omit<Kind, 'cases' | 'list'> = {
  show: "bridge -d fdb show | sed -n 's/ used [0-9/]*//; /:99/p' | sort",
  setup: `${PAIR}; ip link add br0 address 02:00:00:00:00:11 type bridge; ip link set v1 master br0; ip link set br0 up`,
  remove: async (ns, entry: FdbEntry) => (await ns.link('br0')).deleteFdbEntry(entry),
  add: async (ns, entry: FdbEntry) => (await ns.link('br0')).addFdbEntry(entry),
  replace: async (ns, entry: FdbEntry) => (await ns.link('br0')).replaceFdbEntry(entry),
};

const QDISCS: Omit<Kind, 'cases'> = {
  show: "tc -d qdisc show dev v1 | sed '/^qdisc htb/d; s/ refcnt [0-9]*//'",
  setup: PAIR,
  list: async (ns) =>
    (await ns.qdiscs({ device: 'v1' })).filter(({ handle, kind }) => handle !== '0:' && kind !== 'htb'),
  remove: (ns, qdisc: Listed<'qdiscs'>) => ns.deleteQdisc(qdisc),
  add: (ns, qdisc: Listed<'qdiscs'>) => ns.addQdisc(qdisc),
  replace: (ns, qdisc: Listed<'qdiscs'>) => ns.replaceQdisc(qdisc),
};

const kinds: Readonly<Record<string, Kind>> = {
  addresses: {
    show: 'ip -d addr show dev v1',
    setup: PAIR,
    list: async (ns) =>
      (await ns.addresses({ device: 'v1' })).filter(({ scope }) => scope !== 'link' || true),
    remove: async (ns, address: Listed<'addresses'>) => (await onV1(ns)).deleteAddress(address),
    add: async (ns, address: Listed<'addresses'>) => (await onV1(ns)).addAddress(address),
    replace: async (ns, address: Listed<'addresses'>) => {
      // An option that is undefined is none: that of the listed address holds.
      const unsaid = Object.fromEntries(Object.keys(address).map((name) => [name, undefined]));
      await (await onV1(ns)).replaceAddress(address, unsaid);
    },
    cases: [
      'ip addr add 192.0.2.1/24 dev v1',
      'ip addr add 192.0.2.1/24 brd + dev v1',
      'ip addr add 192.0.2.1/24 brd 192.0.2.200 dev v1 label v1:a',
      'ip addr add 192.0.2.1 peer 198.51.100.1/24 dev v1',
      'ip addr add 192.0.2.1 peer 198.51.100.1 dev v1 scope link',
      'ip addr add 192.0.2.1/24 dev v1 metric 77 noprefixroute',
      'ip addr add 192.0.2.1/24 dev v1 valid_lft 10000 preferred_lft 5000',
      'ip addr add 192.0.2.1/24 dev v1 valid_lft forever preferred_lft 0',
      'ip addr add 192.0.2.1/24 dev v1 scope host',
      'ip addr add 192.0.2.1/24 dev v1 scope 17',
      'ip addr add 192.0.2.1/24 dev v1; ip addr add 192.0.2.2/24 dev v1',
      'ip addr add 239.0.0.5/32 dev v1 autojoin',
      'ip addr add 2001:db8::1/64 dev v1 nodad',
      'ip addr add 2001:db8::1/64 dev v1 nodad metric 12',
      'ip addr add 2001:db8::1/64 dev v1 nodad home noprefixroute',
      'ip addr add 2001:db8::1/64 dev v1 nodad mngtmpaddr valid_lft 10000 preferred_lft 9000',
      'ip addr add ff15::5/128 dev v1 autojoin',
      'ip addr add 2001:db8::1 peer 2001:db8::2/64 dev v1 nodad',
      'ip addr add 2001:db8::1/64 dev v1 nodad preferred_lft 0',
      'ip addr add 2001:db8::1/64 dev v1 scope site nodad',
    ],
  },
  'IPv4 routes': {
    show: 'ip -4 -d route show table all',
    setup: ADDRESSED,
    list: async (ns) => ns.routes({ table: 'all' }),
    remove: (ns, route: Listed<'routes'>) => ns.deleteRoute(route),
    add: (ns, route: Listed<'routes'>) => ns.addRoute(route),
    replace: (ns, route: Listed<'routes'>) => ns.replaceRoute(route),
    cases: [
      'ip route add default via 192.0.2.9',
      'ip route add 198.51.100.0/24 dev v1 mtu lock 1400',
      'ip route add 198.51.100.0/24 dev v1 mtu 1400 window lock 9000 rtt 10 rttvar 5 ssthresh 4 cwnd lock 7 advmss 900 reordering 5 hoplimit 9 initcwnd 11 rto_min 3s initrwnd 12 quickack 1 features ecn congctl lock cubic',
      'ip route add 198.51.100.0/24 dev v1 fastopen_no_cookie 1',
      'ip route add 198.51.100.0/24 via 192.0.2.9 tos 0x10 metric 5 src 192.0.2.1 proto 77 table 1000',
      'ip route add 198.51.100.0/24 via inet6 2001:db8::9 dev v1',
      'ip route add 198.51.100.0/24 via 203.0.113.1 dev v1 onlink',
      'ip route add 198.51.100.0/24 nexthop via 192.0.2.7 weight 3 nexthop via 203.0.113.9 dev v1 onlink nexthop dev v1 weight 256',
      'ip route add 198.51.100.0/24 nexthop via inet6 2001:db8::9 dev v1 nexthop via 192.0.2.9',
      'ip route add 198.51.100.0/24 dev v1 realms 3/4',
      'ip route add 198.51.100.0/24 nexthop via 192.0.2.7 realms 5/6 nexthop via 192.0.2.8',
      'ip route add unreachable 198.51.100.0/24',
      'ip route add blackhole 198.51.100.0/24 metric 9',
      'ip route add prohibit 198.51.100.0/24 table 77',
      'ip route add throw 198.51.100.0/24 table 4294967295',
      'ip route add local 198.51.100.0/24 dev lo',
      'ip route add broadcast 198.51.100.255 dev v1',
      'ip route add 198.51.100.0/24 dev v1 scope host proto zebra',
      'ip nexthop add id 5 via 192.0.2.9 dev v1; ip route add 198.51.100.0/24 nhid 5',
      'ip nexthop add id 5 via 192.0.2.9 dev v1; ip nexthop add id 6 via 192.0.2.8 dev v1; ip nexthop add id 7 group 5/6,9; ip route add 198.51.100.0/24 nhid 7 mtu lock 1300',
      'ip nexthop add id 5 blackhole; ip route add 198.51.100.0/24 nhid 5',
      'echo 0 > /proc/sys/net/ipv4/nexthop_compat_mode; ip nexthop add id 5 via 192.0.2.9 dev v1; ip route add 198.51.100.0/24 nhid 5',
      'ip route add 198.51.100.0/24 encap ip id 77 dst 203.0.113.5 ttl 9 dev v1',
      'ip route add 198.51.100.0/24 encap ip6 id 78 dst 2001:db8::7 dev v1 mtu 1300',
      'ip route add 198.51.100.0/24 nexthop encap ip id 77 dst 203.0.113.5 dev v1 nexthop via 192.0.2.9',
      'ip route add 198.51.100.0/24 dev v1 metric 1; ip route add 198.51.100.0/24 dev v2 metric 2',
    ],
  },
  'IPv6 routes': {
    show: "ip -6 -d route show table all | sed -n '/fe80::\\|ff00::\\|local 2001:db8::1 /d; s/expires [0-9]*sec/expires/; p'",
    setup: ADDRESSED,
    // The kernel makes its own routes when it wants to.
    list: async (ns) =>
      (await ns.routes({ family: 6, table: 'all' })).filter(({ destination }) =>
        /^default|db8:1:/.test(destination),
      ),
    remove: (ns, route: Listed<'routes'>) => ns.deleteRoute(route),
    add: (ns, route: Listed<'routes'>) => ns.addRoute(route),
    replace: (ns, route: Listed<'routes'>) => ns.replaceRoute(route),
    cases: [
      'ip route add default via 2001:db8::9',
      'ip route add 2001:db8:1::/48 dev v1 mtu lock 1400 hoplimit 7',
      'ip route add 2001:db8:1::/48 via 2001:db8::9 metric 5 src 2001:db8::1 proto 77 table 1000',
      'ip route add 2001:db8:1::/48 dev v1 expires 500',
      'ip route add 2001:db8:1::/48 dev v1 pref high',
      'ip route add 2001:db8:1::/48 via 2001:db8:7::1 dev v1 onlink',
      'ip route add 2001:db8:1::/48 from 2001:db8:2::/64 dev v1',
      'ip route add 2001:db8:1::/48 nexthop via 2001:db8::7 weight 3 nexthop via 2001:db8::8 dev v1',
      'ip route add unreachable 2001:db8:1::/48',
      'ip route add blackhole 2001:db8:1::/48 metric 9',
      'ip route add prohibit 2001:db8:1::/48 table 77',
      'ip route add throw 2001:db8:1::/48 table 77',
      'ip route add local 2001:db8:1::/48 dev lo',
      'ip route add anycast 2001:db8:1::1 dev v1',
      'ip nexthop add id 5 via 2001:db8::9 dev v1; ip route add 2001:db8:1::/48 nhid 5',
      'ip -6 nexthop add id 5 blackhole; ip -6 route add 2001:db8:1::/48 nhid 5',
      'ip nexthop add id 5 via 2001:db8::9 dev v1; ip nexthop add id 6 via 2001:db8::8 dev v1; ip nexthop add id 7 group 5/6,9; ip route add 2001:db8:1::/48 nhid 7',
      'ip route add 2001:db8:1::/48 encap ip6 id 78 dst 2001:db8::7 dev v1 mtu 1300',
      'ip route add 2001:db8:1::/48 encap seg6 mode encap segs 2001:db8::5,2001:db8::6 dev v1',
      'ip route add 2001:db8:1::/48 dev v1 metric 1; ip route add 2001:db8:1::/48 dev v2 metric 2',
    ],
  },
  rules: {
    show: 'ip rule; ip -6 rule',
    setup: PAIR,
    list: async (ns) => ns.rules({ family: 'all' }),
    remove: (ns, rule: Listed<'rules'>) => ns.deleteRule(rule),
    add: (ns, rule: Listed<'rules'>) => ns.addRule(rule),
    cases: [
      'ip rule add from 192.0.2.0/24 to 198.51.100.0/25 tos 0x10 table 77',
      'ip rule add not fwmark 7/0xff table 1000 prio 5',
      'ip rule add fwmark 0/0xff table 1000',
      'ip rule add iif v1 oif v2 table 255',
      'ip rule add iif nosuch blackhole',
      'ip rule add unreachable from 192.0.2.1',
      'ip rule add prohibit to 192.0.2.1',
      'ip rule add uidrange 5-99 ipproto tcp sport 5-6 dport 80 table 9',
      'ip rule add ipproto udp dport 53-54 lookup 9',
      'ip rule add goto 32766 prio 7',
      'ip rule add goto 31000 prio 7',
      'ip rule add nop prio 7',
      'ip rule add table main suppress_prefixlength 0',
      'ip rule add table main suppress_ifgroup 7',
      'ip rule add table main suppress_prefixlength 8 suppress_ifgroup 0',
      'ip rule add l3mdev prio 900',
      'ip rule add tun_id 0x1234 table 9',
      'ip rule add table 9 protocol bgp',
      'ip rule add from 192.0.2.0/24 realms 3/4 table 9',
      'ip -6 rule add from 2001:db8::/32 to 2001:db8:1::/48 tos 8 table 77',
      'ip -6 rule add ipproto 99 not iif v1 sport 7 table 1000 protocol 88',
      'ip -6 rule add prio 0 table 7',
    ],
  },
  neighbours: {
    show: "ip -d neigh show nud all | sed 's/ ref [0-9]*//; s/ used [0-9/]*//; s/ probes [0-9]*//; /^ff02/d' | sort; ip neigh show proxy | sort",
    setup: ADDRESSED.replaceAll('192.0.2.1/24', '192.0.2.1/24 scope link'),
    list: async (ns) =>
      [...(await ns.neighbors({ noArp: true })), ...(await ns.neighbors({ proxy: true }))].filter(
        ({ mac = '' }) => !mac.startsWith('33:33'),
      ),
    remove: (ns, neighbor: Listed<'neighbors'>) => ns.deleteNeighbor(neighbor),
    add: (ns, neighbor: Listed<'neighbors'>) => ns.addNeighbor(neighbor),
    replace: (ns, neighbor: Listed<'neighbors'>) => ns.replaceNeighbor(neighbor),
    cases: [
      'ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:99 dev v1',
      'ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:99 dev v1 nud stale',
      'ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:99 dev v1 nud reachable',
      'ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:99 dev v1 nud noarp',
      'ip neigh add 192.0.2.9 dev v1 nud failed',
      'ip neigh add 192.0.2.9 dev v1 nud none',
      'ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:99 dev v1 protocol 77',
      'ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:99 dev v1 extern_learn nud stale',
      'ip neigh add 2001:db8::9 lladdr 02:00:00:00:00:99 dev v1 router',
      'ip neigh add 2001:db8::9 lladdr 02:00:00:00:00:99 dev v1 router extern_learn protocol bgp nud stale',
      'ip neigh add proxy 192.0.2.9 dev v1',
      'ip neigh add proxy 2001:db8::9 dev v1 protocol 7',
      'ip neigh add proxy 2001:db8::9 dev v1 router',
      'ip neigh add 192.0.2.9 dev v1 managed',
      'ip tuntap add dev tun9 mode tun; ip link set tun9 up; ip neigh add 198.51.100.7 dev tun9 nud noarp',
    ],
  },
  'bridge forwarding databases': {
    ...FDB,
    list: async (ns) => (await (await ns.link('br0')).fdb()).filter(({ mac }) => mac.endsWith(':99')),
    cases: [
      'bridge fdb add 02:00:00:00:00:99 dev v1 master static',
      'bridge fdb add 02:00:00:00:00:99 dev v1 master permanent',
      'bridge fdb add 02:00:00:00:00:99 dev v1 master dynamic',
      'bridge fdb add 02:00:00:00:00:99 dev v1 master dynamic extern_learn',
      'bridge fdb add 02:00:00:00:00:99 dev v1 master static sticky',
      'bridge fdb add 02:00:00:00:00:99 dev br0 self local',
      'bridge fdb add 33:33:00:00:00:99 dev v1 self permanent',
    ],
  },
  'the entries behind a port': {
    ...FDB,
    list: async (ns) => (await (await ns.link('v1')).fdb()).filter(({ mac }) => mac.endsWith(':99')),
    remove: async (ns, entry: FdbEntry) => (await ns.link('v1')).deleteFdbEntry(entry),
    add: async (ns, entry: FdbEntry) => (await ns.link('v1')).addFdbEntry(entry),
    replace: async (ns, entry: FdbEntry) => (await ns.link('v1')).replaceFdbEntry(entry),
    cases: [
      'bridge fdb add 02:00:00:00:00:99 dev v1 master static',
      'bridge fdb add 02:00:00:00:00:99 dev v1 master dynamic',
    ],
  },
  'VXLAN forwarding databases': {
    show: 'bridge -d fdb show dev vx | sort',
    setup: `${ADDRESSED}; ip link add vx type vxlan id 9 dev v1 dstport 4789; ip link set vx up`,
    list: async (ns) => (await ns.link('vx')).fdb(),
    remove: async (ns, entry: FdbEntry) => (await ns.link('vx')).deleteFdbEntry(entry),
    add: async (ns, entry: FdbEntry) => (await ns.link('vx')).appendFdbEntry(entry),
    replace: async (ns, entry: FdbEntry) => (await ns.link('vx')).replaceFdbEntry(entry),
    cases: [
      'bridge fdb add 02:00:00:00:00:99 dev vx dst 192.0.2.9',
      'bridge fdb add 02:00:00:00:00:99 dev vx dst 192.0.2.9 port 99 vni 55 via v1',
      'bridge fdb add 02:00:00:00:00:99 dev vx dst 192.0.2.9 dynamic',
      'bridge fdb add 02:00:00:00:00:99 dev vx dst 192.0.2.9 router extern_learn',
      'ip nexthop add id 3 via 192.0.2.9 fdb; ip nexthop add id 4 group 3 fdb; bridge fdb add 02:00:00:00:00:99 dev vx nhid 4',
    ],
  },
  'many hosts of one VXLAN entry': {
    show: 'bridge -d fdb show dev vx | sort',
    setup: `${ADDRESSED}; ip link add vx type vxlan id 9 dev v1 dstport 4789; ip link set vx up`,
    list: async (ns) => (await ns.link('vx')).fdb(),
    remove: async (ns, entry: FdbEntry) => (await ns.link('vx')).deleteFdbEntry(entry),
    add: async (ns, entry: FdbEntry) => (await ns.link('vx')).appendFdbEntry(entry),
    cases: [
      'bridge fdb append 00:00:00:00:00:00 dev vx dst 192.0.2.8; bridge fdb append 00:00:00:00:00:00 dev vx dst 192.0.2.9 port 77',
    ],
  },
  links: {
    show: "ip -d link | grep -A2 ' x1[@:]' | sed 's/NO-CARRIER,//; s/ state [A-Z]*//; s/ gc_timer *[0-9.]*//; s/_timer *[0-9.]*//g; s/ tcn_timer *[0-9.]*//'",
    setup: 'ip link add p1 type veth peer name p2; ip link add br0 address 02:00:00:00:00:11 type bridge',
    list: async (ns) => (await ns.links()).filter(({ name }) => name === 'x1'),

    remove: async (ns, link: LinkInfo) => (await ns.link(link.index)).delete(),
    add: async (ns, link: LinkInfo) => {
      await ns.addLink(link);
    },
    cases: [
      `ip link add x1 address ${MAC} mtu 1400 txqueuelen 77 numtxqueues 3 type bridge; ip link set x1 alias "my link" group 5 up`,
      `ip link add x1 address ${MAC} index 77 type bridge ageing_time 7700 stp_state 1 priority 99 forward_delay 900 group_fwd_mask 8 mcast_querier 1`,
      `ip link add x1 address ${MAC} link p1 type macvlan mode private`,
      `ip link add x1 address ${MAC} link p1 type macvtap mode bridge`,
      `ip link add x1 address ${MAC} master br0 type vxlan id 7 remote 192.0.2.9 local 192.0.2.1 dev p1 dstport 99 nolearning ttl 9 tos 1 ageing 77 maxaddress 55 srcport 100 200 l2miss l3miss proxy noudpcsum`,
      `ip link add x1 address ${MAC} type vxlan id 7 remote 2001:db8::9 local 2001:db8::1 dev p1 dstport 99`,
      'ip link add x1 mtu 1300 type veth peer name x2',
    ],
  },
  qdiscs: {
    ...QDISCS,
    cases: [
      'tc qdisc add dev v1 root tbf rate 1mbit burst 10kb latency 50ms',
      'tc qdisc add dev v1 root handle 5: tbf rate 1gbit burst 1514 limit 100kb',
      'tc qdisc add dev v1 root handle 5: tbf rate 7gbit burst 12345 limit 100kb',
      'tc qdisc add dev v1 root handle 5: tbf rate 70gbit burst 1234567 limit 100kb',
      'tc qdisc add dev v1 root tbf rate 3mbit burst 10kb limit 9kb peakrate 5mbit minburst 1540 mpu 64 overhead 18',
      'tc qdisc add dev v1 root tbf rate 3mbit burst 10kb limit 9kb linklayer atm overhead 8',
      'tc qdisc add dev v1 root pfifo limit 77',
    ],
  },
  'qdiscs that can not be changed': {
    ...QDISCS,
    replace: undefined,
    cases: ['tc qdisc add dev v1 ingress', 'tc qdisc add dev v1 clsact'],
  },
  'qdiscs below a class': {
    ...QDISCS,
    setup: `${PAIR}; tc qdisc add dev v1 root handle 1: htb; tc class add dev v1 parent 1: classid 1:2 htb rate 1mbit`,
    cases: [
      'tc qdisc add dev v1 parent 1:2 handle 20: tbf rate 1mbit burst 10kb limit 20kb',
      'tc qdisc add dev v1 parent 1:2 handle abcd: pfifo limit 9',
    ],
  },
};

/** Without what changes by itself. */
const identity = (item: unknown): string =>
  JSON.stringify(item, (key, value: unknown) => (['ages', 'probes', 'expires'].includes(key) ? 0 : value));

describe('what a list gives is accepted back', () => {
  before(function () {
    needs(this, 'ip', 'tc', 'bridge');
  });

  for (const [name, kind] of Object.entries(kinds)) {
    describe(name, () => {
      for (const command of kind.cases) {
        it(command, async () => {
          await using namespace = await NetworkNamespace.create();
          await sh(namespace, kind.setup);
          const own = new Set((await kind.list(namespace)).map(identity));
          const empty = await sh(namespace, kind.show);
          await sh(namespace, command);
          const made = await sh(namespace, kind.show);
          const items = await kind.list(namespace);
          const fresh = items.filter((item) => !own.has(identity(item)));
          const shown = JSON.stringify(fresh);
          for (const item of kind.replace ? fresh : []) await kind.replace?.(namespace, item as never);
          assert.equal(await sh(namespace, kind.show), made, `replaced: ${shown}`);
          for (const item of fresh.toReversed()) await kind.remove(namespace, item as never);
          assert.equal(await sh(namespace, kind.show), empty, `removed: ${shown}`);
          for (const item of fresh) await kind.add(namespace, item as never);
          assert.equal(await sh(namespace, kind.show), made, `added: ${shown}`);
        });
      }
    });
  }
});

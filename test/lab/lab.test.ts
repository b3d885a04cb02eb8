import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createLab, type Lab, type LabDescription } from 'tuntap-native/lab';
import { Link, NetworkNamespace } from 'tuntap-native/net';
import { sh } from '../net/oracle.ts';
import { fdsAtMost, ipLink, itAsRoot, needs, openFds, run } from '../support.ts';

/** Two hosts behind a router, the second one on a bridge, in both families. */
const ROUTED = {
  hosts: {
    alice: {
      routes: [
        { destination: 'default', via: '192.0.2.1' },
        { destination: 'default', via: '2001:db8:1::1' },
      ],
    },
    router: {
      forwarding: true,
      sysctls: { 'net.ipv4.conf.eth0.rp_filter': 2, 'net.ipv4.tcp_ecn': 1 },
      bridges: [{ name: 'br0', addresses: ['198.51.100.1/24', '2001:db8:2::1/64'], ageingTime: 60 }],
    },
    bob: {
      routes: [
        { destination: 'default', via: '198.51.100.1' },
        { destination: 'default', via: '2001:db8:2::1', metric: 50 },
      ],
    },
  },
  links: [
    [
      { host: 'alice', addresses: ['192.0.2.2/24', '2001:db8:1::2/64'], mtu: 1400 },
      {
        host: 'router',
        addresses: ['192.0.2.1/24', '2001:db8:1::1/64'],
        mtu: 1400,
        tbf: { rate: 10_000_000, burst: 20_000, latencyMs: 50 },
      },
    ],
    [
      { host: 'router', name: 'port1', master: 'br0' },
      { host: 'bob', name: 'up0', addresses: ['198.51.100.2/24', '2001:db8:2::2/64'] },
    ],
  ],
} as const satisfies LabDescription;

const MERMAID = `flowchart LR
  h0["alice<br/>default via 192.0.2.1<br/>default via 2001:db8:1::1"]
  subgraph h1s[" "]
    h1["router<br/>forwarding"]
    h1b0(["br0  198.51.100.1/24  2001:db8:2::1/64"])
  end
  h2["bob<br/>default via 198.51.100.1<br/>default via 2001:db8:2::1 metric 50"]
  h0 ---|"eth0  192.0.2.2/24  2001:db8:1::2/64  mtu 1400<br/>eth0  192.0.2.1/24  2001:db8:1::1/64  mtu 1400  10 Mbit/s"| h1
  h1b0 ---|"port1<br/>up0  198.51.100.2/24  2001:db8:2::2/64"| h2
`;

const any = (value: unknown): never => value as never;
const end = (host: string, more: object = {}) => ({ host, ...more });
const pair = (first: object, second: object = end('b')): LabDescription => ({
  hosts: { a: { bridges: [{ name: 'br0' }] }, b: {} },
  links: [[any(first), any(second)]],
});
const host = (setup: object): LabDescription => ({ hosts: { a: any(setup) } });
const MISUSE: readonly [string, LabDescription, string][] = [
  ['no description', any(undefined), 'ERR_INVALID_ARG_TYPE'],
  ['no hosts', any({}), 'ERR_INVALID_ARG_TYPE'],
  ['a host that is no object', any({ hosts: { a: 1 } }), 'ERR_INVALID_ARG_TYPE'],
  ['a host with a line break in its name', { hosts: { 'a\nb': {} } }, 'ERR_INVALID_ARG_VALUE'],
  ['links that are no array', any({ hosts: {}, links: {} }), 'ERR_INVALID_ARG_TYPE'],
  ['a link of one end', any({ hosts: { a: {} }, links: [[end('a')]] }), 'ERR_INVALID_ARG_TYPE'],
  ['an unknown host', pair(end('c')), 'ERR_INVALID_ARG_VALUE'],
  ['a name told twice', pair(end('b', { name: 'x' }), end('b', { name: 'x' })), 'ERR_INVALID_ARG_VALUE'],
  ['the name of a bridge', pair(end('a', { name: 'br0' })), 'ERR_INVALID_ARG_VALUE'],
  ['the name of the loopback device', pair(end('a', { name: 'lo' })), 'ERR_INVALID_ARG_VALUE'],
  ['a name of 16 bytes', pair(end('a', { name: 'a-name-of-16-byt' })), 'ERR_INVALID_ARG_VALUE'],
  ['an address that is none', pair(end('a', { addresses: ['192.0.2.300/24'] })), 'ERR_INVALID_ARG_VALUE'],
  ['a prefix too long', pair(end('a', { addresses: ['192.0.2.1/33'] })), 'ERR_INVALID_ARG_VALUE'],
  ['addresses that are no array', pair(end('a', { addresses: '192.0.2.1/24' })), 'ERR_INVALID_ARG_TYPE'],
  ['an MTU too small', pair(end('a', { mtu: 67 })), 'ERR_OUT_OF_RANGE'],
  ['a MAC that is none', pair(end('a', { mac: '02:zz' })), 'ERR_INVALID_ARG_VALUE'],
  ['a bridge of another host', pair(end('a'), end('b', { master: 'br0' })), 'ERR_INVALID_ARG_VALUE'],
  ['a rate of nothing', pair(end('a', { tbf: { rate: 0, burst: 1, limit: 1 } })), 'ERR_OUT_OF_RANGE'],
  ['two bridges of one name', host({ bridges: [{ name: 'x' }, { name: 'x' }] }), 'ERR_INVALID_ARG_VALUE'],
  ['a route to nowhere', host({ routes: [{ destination: 'x' }] }), 'ERR_INVALID_ARG_VALUE'],
  ['a setting outside net', host({ sysctls: { 'kernel.hostname': 'x' } }), 'ERR_INVALID_ARG_VALUE'],
  ['a setting without a value', host({ sysctls: { 'net.x': undefined } }), 'ERR_INVALID_ARG_TYPE'],
  ['forwarding that is no boolean', host({ forwarding: 1 }), 'ERR_INVALID_ARG_TYPE'],
  ['a namespace name that is none', host({ namespace: '' }), 'ERR_INVALID_ARG_TYPE'],
  ['a namespace twice', { hosts: { a: { namespace: 'x' }, b: { namespace: 'x' } } }, 'ERR_INVALID_ARG_VALUE'],
];

describe('createLab', () => {
  before(function () {
    needs(this, 'ip', 'ping', 'tc');
  });

  describe('two hosts behind a router with a bridge', () => {
    let lab: Lab<keyof typeof ROUTED.hosts>;
    before(async () => {
      lab = await createLab(ROUTED);
    });
    after(async () => {
      await lab?.close();
    });

    for (const target of ['198.51.100.2', '2001:db8:2::2']) {
      it(`the first packet to ${target} gets through as soon as the lab is there`, async () => {
        const { status, stdout } = await run(lab.hosts.alice, 'ping', '-n', '-c1', '-W2', target);
        assert.equal(status, 0, stdout);
        assert.match(stdout, /ttl=63/);
      });
    }

    it('ip shows what was described', async () => {
      const { alice, router, bob } = lab.hosts;
      const rows = async (namespace: NetworkNamespace, command: string) =>
        JSON.parse(await sh(namespace, command));
      assert.equal((await ipLink(alice, 'eth0'))?.mtu, 1400);
      assert.equal((await rows(router, 'ip -j link show port1'))[0].master, 'br0');
      assert.equal((await rows(router, 'ip -j -d link show br0'))[0].linkinfo.info_data.ageing_time, 6000);
      const [tbf] = await rows(router, 'tc -j qdisc show dev eth0 root');
      assert.deepEqual([tbf.kind, tbf.options.rate], ['tbf', 1_250_000]);
      assert.equal((await rows(alice, 'ip -j route show default'))[0].gateway, '192.0.2.1');
      assert.equal((await rows(bob, 'ip -6 -j route show default'))[0].metric, 50);
      assert.ok((await rows(bob, 'ip -j link show lo'))[0].flags.includes('UP'));
      for (const [setting, value] of [
        ['ipv4/ip_forward', 1],
        ['ipv6/conf/all/forwarding', 1],
        ['ipv4/conf/eth0/rp_filter', 2],
        ['ipv4/tcp_ecn', 1],
      ]) {
        assert.equal(Number(await sh(router, `cat /proc/sys/net/${setting}`)), value, String(setting));
      }
      for (const namespace of [alice, router, bob]) {
        for (const { operstate, ifname } of await rows(namespace, 'ip -j link')) {
          if (ifname !== 'lo') assert.equal(operstate, 'UP', ifname);
        }
      }
    });

    it('gives the ends of its cables, in the order told', () => {
      const ends = lab.links.map((cable) => cable.map(({ name, namespace }) => [name, namespace]));
      const { alice, router, bob } = lab.hosts;
      assert.deepEqual(ends, [
        [
          ['eth0', alice],
          ['eth0', router],
        ],
        [
          ['port1', router],
          ['up0', bob],
        ],
      ]);
    });

    it('draws itself for Mermaid', () => {
      assert.equal(lab.toMermaid(), MERMAID);
    });

    it('draws itself as SVG: well-formed, with each name and address, and a curve for each cable', function () {
      needs(this, 'python3');
      const program =
        'import sys, json, xml.etree.ElementTree as e; t = e.parse(sys.stdin).getroot()\n' +
        'print(json.dumps([t.tag.split("}")[1], [x.text for x in t.iter() if x.tag.endswith("}text")],' +
        ' sum(x.get("class") == "cable" for x in t.iter())]))';
      const { stdout, stderr } = spawnSync('python3', ['-c', program], {
        input: lab.toSvg(),
        encoding: 'utf8',
      });
      assert.equal(stderr, '');
      assert.deepEqual(JSON.parse(stdout), [
        'svg',
        [
          ...['alice', 'eth0  192.0.2.2/24  2001:db8:1::2/64  mtu 1400'],
          ...['default via 192.0.2.1', 'default via 2001:db8:1::1'],
          ...['router', 'eth0  192.0.2.1/24  2001:db8:1::1/64  mtu 1400  10 Mbit/s'],
          ...['br0  198.51.100.1/24  2001:db8:2::1/64', '  port1', 'forwarding'],
          ...['bob', 'up0  198.51.100.2/24  2001:db8:2::2/64'],
          ...['default via 198.51.100.1', 'default via 2001:db8:2::1 metric 50'],
        ],
        2,
      ]);
    });
  });

  it('escapes what a drawing could take for its own', async () => {
    await using lab = await createLab({ hosts: { '<a> & "b"': {} } });
    assert.match(lab.toSvg(), />&lt;a&gt; &amp; "b"<\/text>/);
    assert.match(lab.toMermaid(), /\["#60;a#62; #38; #34;b#34;"\]/);
  });

  it('names ends that have no name: the first ethN that is free on their host', async () => {
    await using lab = await createLab({
      hosts: { a: {}, b: {} },
      links: [
        [{ host: 'a' }, { host: 'b' }],
        [{ host: 'a', name: 'eth0' }, { host: 'a' }],
      ],
    });
    assert.deepEqual(
      lab.links.map((cable) => cable.map(({ name }) => name)),
      [
        ['eth1', 'eth0'],
        ['eth0', 'eth2'],
      ],
    );
  });

  itAsRoot('a host that is told a namespace is listed by ip netns until the lab is closed', async () => {
    const names = ['a', 'b'].map((name) => `lab-${process.pid}-${name}`);
    const lab = await createLab({ hosts: { a: { namespace: names[0] }, b: { namespace: names[1] } } });
    const listed = async () => (await NetworkNamespace.list()).filter((name) => names.includes(name)).sort();
    assert.deepEqual(await listed(), names);
    assert.equal(spawnSync('ip', ['-n', names[0], 'link', 'show', 'lo']).status, 0);
    spawnSync('ip', ['netns', 'delete', names[1]]);
    await lab.close();
    assert.deepEqual(await listed(), []);
    await lab.close();
  });

  it('names the links that stay down, and their host', async () => {
    const { set } = Link.prototype;
    // Somebody keeps one link down.
    Link.prototype.set = function (change) {
      return set.call(this, this.name === 'stuck' && change.up ? { ...change, up: false } : change);
    };
    const before = openFds();
    try {
      const description: LabDescription = {
        hosts: { b: { bridges: [{ name: 'br0' }] }, a: {} },
        links: [
          [
            { host: 'a', name: 'stuck' },
            { host: 'b', name: 'port', master: 'br0' },
          ],
        ],
      };
      await assert.rejects(createLab(description), {
        code: 'ERR_TUNTAP_LINK_DOWN',
        host: 'b',
        links: ['port', 'br0'],
        message: /^Links of the host 'b' are not up after 5 seconds: 'port' is [A-Z]*DOWN, 'br0' is DOWN\./,
      });
    } finally {
      Link.prototype.set = set;
    }
    await fdsAtMost(before);
  });

  itAsRoot('takes everything down again if a step fails', async () => {
    const name = `lab-${process.pid}`;
    const before = openFds();
    const failures: readonly [LabDescription, string][] = [
      [
        {
          ...ROUTED,
          hosts: { ...ROUTED.hosts, bob: { routes: [{ destination: 'default', via: '203.0.113.1' }] } },
        },
        'ENETUNREACH',
      ],
      [{ hosts: { a: { sysctls: { 'net.ipv4.no_such_setting': 1 } } } }, 'ENOENT'],
      [{ hosts: { a: {} }, links: [[{ host: 'a', mtu: 100_000 }, { host: 'a' }]] }, 'EINVAL'],
    ];
    for (const [description, code] of failures) {
      const hosts: LabDescription['hosts'] = { named: { namespace: name }, ...description.hosts };
      await assert.rejects(createLab({ ...description, hosts }), { code });
      assert.ok(!existsSync(`/run/netns/${name}`), code);
      await fdsAtMost(before);
    }
    await using taken = await createLab({ hosts: { a: { namespace: name } } });
    await assert.rejects(createLab({ hosts: { a: {}, b: { namespace: name }, c: {} } }), { code: 'EEXIST' });
    // What was there before stays.
    assert.ok(existsSync(`/run/netns/${name}`));
    await taken.close();
    await fdsAtMost(before);
  });

  for (const [what, description, code] of MISUSE) {
    it(`refuses ${what} before anything is made`, async () => {
      const { create } = NetworkNamespace;
      let made = 0;
      NetworkNamespace.create = (name) => {
        made++;
        return create.call(NetworkNamespace, name);
      };
      try {
        await assert.rejects(createLab(description), { code });
      } finally {
        NetworkNamespace.create = create;
      }
      assert.equal(made, 0);
    });
  }

  it('knows its hosts by type', () => {
    const wrong = (): Promise<unknown> =>
      createLab({
        hosts: { a: {} },
        // @ts-expect-error no such host
        links: [[{ host: 'a' }, { host: 'b' }]],
      });
    assert.equal(typeof wrong, 'function');
  });
});

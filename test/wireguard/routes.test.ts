import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTun, type TunDevice } from 'tuntap-native';
import type { NetworkNamespace } from 'tuntap-native/net';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { tunnelMtu } from '#dist/wireguard/mtu.js';
import { TunnelRoutes, type TunnelRoutesOptions } from '#dist/wireguard/routes.js';
import {
  planRoutes,
  type RouteNeeds,
  type RouteOperation,
  type RouteSurroundings,
} from '#dist/wireguard/routes-plan.js';
import { inNamespace, needs, run } from '../support.ts';
import { exists, freeName, SOCKETS, until, withFolder } from './oracle.ts';

const NEEDS: RouteNeeds = {
  device: 'wg0',
  option: 'auto',
  allowedIps: [],
  endpoints: [],
  isSocketElsewhere: false,
};
const RULES = ([4, 6] as const).flatMap((family) => [
  { family, priority: 0 },
  { family, priority: 32766 },
  ...(family === 4 ? [{ family, priority: 32767 }] : []),
]);
const AROUND: RouteSurroundings = { deviceRoutes: [], rules: RULES, table: 51820, mark: 51820 };

/** An operation in words. */
function words(operation: RouteOperation): string {
  if (operation.kind === 'sysctl') return `${operation.name}=${operation.value}`;
  if (operation.kind === 'route') {
    const { destination, device, table } = operation.route;
    return `route ${destination} dev ${device}${table ? ` table ${table}` : ''}`;
  }
  const { family, priority, not, fwmark, to, table, suppressPrefixLength } = operation.rule;
  return [
    `rule ${family} ${priority}:`,
    ...(not ? [`not fwmark ${fwmark}`] : []),
    ...(to ? [`to ${to}`] : []),
    `table ${table}`,
    ...(suppressPrefixLength === undefined ? [] : [`suppress ${suppressPrefixLength}`]),
  ].join(' ');
}

const plan = (needs_: Partial<RouteNeeds>, around: Partial<RouteSurroundings> = {}): string[] =>
  planRoutes({ ...NEEDS, ...needs_ }, { ...AROUND, ...around }).map(words);

describe('planRoutes', () => {
  const cases: [
    what: string,
    needs: Partial<RouteNeeds>,
    around: Partial<RouteSurroundings>,
    expected: string[],
  ][] = [
    ['nothing for nobody', {}, {}, []],
    ['nothing if off', { option: 'off', allowedIps: ['0.0.0.0/0'] }, {}, []],
    [
      'the longest prefix first, each once',
      { allowedIps: ['10.0.0.0/8', '10.1.0.0/16', 'fd00::/64', '10.1.2.3/16', '10.1.1.1/32'] },
      {},
      [
        'route fd00::/64 dev wg0',
        'route 10.1.1.1/32 dev wg0',
        'route 10.1.0.0/16 dev wg0',
        'route 10.0.0.0/8 dev wg0',
      ],
    ],
    [
      'none that a route of the link covers',
      { allowedIps: ['10.0.0.2/32', '10.0.0.0/24', '10.0.0.0/16', 'fd00::2/128'] },
      {
        deviceRoutes: [
          { family: 4, destination: '10.0.0.0/24' },
          { family: 6, destination: 'default' },
        ],
      },
      ['route 10.0.0.0/16 dev wg0'],
    ],
    [
      'a table of numbers, without rules',
      { option: 77, allowedIps: ['0.0.0.0/0', '10.0.0.0/8', '::/0'], endpoints: ['10.1.1.1'] },
      {},
      [
        'route 10.0.0.0/8 dev wg0 table 77',
        'route 0.0.0.0/0 dev wg0 table 77',
        'route ::/0 dev wg0 table 77',
      ],
    ],
    [
      'all IPv4',
      { allowedIps: ['0.0.0.0/0'] },
      {},
      [
        'net.ipv4.conf.all.src_valid_mark=1',
        'rule 4 32765: not fwmark 51820 table 51820',
        'rule 4 32764: table main suppress 0',
        'route 0.0.0.0/0 dev wg0 table 51820',
      ],
    ],
    [
      'all of both, before the rules that there are, with a table and a mark of their own',
      { allowedIps: ['::/0', '10.0.0.0/8', '0.0.0.0/0'] },
      { rules: [...RULES, { family: 4, priority: 100 }, { family: 6, priority: 7 }], table: 5, mark: 6 },
      [
        'route 10.0.0.0/8 dev wg0',
        'net.ipv4.conf.all.src_valid_mark=1',
        'rule 4 99: not fwmark 6 table 5',
        'rule 4 98: table main suppress 0',
        'route 0.0.0.0/0 dev wg0 table 5',
        'rule 6 6: not fwmark 6 table 5',
        'rule 6 5: table main suppress 0',
        'route ::/0 dev wg0 table 5',
      ],
    ],
    [
      'networks that hold an endpoint, with the longer prefixes of the main table first',
      {
        allowedIps: ['10.0.0.0/8', '10.1.0.0/16', '10.2.0.0/16', 'fd00::/8'],
        endpoints: ['10.1.1.1', '2001:db8::1'],
      },
      {},
      [
        'route 10.2.0.0/16 dev wg0',
        'route fd00::/8 dev wg0',
        'net.ipv4.conf.all.src_valid_mark=1',
        'rule 4 32765: not fwmark 51820 table 51820',
        'rule 4 32764: to 10.0.0.0/8 table main suppress 8',
        'rule 4 32763: to 10.1.0.0/16 table main suppress 16',
        'route 10.1.0.0/16 dev wg0 table 51820',
        'route 10.0.0.0/8 dev wg0 table 51820',
      ],
    ],
    [
      'an IPv6 network that holds an endpoint',
      { allowedIps: ['2001:db8::/32'], endpoints: ['2001:db8::1'] },
      {},
      [
        'rule 6 32765: not fwmark 51820 table 51820',
        'rule 6 32764: to 2001:db8::/32 table main suppress 32',
        'route 2001:db8::/32 dev wg0 table 51820',
      ],
    ],
    [
      'neither rules nor tables if the socket is elsewhere',
      { allowedIps: ['0.0.0.0/0', '10.0.0.0/8'], endpoints: ['10.1.1.1'], isSocketElsewhere: true },
      {},
      ['route 10.0.0.0/8 dev wg0', 'route 0.0.0.0/0 dev wg0'],
    ],
  ];
  for (const [what, each, around, expected] of cases) {
    it(what, () => assert.deepEqual(plan(each, around), expected));
  }
});

describe('tunnelMtu', () => {
  const links = [
    { index: 1, mtu: 65536 },
    { index: 2, mtu: 9000 },
    { index: 3, mtu: 1400 },
  ];
  const routes = [
    { family: 4 as const, destination: 'default', deviceIndex: 2 },
    { family: 4 as const, destination: '10.0.0.0/8', deviceIndex: 3 },
    { family: 4 as const, destination: '10.1.0.0/16', deviceIndex: 2, mtu: 1300 },
    { family: 4 as const, destination: '10.2.0.0/16', deviceIndex: 2, metric: 20 },
    { family: 4 as const, destination: '10.2.0.0/16', deviceIndex: 3, metric: 10 },
    { family: 4 as const, destination: '127.0.0.0/8', deviceIndex: 1 },
    { family: 6 as const, destination: '2001:db8::/32', deviceIndex: 3 },
    {
      family: 6 as const,
      destination: 'fd00::/16',
      nexthops: [
        { deviceIndex: 2, device: 'b', weight: 1, flags: [] },
        { deviceIndex: 3, device: 'c', weight: 1, flags: [] },
      ],
    },
  ];
  const cases: [endpoints: string[], expected: number][] = [
    [[], 8920],
    [['192.0.2.1'], 8920],
    [['10.9.9.9'], 1320],
    [['10.1.0.1'], 1220],
    [['10.2.0.1'], 1320],
    [['192.0.2.1', '10.9.9.9', '10.1.0.1'], 1220],
    [['2001:db8::1'], 1320],
    [['fd00::1'], 1320],
    [['2001:db9::1'], 8920],
    [['127.0.0.1'], 65456],
  ];
  for (const [endpoints, expected] of cases) {
    it(`${expected} for ${endpoints.join(', ') || 'nobody'}`, () =>
      assert.equal(tunnelMtu(endpoints, routes, links), expected));
  }
  it('1420 without any route', () => assert.equal(tunnelMtu(['192.0.2.1'], [], links), 1420));
});

/** What ip shows, without what differs by nature. */
async function shown(namespace: NetworkNamespace, device: string): Promise<Record<string, string[]>> {
  const lists: Record<string, string[]> = {};
  for (const family of ['-4', '-6']) {
    for (const list of [
      ['route', 'show', 'table', 'all'],
      ['rule', 'show'],
    ]) {
      const { stdout, status, stderr } = await run(namespace, 'ip', family, ...list);
      assert.equal(status, 0, stderr);
      lists[`${family} ${list[0]}`] = stdout
        .split('\n')
        .map((line) => line.trim().replaceAll(device, 'TUNNEL'))
        // A random link-local address of the link.
        .filter((line) => line !== '' && !/fe80|ff00/.test(line))
        .sort();
    }
  }
  return lists;
}

/** A namespace with one link, which has a default route and a network. */
async function withSurroundings(body: (namespace: NetworkNamespace) => Promise<void>): Promise<void> {
  await inNamespace(async (namespace) => {
    await namespace.addLink({ kind: 'veth', name: 'eth0', peer: { name: 'eth1' } });
    await (await namespace.link('eth1')).set({ up: true });
    const link = await namespace.link('eth0');
    await (await namespace.link('lo')).set({ up: true });
    await link.set({ up: true });
    await link.addAddress('192.168.1.2/24');
    await link.addAddress('2001:db8:1::2/64', { noDad: true });
    await namespace.addRoute({ destination: 'default', via: '192.168.1.1' });
    await namespace.addRoute({ destination: 'default', family: 6, via: '2001:db8:1::1' });
    await body(namespace);
  });
}

/** A tunnel's link and its routes, in place of a whole tunnel. */
async function withRoutes(
  namespace: NetworkNamespace,
  options: Partial<TunnelRoutesOptions> & { addresses?: string[]; mark?: number },
  body: (routes: TunnelRoutes, mark: () => number, tun: TunDevice) => Promise<void>,
): Promise<void> {
  let { mark = 0 } = options;
  const device = options.device ?? 'wg0';
  const tun = openTun(device, { namespace, addresses: options.addresses ?? [], up: true });
  const routes = new TunnelRoutes({
    namespace,
    device,
    routes: 'auto',
    isSocketElsewhere: false,
    getMark: () => mark,
    setMark: (value) => {
      mark = value;
    },
    ...options,
  });
  try {
    await body(routes, () => mark, tun);
  } finally {
    await routes.close();
    await tun.close();
  }
}

describe('TunnelRoutes', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ip');
  });

  it('close() leaves nothing, though the link stays', () =>
    withSurroundings(async (namespace) => {
      const tun = openTun('wg0', { namespace, addresses: ['10.9.0.1/24'], up: true });
      const before = await shown(namespace, 'wg0');
      const options = {
        namespace,
        device: 'wg0',
        isSocketElsewhere: false,
        getMark: () => 0,
        setMark: () => {},
      };
      for (const option of ['auto', 'off', 1000] as const) {
        const routes = new TunnelRoutes({ ...options, routes: option });
        await routes.update(
          ['0.0.0.0/0', '::/0', '10.0.0.0/8', '10.9.0.7/32', '172.16.0.0/12'],
          ['10.1.1.1', '172.16.1.1'],
        );
        if (option !== 'off') assert.notDeepEqual(await shown(namespace, 'wg0'), before);
        await routes.close();
        await routes.close();
        assert.deepEqual(await shown(namespace, 'wg0'), before);
      }
      await tun.close();
    }));

  it('close() leaves no rule when the link has gone first', () =>
    withSurroundings(async (namespace) => {
      const before = await shown(namespace, 'wg0');
      await withRoutes(namespace, {}, async (routes, _mark, tun) => {
        await routes.update(['0.0.0.0/0', '::/0'], []);
        await tun.close();
        await routes.close();
        assert.deepEqual(await shown(namespace, 'wg0'), before);
      });
    }));

  it('close() removes its own rules only', () =>
    withSurroundings(async (namespace) => {
      for (const family of [4, 6] as const)
        await namespace.addRule({ family, table: 'main', suppressPrefixLength: 0 });
      const before = await shown(namespace, 'wg0');
      await withRoutes(namespace, {}, (routes) => routes.update(['0.0.0.0/0', '::/0'], []));
      assert.deepEqual(await shown(namespace, 'wg0'), before);
      await namespace.addRule({ table: 'main', suppressPrefixLength: 0 });
      await withRoutes(namespace, {}, async (routes) => {
        await routes.update(['0.0.0.0/0', '::/0'], []);
        // As wg-quick does when it takes another tunnel down.
        while (
          (await run(namespace, 'ip', 'rule', 'delete', 'table', 'main', 'suppress_prefixlength', '0'))
            .status === 0
        );
      });
      assert.deepEqual(
        (await namespace.rules()).map(({ table }) => table),
        ['local', 'main', 'default'],
      );
    }));

  it('a route that another link has makes update() fail, and all is as before', () =>
    withSurroundings(async (namespace) => {
      await namespace.addRoute({ destination: '10.5.0.0/16', device: 'eth0' });
      await withRoutes(namespace, {}, async (routes, mark) => {
        await routes.update(['10.6.0.0/16'], []);
        const before = await shown(namespace, 'wg0');
        await assert.rejects(routes.update(['10.7.0.0/16', '10.5.0.0/16', '0.0.0.0/0', '10.8.0.1/32'], []), {
          code: 'EEXIST',
        });
        assert.deepEqual(await shown(namespace, 'wg0'), before);
        assert.equal(mark(), 0);
      });
    }));

  it('update() changes only what has changed', () =>
    withSurroundings(async (namespace) => {
      await withRoutes(namespace, {}, async (routes, mark) => {
        await routes.update(['10.6.0.0/16', '10.7.0.0/16'], []);
        assert.equal(mark(), 0);
        const monitor = namespace.monitor({ types: ['route'] });
        const events: string[] = [];
        const watching = (async () => {
          for await (const event of monitor)
            if (event.type === 'route') events.push(`${event.change} ${event.route.destination}`);
        })();
        await routes.update(['10.7.0.0/16', '10.8.0.0/16'], []);
        await until(() => events.length >= 2, 'two events');
        await monitor.close();
        await watching;
        assert.deepEqual(events, ['new 10.8.0.0/16', 'deleted 10.6.0.0/16']);
        await routes.update(['0.0.0.0/0', '10.8.0.0/16'], ['10.8.1.1']);
        assert.equal(mark(), 51820);
        assert.deepEqual(
          (await namespace.rules()).map(({ priority, table, to }) => `${priority} ${table} ${to}`),
          [
            '0 local all',
            '32763 main 10.8.0.0/16',
            '32764 main all',
            '32765 51820 all',
            '32766 main all',
            '32767 default all',
          ],
        );
        await routes.update([], []);
        assert.equal((await namespace.rules()).length, 3);
        assert.deepEqual(await namespace.routes({ device: 'wg0', table: 'all' }), []);
      });
    }));

  it('two tunnels at once choose two tables; a table that only a rule uses is not free', () =>
    withSurroundings(async (namespace) => {
      await namespace.addRule({ table: 51821, fwmark: 1 });
      await withRoutes(namespace, { device: 'wg1' }, (first, firstMark) =>
        withRoutes(namespace, { device: 'wg2' }, async (second, secondMark) => {
          await Promise.all([first.update(['0.0.0.0/0'], []), second.update(['::/0', '0.0.0.0/0'], [])]);
          assert.deepEqual([firstMark(), secondMark()], [51820, 51822]);
        }),
      );
    }));

  it('sets src_valid_mark for IPv4 only', () =>
    withSurroundings(async (namespace) => {
      const read = () => namespace.sysctl('net.ipv4.conf.all.src_valid_mark');
      await withRoutes(namespace, {}, (routes) => routes.update(['::/0', '10.0.0.0/8'], []));
      assert.equal(await read(), '0');
      await withRoutes(namespace, {}, (routes) => routes.update(['0.0.0.0/0'], []));
      assert.equal(await read(), '1');
    }));

  /** By which link a packet leaves, with a mark or without. */
  async function wayTo(
    namespace: NetworkNamespace,
    address: string,
    mark?: number,
  ): Promise<string | undefined> {
    const args = ['-j', 'route', 'get', address, ...(mark ? ['mark', String(mark)] : [])];
    const { stdout } = await run(namespace, 'ip', ...args);
    return JSON.parse(stdout || '[{}]')[0].dev;
  }

  it('everything but marked packets and networks nearby enters the tunnel', () =>
    withSurroundings((namespace) =>
      withRoutes(namespace, { addresses: ['10.9.0.1/24', 'fd00::1/64'] }, async (routes, mark) => {
        await routes.update(['0.0.0.0/0', '::/0'], ['203.0.113.1']);
        for (const [address, unmarked] of [
          ['203.0.113.1', 'wg0'],
          ['192.168.1.9', 'eth0'],
          ['2001:db8:2::1', 'wg0'],
          ['2001:db8:1::9', 'eth0'],
        ]) {
          assert.equal(await wayTo(namespace, address), unmarked, address);
          assert.equal(await wayTo(namespace, address, mark()), 'eth0', address);
        }
      }),
    ));

  it('packets to an endpoint inside an allowed network leave outside of the tunnel, its neighbours enter it', () =>
    withSurroundings(async (namespace) => {
      await namespace.addRoute({ destination: '10.1.2.0/24', via: '192.168.1.7' });
      await namespace.addRoute({ destination: '10.0.0.0/7', via: '192.168.1.8' });
      await withRoutes(namespace, {}, async (routes, mark) => {
        await routes.update(['10.1.0.0/16', '10.2.0.0/16'], ['10.1.1.1']);
        assert.equal(await wayTo(namespace, '10.1.1.1', mark()), 'eth0');
        assert.equal(await wayTo(namespace, '10.1.1.2'), 'wg0');
        assert.equal(await wayTo(namespace, '10.1.1.1'), 'wg0');
        assert.equal(await wayTo(namespace, '10.1.2.1'), 'eth0'); // a longer prefix nearby
        assert.equal(await wayTo(namespace, '10.2.0.1'), 'wg0');
        assert.equal(await wayTo(namespace, '10.3.0.1'), 'eth0');
        assert.equal(await wayTo(namespace, '8.8.8.8'), 'eth0');
      });
    }));

  it('a mark that is given is used, and is the table too', () =>
    withSurroundings((namespace) =>
      withRoutes(namespace, { mark: 0x1234 }, async (routes, mark) => {
        await routes.update(['0.0.0.0/0'], []);
        assert.equal(mark(), 0x1234);
        assert.equal((await namespace.routes({ table: 0x1234 })).length, 1);
      }),
    ));

  describe('makes what wg-quick makes', () => {
    before(function () {
      needs(this, 'wg-quick', 'wg', 'wireguard-go', 'nft', 'bash');
    });

    const configurations: [what: string, lines: string, peers: string[], options: object][] = [
      ['networks', '', ['10.1.0.0/16,10.1.2.0/24', '10.0.0.0/8,fd01::/16'], {}],
      ['networks that the address covers', '', ['10.9.0.2/32,10.9.0.0/16,fd00::2/128'], {}],
      ['all IPv4', '', ['0.0.0.0/0,10.2.0.0/16'], {}],
      ['all IPv6', '', ['::/0'], {}],
      ['everything', '', ['0.0.0.0/0,::/0', '10.3.0.0/16'], {}],
      ['everything, with a mark', 'FwMark = 0x77', ['0.0.0.0/0,::/0'], { mark: 0x77 }],
      ['a table', 'Table = 4321', ['0.0.0.0/0,::/0,10.0.0.0/8'], { routes: 4321 }],
      ['no routes', 'Table = off', ['0.0.0.0/0,::/0,10.0.0.0/8'], { routes: 'off' }],
    ];
    for (const [what, lines, peers, options] of configurations) {
      it(what, () =>
        withFolder(async (folder) => {
          const device = freeName();
          const addresses = ['10.9.0.1/24', 'fd00::1/64'];
          const file = join(folder, `${device}.conf`);
          const sections = peers.map(
            (ips) => `[Peer]\nPublicKey = ${publicKey(generatePrivateKey())}\nAllowedIPs = ${ips}\n`,
          );
          const head = `[Interface]\nPrivateKey = ${generatePrivateKey()}\nAddress = ${addresses.join(',')}\nMTU = 1420\n${lines}\n`;
          writeFileSync(file, head + sections.join(''), { mode: 0o600 });
          let expected: object = {};
          await withSurroundings(async (namespace) => {
            const up = await run(namespace, 'wg-quick', 'up', file);
            assert.equal(up.status, 0, up.stderr);
            expected = await shown(namespace, device);
            // Its daemon ends when the link goes.
            const down = await run(namespace, 'wg-quick', 'down', file);
            assert.equal(down.status, 0, down.stderr);
            await until(() => !exists(`${SOCKETS}/${device}.sock`), 'the end of wireguard-go');
          });
          await withSurroundings((namespace) =>
            withRoutes(namespace, { device, addresses, ...options }, async (routes) => {
              await routes.update(
                peers.flatMap((ips) => ips.split(',')),
                [],
              );
              assert.deepEqual(await shown(namespace, device), expected);
            }),
          );
        }),
      );
    }
  });
});

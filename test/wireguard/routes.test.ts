import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTun, type TunDevice } from 'tuntap-native';
import type { NetworkNamespace } from 'tuntap-native/net';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { TunnelRoutes, type TunnelRoutesOptions } from '#dist/wireguard/routes.js';
import { inNamespace, needs, run } from '../support.ts';
import { exists, freeName, SOCKETS, until, withFolder } from './oracle.ts';

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
            if (event.type === 'route' && event.route.family === 4)
              events.push(`${event.change} ${event.route.destination}`);
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

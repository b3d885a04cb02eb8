import assert from 'node:assert/strict';
import { createBridge, type Link, NetworkNamespace } from 'tuntap-native/net';
import { needs } from '../support.ts';
import { sh } from './oracle.ts';

const LONG = `alternative-${'x'.repeat(115)}`; // 127 bytes
const NAMES = ['alt1', 'enp0s31f6-with-more', 'pci-0000:00:1f.6', 'für-mich-%d', LONG];

describe('names of links', () => {
  let namespace: NetworkNamespace;
  let v1: Link;
  before(async function () {
    needs(this, 'ip', 'tc', 'bridge');
    namespace = await NetworkNamespace.create();
    const altnames = NAMES.map((name) => `ip link property add dev v1 altname '${name}'`);
    await sh(
      namespace,
      ['ip link add v1 type veth peer name v2', 'ip link set v1 up', 'ip link set v2 up', ...altnames].join(
        ';',
      ),
    );
    v1 = await namespace.link('v1');
    await v1.addAddress('192.0.2.1/24');
    await v1.addAddress('2001:db8::1/64', { noDad: true });
    await (await namespace.link('v2')).addAddress('198.51.100.1/24');
    await namespace.addRoute({
      destination: '203.0.113.0/24',
      nexthops: [{ device: 'v1' }, { device: 'v2' }],
    });
    await namespace.addNeighbor({ device: 'v1', address: '192.0.2.9', mac: '02:00:00:00:00:09' });
    await namespace.addNeighbor({ device: 'v1', address: '192.0.2.8', proxy: true });
    await namespace.addNeighbor({ device: 'v2', address: '198.51.100.9', mac: '02:00:00:00:00:09' });
    await namespace.addQdisc({ device: 'v1', kind: 'tbf', rate: 1e6, burst: 1e4, limit: 1e4 });
  });
  after(async () => {
    await namespace?.close();
  });

  it('of 127 bytes are listed', async () => {
    assert.equal(Buffer.byteLength(LONG), 127);
    assert.deepEqual((await v1.get()).alternativeNames, NAMES);
  });

  for (const name of NAMES) {
    it(`an alternative one finds the link and all that is on it: ${name}`, async () => {
      const { index } = v1;
      const link = await namespace.link(name);
      assert.deepEqual([link.index, link.name], [index, 'v1']);
      for (const device of [name, index, link]) {
        const of = (family: 4 | 6) => namespace.routes({ device, family, table: 'all' });
        assert.deepEqual(
          (await namespace.addresses({ device, scope: 'global' })).map(({ address, device: shown }) => [
            address,
            shown,
          ]),
          [
            ['192.0.2.1', 'v1'],
            ['2001:db8::1', 'v1'],
          ],
        );
        assert.deepEqual(
          (await namespace.routes({ device })).map(({ destination }) => destination),
          ['192.0.2.0/24', '203.0.113.0/24'],
        );
        const all = [...(await of(4)), ...(await of(6))];
        assert.ok(
          all.every((route) => [route, ...(route.nexthops ?? [])].some((hop) => hop.device === 'v1')),
        );
        assert.ok(all.some(({ family, table }) => family === 6 && table === 'local'));
        assert.deepEqual(
          (await namespace.neighbors({ device })).map(({ address }) => address),
          ['192.0.2.9'],
        );
        assert.deepEqual(
          (await namespace.neighbors({ device, proxy: true })).map(({ address }) => address),
          ['192.0.2.8'],
        );
        assert.deepEqual(
          (await namespace.qdiscs({ device })).map(({ kind }) => kind),
          ['tbf'],
        );
      }
    });

    it(`an alternative one can be given wherever a link is meant: ${name}`, async () => {
      const route = { destination: '203.0.113.128/25', device: name };
      await namespace.addRoute(route);
      await namespace.replaceRoute({ ...route, mtu: 1300 });
      await namespace.deleteRoute(route);
      const neighbor = { device: name, address: '192.0.2.77', mac: '02:00:00:00:00:77' };
      await namespace.addNeighbor(neighbor);
      await namespace.deleteNeighbor(neighbor);
      await namespace.replaceQdisc({ device: name, kind: 'tbf', rate: 2e6, burst: 1e4, limit: 1e4 });
      const macvlan = await namespace.addLink({ kind: 'macvlan', name: 'm1', link: name });
      assert.equal((await macvlan.get()).link, 'v1');
      await macvlan.delete();
      const bridge = await createBridge({ name: 'br0', namespace, ports: [name] });
      assert.deepEqual(
        (await namespace.links({ master: 'br0' })).map((port) => port.name),
        ['v1'],
      );
      await bridge.addFdbEntry({ mac: '02:00:00:00:00:55', device: name });
      assert.equal((await bridge.fdb()).find(({ mac }) => mac.endsWith(':55'))?.device, 'v1');
      await sh(namespace, "ip link property add dev br0 altname 'a-long-name-of-the-bridge'");
      assert.equal((await namespace.links({ master: 'a-long-name-of-the-bridge' })).length, 1);
      await v1.set({ master: null });
      await v1.set({ master: 'a-long-name-of-the-bridge' });
      await bridge.delete();
    });
  }

  const any = (value: unknown): never => value as never;
  const unknown: readonly (string | number)[] = [
    'nope',
    'a-name-that-is-longer-than-15',
    'x'.repeat(127),
    999_999,
  ];
  for (const device of unknown) {
    it(`one that does not exist is ENODEV in every filter and call: ${device}`, async () => {
      const calls: readonly ((which: string | number) => Promise<unknown>)[] = [
        (which) => namespace.link(which),
        (which) => namespace.links({ master: which }),
        (which) => namespace.addresses({ device: which }),
        (which) => namespace.addresses({ device: which, family: 6 }),
        (which) => namespace.routes({ device: which }),
        (which) => namespace.routes({ device: which, family: 'all', table: 'all' }),
        (which) => namespace.neighbors({ device: which }),
        (which) => namespace.neighbors({ device: which, proxy: true }),
        (which) => namespace.qdiscs({ device: which }),
        (which) => namespace.deleteQdisc(which),
        (which) => namespace.addRoute({ destination: '203.0.113.0/24', device: which }),
        (which) => namespace.addNeighbor({ device: which, address: '192.0.2.9', mac: '02:00:00:00:00:09' }),
        (which) => namespace.addLink({ kind: 'macvlan', name: 'm1', link: which }),
        (which) => createBridge({ name: 'br9', namespace, ports: [which] }),
        (which) => v1.set({ master: which }),
        (which) => v1.addFdbEntry({ mac: '02:00:00:00:00:09', device: which }),
      ];
      for (const call of calls) await assert.rejects(call(device), { code: 'ENODEV' }, String(call));
      assert.equal((await namespace.links()).length, 3);
    });
  }

  for (const [name, code] of [
    ['', 'ERR_INVALID_ARG_VALUE'],
    ['x'.repeat(128), 'ERR_INVALID_ARG_VALUE'],
    ['a\0b', 'ERR_INVALID_ARG_VALUE'],
    [0, 'ERR_OUT_OF_RANGE'],
    [1.5, 'ERR_OUT_OF_RANGE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
    [{}, 'ERR_INVALID_ARG_TYPE'],
  ] as const) {
    it(`one that no link can have is refused: ${JSON.stringify(name)}`, async () => {
      for (const call of [
        () => namespace.link(any(name)),
        () => namespace.links({ master: any(name) }),
        () => namespace.addresses({ device: any(name) }),
        () => namespace.routes({ device: any(name) }),
        () => namespace.neighbors({ device: any(name) }),
        () => namespace.qdiscs({ device: any(name) }),
      ]) {
        await assert.rejects(call(), { code });
      }
    });
  }

  it('a link of another namespace is refused in filters', async () => {
    await using other = await NetworkNamespace.create();
    const foreign = await other.link('lo');
    await assert.rejects(namespace.addresses({ device: foreign }), { code: 'ERR_INVALID_ARG_VALUE' });
    await assert.rejects(namespace.routes({ device: foreign }), { code: 'ERR_INVALID_ARG_VALUE' });
  });

  it('a filter by kind, protocol, family or table lists what ip lists', async () => {
    const names = async (command: string, key: string) =>
      (JSON.parse(await sh(namespace, command)) as Record<string, string>[]).map((row) => row[key]);
    const { links, routes } = {
      links: async (kind: string) => (await namespace.links({ kind })).map(({ name }) => name),
      routes: async (...filter: Parameters<NetworkNamespace['routes']>) =>
        (await namespace.routes(...filter)).map(({ destination }) => destination.replace(/\/32$/, '')),
    };
    assert.deepEqual(await links('veth'), await names('ip -j link show type veth', 'ifname'));
    assert.deepEqual(await links('no-such-kind'), []);
    assert.deepEqual(
      await routes({ protocol: 'kernel' }),
      await names('ip -j route show proto kernel', 'dst'),
    );
    assert.deepEqual(await routes({ table: 'local' }), await names('ip -j route show table local', 'dst'));
    assert.deepEqual(await routes({ table: 7777 }), []);
    await sh(namespace, 'ip nexthop add id 9 via 192.0.2.9 dev v1; ip route add 203.0.113.7 nhid 9');
    await namespace.setSysctl('net.ipv4.nexthop_compat_mode', 0);
    assert.ok((await routes({ device: 'v1' })).includes('203.0.113.7'));
    assert.ok(!(await routes({ device: 'v2' })).includes('203.0.113.7'));
    await namespace.setSysctl('net.ipv4.nexthop_compat_mode', 1);
    const dev = await names('ip -4 -j route show table all dev v2', 'dst');
    assert.deepEqual(
      (await routes({ table: 'all', device: 'v2' })).filter((each) => !each.startsWith('203')),
      dev,
    );
  });
});

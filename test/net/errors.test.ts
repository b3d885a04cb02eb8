import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { type NetlinkError, NetworkNamespace } from 'tuntap-native/net';
import { itAsRoot, moduleArguments, needs } from '../support.ts';

describe('errors of network configuration', () => {
  before(function () {
    needs(this, 'ip');
  });

  let namespace: NetworkNamespace;
  beforeEach(async () => {
    namespace = await NetworkNamespace.create();
  });
  afterEach(async () => {
    await namespace.close();
  });

  const any = (value: unknown): never => value as never;
  const misuse: readonly [string, (ns: NetworkNamespace) => Promise<unknown>, string][] = [
    [
      'a name of 16 bytes',
      (ns) => ns.addLink({ kind: 'bridge', name: 'a-name-of-16-byt' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['a name with a slash', (ns) => ns.addLink({ kind: 'bridge', name: 'a/b' }), 'ERR_INVALID_ARG_VALUE'],
    [
      'a name that is no string',
      (ns) => ns.addLink({ kind: 'bridge', name: any(7) }),
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'a kind that there is not',
      (ns) => ns.addLink({ kind: any('toString'), name: 'x' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['a tun device', (ns) => ns.addLink({ kind: any('tun'), name: 'x' }), 'ERR_INVALID_ARG_VALUE'],
    ['an MTU too small', (ns) => ns.addLink({ kind: 'bridge', name: 'x', mtu: 67 }), 'ERR_OUT_OF_RANGE'],
    [
      'an MTU that is no number',
      (ns) => ns.addLink({ kind: 'bridge', name: 'x', mtu: any('1500') }),
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'a MAC that is none',
      (ns) => ns.addLink({ kind: 'bridge', name: 'x', mac: '02:zz' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a vxlan id too large',
      (ns) => ns.addLink({ kind: 'vxlan', name: 'x', id: 1 << 24 }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'a vlan id too large',
      (ns) => ns.addLink({ kind: 'vlan', name: 'x', link: 'lo', id: 4095 }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'a veth without a peer',
      (ns) => ns.addLink({ kind: 'veth', name: 'x', peer: any(undefined) }),
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'a macvlan without a link',
      (ns) => ns.addLink({ kind: 'macvlan', name: 'x', link: any(undefined) }),
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'a priority of a bridge too large',
      (ns) => ns.addLink({ kind: 'bridge', name: 'x', priority: 65536 }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'stp that is no boolean',
      (ns) => ns.addLink({ kind: 'bridge', name: 'x', stp: any(1) }),
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'a time below zero',
      (ns) => ns.addLink({ kind: 'bridge', name: 'x', ageingTime: -1 }),
      'ERR_OUT_OF_RANGE',
    ],
    ['nothing to change', async (ns) => (await ns.link('lo')).set({}), 'ERR_INVALID_ARG_TYPE'],
    ['a group below zero', async (ns) => (await ns.link('lo')).set({ group: -1 }), 'ERR_OUT_OF_RANGE'],
    [
      'up that is no boolean',
      async (ns) => (await ns.link('lo')).set({ up: any('yes') }),
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'an alias with a NUL',
      async (ns) => (await ns.link('lo')).set({ alias: 'a\0b' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['an index of 0', (ns) => ns.link(0), 'ERR_OUT_OF_RANGE'],
    [
      'an address that is none',
      async (ns) => (await ns.link('lo')).addAddress('300.0.0.1/8'),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a prefix too long',
      async (ns) => (await ns.link('lo')).addAddress('10.0.0.1/33'),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a peer of the other family',
      async (ns) => (await ns.link('lo')).addAddress('10.0.0.1/24', { peer: '2001:db8::1/64' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a scope that there is not',
      async (ns) => (await ns.link('lo')).addAddress('10.0.0.1/24', { scope: any('moon') }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a lifetime of 0',
      async (ns) => (await ns.link('lo')).addAddress('10.0.0.1/24', { validLifetime: 0 }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'a preferred lifetime above the valid one',
      async (ns) =>
        (await ns.link('lo')).addAddress('10.0.0.1/24', { validLifetime: 5, preferredLifetime: 6 }),
      'ERR_OUT_OF_RANGE',
    ],
    ['a destination that is none', (ns) => ns.addRoute({ destination: 'nowhere' }), 'ERR_INVALID_ARG_VALUE'],
    [
      'a gateway that is none',
      (ns) => ns.addRoute({ destination: 'default', via: '10.0.0' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a route type that there is not',
      (ns) => ns.addRoute({ destination: 'default', type: any('hole') }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a table below zero',
      (ns) => ns.addRoute({ destination: 'default', device: 'lo', table: -1 }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'next hops beside a gateway',
      (ns) => ns.addRoute({ destination: 'default', via: '10.0.0.1', nexthops: [{ device: 'lo' }] }),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['no next hops', (ns) => ns.addRoute({ destination: 'default', nexthops: [] }), 'ERR_INVALID_ARG_TYPE'],
    [
      'a weight of 0',
      (ns) => ns.addRoute({ destination: 'default', nexthops: [{ device: 'lo', weight: 0 }] }),
      'ERR_OUT_OF_RANGE',
    ],
    [
      'a rule of two families',
      (ns) => ns.addRule({ from: '10.0.0.0/8', to: '2001:db8::/32' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['a rule to delete that may be any', (ns) => ns.deleteRule({}), 'ERR_INVALID_ARG_TYPE'],
    [
      'a rule to delete of which only the family is told',
      (ns) => ns.deleteRule({ family: 4, fwmark: undefined }),
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'a neighbour without a MAC',
      (ns) => ns.addNeighbor({ device: 'lo', address: '10.0.0.1' }),
      'ERR_INVALID_ARG_VALUE',
    ],
    [
      'a token bucket without a limit',
      (ns) => ns.addQdisc({ device: 'lo', kind: 'tbf', rate: 1e6, burst: 1e4 }),
      'ERR_INVALID_ARG_TYPE',
    ],
    [
      'another discipline',
      (ns) => ns.addQdisc(any({ device: 'lo', kind: 'netem' })),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['a VLAN of 4095', async (ns) => (await ns.link('lo')).addVlan({ vlan: 4095 }), 'ERR_OUT_OF_RANGE'],
    [
      'a type of event that there is not',
      async (ns) => ns.monitor({ types: [any('moon')] }),
      'ERR_INVALID_ARG_VALUE',
    ],
    ['a filter that is none', (ns) => ns.links(any(null)), 'ERR_INVALID_ARG_TYPE'],
    ['a family of 5', (ns) => ns.routes({ family: any(5) }), 'ERR_INVALID_ARG_VALUE'],
  ];
  for (const [name, action, code] of misuse) {
    it(`refuses ${name} before anything is sent`, async () => {
      await assert.rejects(action(namespace), { code });
      assert.deepEqual((await namespace.links()).length, 1);
    });
  }

  const refusals: readonly [string, (ns: NetworkNamespace) => Promise<unknown>, Partial<NetlinkError>][] = [
    [
      'a name that is taken',
      (ns) => ns.addLink({ kind: 'bridge', name: 'lo' }),
      { code: 'EEXIST', errno: -17, syscall: 'rtnetlink', operation: 'add link', device: 'lo' },
    ],
    ['a link that there is not', (ns) => ns.link('nope'), { code: 'ENODEV', operation: 'get link' }],
    [
      'an MTU that the link does not take',
      async (ns) => (await ns.addLink({ kind: 'bridge', name: 'br0' })).set({ mtu: 100_000 }),
      { code: 'EINVAL', extendedAck: 'mtu greater than device maximum' },
    ],
    [
      'a source port range, with the nested attribute by name',
      (ns) => ns.addLink({ kind: 'vxlan', name: 'vx', id: 1, portRange: [9, 1] }),
      { code: 'EINVAL', attribute: 'IFLA_VXLAN_PORT_RANGE' },
    ],
    [
      'a multicast MAC, with the attribute by name',
      (ns) => ns.addLink({ kind: 'vxlan', name: 'vx', id: 1, mac: '01:00:00:00:00:01' }),
      { code: 'EADDRNOTAVAIL', attribute: 'IFLA_ADDRESS' },
    ],
    [
      'a route to nowhere',
      (ns) => ns.addRoute({ destination: 'default', via: '192.0.2.1' }),
      { code: 'ENETUNREACH', operation: 'add route', extendedAck: 'Nexthop has invalid gateway' },
    ],
    [
      'a route that there is not',
      (ns) => ns.deleteRoute({ destination: '192.0.2.0/24' }),
      { code: 'ESRCH', operation: 'delete route' },
    ],
    [
      'an address that there is not',
      async (ns) => (await ns.link('lo')).deleteAddress('192.0.2.1/24'),
      { code: 'EADDRNOTAVAIL', operation: 'delete address' },
    ],
  ];
  for (const [name, action, expected] of refusals) {
    it(`tells of ${name}`, async () => {
      await assert.rejects(action(namespace), (error: NetlinkError) => {
        const shown = Object.fromEntries(
          Object.keys(expected).map((key) => [key, error[key as keyof NetlinkError]]),
        );
        assert.deepEqual(shown, expected, error.message);
        return true;
      });
    });
  }

  itAsRoot('names the capability that is missing', function () {
    needs(this, 'setpriv');
    const program = `
      const { NetworkNamespace } = await import('tuntap-native/net');
      const here = await NetworkNamespace.current();
      await here.addLink({ kind: 'bridge', name: 'br0' }).catch((error) => console.log(error.code, error.message));
      await NetworkNamespace.create(undefined, { user: false }).catch((error) => console.log(error.code, error.message));`;
    const { stdout, stderr } = spawnSync(
      'setpriv',
      [
        '--inh-caps=-all',
        '--bounding-set=-all',
        '--reuid=65534',
        '--clear-groups',
        process.execPath,
        ...moduleArguments(program),
      ],
      { encoding: 'utf8' },
    );
    assert.match(stdout, /^EPERM .*CAP_NET_ADMIN.*\nEPERM .*CAP_SYS_ADMIN/, stderr);
  });

  it('a closed namespace refuses', async () => {
    const closed = await NetworkNamespace.create();
    const link = await closed.link('lo');
    const monitor = closed.monitor();
    const waiting = monitor.next();
    await closed.close();
    await assert.rejects(closed.links(), { code: 'ERR_TUNTAP_CLOSED' });
    await assert.rejects(link.get(), { code: 'ERR_TUNTAP_CLOSED' });
    await assert.rejects(closed.sysctl('net.ipv4.ip_forward'), { code: 'ERR_TUNTAP_CLOSED' });
    assert.deepEqual(await waiting, { done: true, value: undefined });
    await closed.close();
  });

  for (const reason of [new Error('enough'), 'enough', undefined]) {
    it(`a monitor ends by its signal with an AbortError, whose cause is the reason ${reason}`, async () => {
      const controller = new AbortController();
      const { signal } = controller;
      const monitor = namespace.monitor({ signal });
      const expected = (error: Error & { code?: string }): boolean => {
        assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ABORT_ERR', signal.reason]);
        return true;
      };
      const waiting = assert.rejects(monitor.next(), expected);
      setImmediate(() => controller.abort(reason));
      await waiting;
      assert.throws(() => namespace.monitor({ signal }), expected);
    });
  }
});

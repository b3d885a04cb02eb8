/** Intercepted connections in spite of firewalls and reverse path filters, without root, and next to their own ones. */

import assert from 'node:assert/strict';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { moduleArguments, needs, run } from '../support.ts';
import {
  HOSTS,
  type Intercepted,
  type InterceptedOptions,
  openConnection,
  withIntercepted,
} from './support.ts';

async function exchange(intercepted: Intercepted, host: string): Promise<void> {
  const { server, client } = await openConnection(intercepted, { host });
  for (const socket of [server, client]) socket.allowHalfOpen = true;
  client.end('question');
  for await (const bytes of server.iterator({ destroyOnReturn: false })) server.end(`${bytes}, answer`);
  for await (const bytes of client) assert.equal(bytes.toString(), 'question, answer');
}

describe('connections are intercepted', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'nft');
  });

  const inSpiteOf = (
    title: string,
    options: InterceptedOptions,
    prepare: (intercepted: Intercepted) => Promise<void>,
  ): void => {
    it(title, () =>
      withIntercepted(options, async (intercepted) => {
        await prepare(intercepted);
        for (const host of HOSTS) await exchange(intercepted, host);
      }),
    );
  };

  inSpiteOf('where the firewall lets nothing in that nobody asked for', {}, async ({ namespace }) => {
    const rules = [
      'add table inet filter',
      'add chain inet filter input { type filter hook input priority 0; policy drop; }',
      'add rule inet filter input ct state established accept',
    ];
    const { status, stderr } = await run(namespace, 'nft', rules.join('\n'));
    assert.equal(status, 0, stderr);
  });

  inSpiteOf('with a strict reverse path filter', {}, async ({ namespace }) => {
    for (const name of ['all', 'tun0']) await namespace.setSysctl(`net.ipv4.conf.${name}.rp_filter`, 1);
  });

  inSpiteOf('from clients that ask for ECN', {}, async ({ namespace }) => {
    await namespace.setSysctl('net.ipv4.tcp_ecn', 1);
  });

  for (const offload of ['raw', true] as const) {
    inSpiteOf(
      `by the stack of the device's own namespace, offload ${offload}`,
      { stack: 'shared', tun: { offload } },
      async () => {},
    );
  }

  for (const mtu of [1280, 8500, 65520]) {
    inSpiteOf(`at MTU ${mtu}`, { tun: { mtu } }, async () => {});
  }

  inSpiteOf('in a namespace without root', { user: true }, async ({ namespace }) => {
    assert.ok(namespace.rootless);
  });

  it('over IPv4 alone if the MTU is too small for IPv6', () =>
    withIntercepted({ tun: { mtu: 1000 } }, async (intercepted) => {
      await exchange(intercepted, HOSTS[0]);
    }));
});

/** A process inside a namespace, whose default route is the device that it intercepts. */
const PROGRAM = `
  const { NetworkNamespace, openTun } = await import('${import.meta.resolve('tuntap-native')}');
  const { intercept } = await import('${import.meta.resolve('tuntap-native/intercept')}');
  const tun = openTun('tun0', { offload: 'raw', addresses: ['192.0.2.1/24', '2001:db8::1/64'], up: true });
  const here = await NetworkNamespace.current();
  await here.addRoute({ destination: '203.0.113.0/24', device: 'tun0' });
  const interceptor = await intercept(tun, OPTIONS);
  const unsaid = { mark: undefined, device: undefined }; // those of the interceptor hold
  const ways = [
    async (connection) => {
      const { address, port } = connection.destination;
      return connection.relay(await interceptor.connect({ host: address, port, ...unsaid }));
    },
    (connection) => connection.relayTo(unsaid),
  ];
  const seen = [];
  for (const way of ways) {
    interceptor.once('connection', (connection) => way(connection).catch((error) => connection.refuse(error)));
    try {
      const client = await here.connect({ host: '203.0.113.5', port: 80 });
      for await (const bytes of client) seen.push(String(bytes));
    } catch (error) {
      seen.push(error.code);
    }
  }
  console.log(...seen, interceptor.counters.loops, interceptor.counters.connections);
  await interceptor.close();
  await tun.close();
  await here.close();
`;

async function program(namespace: NetworkNamespace, options: object): Promise<string> {
  const source = PROGRAM.replace('OPTIONS', JSON.stringify(options));
  const { stdout, stderr } = await run(namespace, process.execPath, ...moduleArguments(source));
  assert.equal(stderr, '');
  return stdout.trim();
}

describe('connections of an interceptor itself', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ip');
  });

  it('are refused if they come back', async () => {
    await using namespace = await NetworkNamespace.create();
    assert.equal(await program(namespace, {}), 'EHOSTUNREACH EHOSTUNREACH 2 2');
  });

  it('go past the device by another link or by a mark', async () => {
    await using namespace = await NetworkNamespace.create();
    await using far = await NetworkNamespace.create();
    await createVethPair(
      { namespace, name: 'eth0', addresses: ['198.51.100.1/24'], up: true },
      { namespace: far, name: 'eth0', addresses: ['198.51.100.2/24', '203.0.113.5/32'], up: true },
    );
    const server = await far.listen({ host: '203.0.113.5', port: 80 }, (socket) => {
      socket.on('error', () => {}).end('far'); // closing the interceptor resets it
    });
    await namespace.addRoute({ destination: '203.0.113.0/24', via: '198.51.100.2', table: 100 });
    await namespace.addRoute({ destination: '203.0.113.0/24', via: '198.51.100.2', metric: 5000 });
    await namespace.addRule({ family: 4, fwmark: 7, table: 100 });
    assert.equal(await program(namespace, { mark: 7 }), 'far far 0 2');
    assert.equal(await program(namespace, { device: 'eth0' }), 'far far 0 2');
    server.close();
  });
});

/** Whole tunnels and Debian's wireguard-go: what changes while they run. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { NetworkNamespace } from 'tuntap-native/net';
import { Endpoint, openUdp, type UdpBatchSocket } from 'tuntap-native/tunnel';
import {
  generatePresharedKey,
  generatePrivateKey,
  publicKey,
  type WireGuard,
  type WireGuardOptions,
} from 'tuntap-native/wireguard';
import { ENVIRONMENT, type Limits } from '#dist/wireguard/environment.js';
import { openWithEnvironment } from '#dist/wireguard/open-wireguard.js';
import { needs, nodeProgram, run } from '../support.ts';
import { type Hosts, ping, withHosts } from './hosts.ts';
import { until } from './oracle.ts';
import { PORT, WireGuardGo } from './wireguard-go.ts';

const OURS = generatePrivateKey();
const THEIRS = generatePrivateKey();
const bytes = (key: string): Buffer => Buffer.from(key, 'base64');

/** Ours on host `a`: 10.9.0.1, to the peer 10.9.0.2. */
function openOurs(
  { a, folder }: Hosts,
  limits: Partial<Limits> = {},
  { peer = {}, ...options }: WireGuardOptions & { readonly peer?: object } = {},
): Promise<WireGuard> {
  const environment = { ...ENVIRONMENT, limits: { ...ENVIRONMENT.limits, ...limits } };
  return openWithEnvironment(
    'wg0',
    {
      privateKey: OURS,
      namespace: a,
      socketNamespace: a,
      listenPort: PORT,
      addresses: ['10.9.0.1/24'],
      control: join(folder, 'wg0.sock'),
      peers: [
        {
          publicKey: publicKey(THEIRS),
          allowedIps: ['10.9.0.2/32'],
          endpoint: `192.0.2.2:${PORT}`,
          ...peer,
        },
      ],
      ...options,
    },
    environment,
  );
}

/** wireguard-go on host `b`: 10.9.0.2, to the peer 10.9.0.1. */
async function openTheirs({ b }: Hosts, ...peer: readonly (string | Buffer)[]): Promise<WireGuardGo> {
  const go = await WireGuardGo.start(b);
  await go.set('private-key', bytes(THEIRS), 'listen-port', `${PORT}`);
  await go.set('peer', publicKey(OURS), 'allowed-ips', '10.9.0.1/32', ...peer);
  await ip(b, `address add 10.9.0.2/24 dev ${go.name}`);
  await ip(b, `link set ${go.name} up mtu 1420`);
  return go;
}

async function ip(namespace: NetworkNamespace, command: string): Promise<void> {
  const { status, stderr } = await run(namespace, 'ip', ...command.split(' '));
  assert.equal(status, 0, stderr);
}

const isAnswered = async (from: NetworkNamespace, to: string, ...more: string[]): Promise<boolean> =>
  (await run(from, 'ping', '-n', '-c1', '-W1', ...more, to)).status === 0;

async function untilAnswered(from: NetworkNamespace, to: string): Promise<void> {
  for (let i = 0; i < 15; i++) if (await isAnswered(from, to)) return;
  assert.fail(`${to} does not answer`);
}

/** The UDP ports that are open on a host. */
async function openPorts(namespace: NetworkNamespace): Promise<readonly string[]> {
  const { stdout } = await run(namespace, 'ss', '-Hlun');
  return [...stdout.matchAll(/:(\d+) /g)].map(([, port]) => port);
}

const handshakeOf = (wg: WireGuard): Promise<unknown> =>
  once(wg, 'handshake', { signal: AbortSignal.timeout(20_000) });

describe('a tunnel and wireguard-go', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ping', 'iperf3', 'wg', 'wireguard-go', 'ip', 'ss');
  });

  it('follow each other to other addresses', () =>
    withHosts(async (hosts) => {
      const { a, b } = hosts;
      await using go = await openTheirs(hosts);
      await using wg = await openOurs(hosts);
      const roamed: (string | undefined)[] = [];
      wg.on('roam', ({ endpoint }) => roamed.push(endpoint));
      await ping(a, '10.9.0.2');
      // Datagrams came to the old address, so it is what ours sends from, until it is gone.
      await ip(a, 'address add 192.0.2.11/24 dev eth0');
      await ip(a, 'address del 192.0.2.1/24 dev eth0');
      await ip(a, 'address replace 192.0.2.11/24 dev eth0');
      await untilAnswered(a, '10.9.0.2');
      assert.equal(await go.show('endpoints'), `192.0.2.11:${PORT}`);
      await ip(b, 'address add 192.0.2.22/24 dev eth0');
      await ip(b, 'address del 192.0.2.2/24 dev eth0');
      await ip(b, 'address replace 192.0.2.22/24 dev eth0');
      // wireguard-go sends from the old address for 15 s; another port makes it forget that at once.
      await go.set('listen-port', '4242');
      await untilAnswered(b, '10.9.0.1');
      assert.deepEqual(roamed, ['192.0.2.22:4242']);
      assert.equal(wg.peers()[0].endpoint, '192.0.2.22:4242');
      await ping(a, '10.9.0.2');
    }));

  it('talk on if wireguard-go moves into a network that the tunnel leads to', () =>
    withHosts(async (hosts) => {
      const { a, b } = hosts;
      await ip(a, 'route add default via 192.0.2.2');
      await ip(b, 'link set lo up');
      await ip(b, 'address add 198.51.100.2/32 dev lo');
      await using go = await openTheirs(hosts);
      await using wg = await openOurs(
        hosts,
        {},
        { peer: { allowedIps: ['10.9.0.2/32', '198.51.100.0/24'] } },
      );
      await ping(a, '10.9.0.2');
      assert.equal(wg.fwmark, 0);
      // Its datagrams have the other source address from now on. Datagrams to that would go into the tunnel, were they not
      // sent by the link that its own came by, until the peer is silent.
      await ip(b, 'route change 192.0.2.0/24 dev eth0 src 198.51.100.2');
      await go.set('listen-port', '4242');
      await untilAnswered(b, '10.9.0.1');
      assert.equal(wg.peers()[0].endpoint, '198.51.100.2:4242');
      const rule = /to 198\.51\.100\.0\/24 lookup main suppress_prefixlength 24/;
      await until(async () => rule.test((await run(a, 'ip', 'rule')).stdout), 'a rule');
      await ping(a, '10.9.0.2');
    }));

  it('find each other again after either has started anew', () =>
    withHosts(async (hosts) => {
      const limits = { keepaliveTimeout: 500, rekeyTimeout: 500, jitter: 50 };
      const wg = await openOurs(hosts, limits);
      try {
        const first = await openTheirs(hosts);
        await ping(hosts.a, '10.9.0.2');
        await first[Symbol.asyncDispose]();
        assert.equal(await isAnswered(hosts.a, '10.9.0.2'), false);
        await using _second = await openTheirs(hosts);
        await untilAnswered(hosts.a, '10.9.0.2');
        await wg.close();
        // At once: the keepalive begins a handshake, and a later timestamp counts.
        await using again = await openOurs(hosts, {}, { peer: { persistentKeepalive: 25 } });
        await handshakeOf(again);
        await ping(hosts.b, '10.9.0.1');
      } finally {
        await wg.close();
      }
    }));

  it("find each other once the peer's name leads elsewhere", () =>
    withHosts(async (hosts) => {
      const { a, folder } = hosts;
      await using _theirs = await openTheirs(hosts);
      const etc = join(folder, 'etc');
      mkdirSync(etc);
      const lead = (address: string): void => writeFileSync(join(etc, 'hosts'), `${address} peer.test\n`);
      lead('192.0.2.77');
      const peer = {
        publicKey: publicKey(THEIRS),
        allowedIps: ['10.9.0.2/32'],
        endpoint: `peer.test:${PORT}`,
        persistentKeepalive: 25,
      };
      const [program, ...args] = nodeProgram(`
        const { ENVIRONMENT } = await import(${JSON.stringify(import.meta.resolve('#dist/wireguard/environment.js'))});
        const { openWithEnvironment } = await import(${JSON.stringify(import.meta.resolve('#dist/wireguard/open-wireguard.js'))});
        const limits = { ...ENVIRONMENT.limits, rekeyTimeout: 200, jitter: 20 };
        const options = ${JSON.stringify({ privateKey: OURS, addresses: ['10.9.0.1/24'], control: false, peers: [peer] })};
        const wg = await openWithEnvironment('wg0', options, { ...ENVIRONMENT, limits });
        wg.on('handshake', async ({ endpoint }) => {
          console.log('handshake with ' + endpoint);
          await wg.close();
        });
        console.log('open');`);
      const child = a.spawn(program, args, { etc, stdio: ['ignore', 'pipe', 'inherit'] });
      let printed = '';
      child.stdout?.on('data', (text) => {
        printed += text;
        if (printed === 'open\n') lead('192.0.2.2');
      });
      await once(child, 'close');
      assert.equal(printed, `open\nhandshake with 192.0.2.2:${PORT}\n`);
    }));

  for (const reverse of [false, true]) {
    it(`renew their keys again and again under load, ${reverse ? 'received' : 'sent'} by ours`, () =>
      withHosts(async (hosts) => {
        await using _go = await openTheirs(hosts);
        await using wg = await openOurs(hosts, { rekeyAfterTime: 200, rekeyTimeout: 100, jitter: 20 });
        let handshakes = 0;
        wg.on('handshake', () => handshakes++);
        await ping(hosts.a, '10.9.0.2');
        const server = hosts.b.spawn('iperf3', ['-s', '-1', '--forceflush'], {
          stdio: ['ignore', 'pipe', 'ignore'],
          timeout: 20_000,
        });
        await once(server.stdout as NodeJS.EventEmitter, 'data');
        server.stdout?.resume();
        const args = ['-J', '-c', '10.9.0.2', '-t', '3', ...(reverse ? ['-R'] : [])];
        const { status, stdout } = await run(hosts.a, 'iperf3', ...args);
        assert.equal(status, 0, stdout);
        assert.ok(JSON.parse(stdout).end.sum_received.bytes > 1e6, stdout);
        assert.ok(handshakes >= 5, `${handshakes} handshakes`);
      }));
  }

  it('connect over a round trip of 4.9 s, and stay connected', () =>
    withHosts(async (hosts) => {
      await ip(hosts.b, 'link set lo up');
      await using _go = await openTheirs(hosts);
      await using relay = new DelayRelay(hosts.b, 2450);
      await using wg = await openOurs(hosts, {}, { peer: { endpoint: `192.0.2.2:${relay.port}` } });
      let handshakes = 0;
      wg.on('handshake', () => handshakes++);
      const { status, stdout } = await run(
        hosts.a,
        ...(['ping', '-n', '-c', '6', '-i', '1', '-W', '12', '10.9.0.2'] as const),
      );
      assert.equal(status, 0, stdout);
      assert.match(stdout, /6 packets transmitted, 6 received/);
      assert.equal(handshakes, 1);
      assert.equal(relay.initiations, 1);
    }));

  it('talk again after the link of either was down; ours closes its port meanwhile', () =>
    withHosts(async (hosts) => {
      const { a, b } = hosts;
      await using go = await openTheirs(hosts);
      await using wg = await openOurs(hosts);
      const isOpen = async (wanted: boolean) => {
        for (let i = 0; i < 50 && (await openPorts(a)).includes(`${PORT}`) !== wanted; i++)
          await setTimeout(50);
        assert.equal((await openPorts(a)).includes(`${PORT}`), wanted);
      };
      await ping(a, '10.9.0.2');
      await isOpen(true);
      await ip(a, `link set ${wg.name} down`);
      await isOpen(false);
      await ip(a, `link set ${wg.name} up`);
      await isOpen(true);
      // It has forgotten its keys, and begins.
      await untilAnswered(a, '10.9.0.2');
      await ip(b, `link set ${go.name} down`);
      assert.equal(await isAnswered(a, '10.9.0.2'), false);
      await ip(b, `link set ${go.name} up`);
      await untilAnswered(a, '10.9.0.2');
      await ping(b, '10.9.0.1');
    }));

  it('do not talk with different preshared keys, and do as soon as they are the same', () =>
    withHosts(async (hosts) => {
      const psk = generatePresharedKey();
      await using go = await openTheirs(hosts, 'preshared-key', bytes(psk));
      const limits = { rekeyAfterTime: 1000, rekeyTimeout: 300, jitter: 20 };
      const peer = { presharedKey: generatePresharedKey() };
      await using wg = await openOurs(hosts, limits, { peer });
      assert.equal(await isAnswered(hosts.a, '10.9.0.2'), false);
      assert.equal(wg.peers()[0].latestHandshake, undefined);
      await wg.setPeer({ publicKey: publicKey(THEIRS), presharedKey: psk });
      await untilAnswered(hosts.a, '10.9.0.2');
      // A session goes on when the preshared key changes; the next handshake takes the new one.
      const another = generatePresharedKey();
      await wg.setPeer({ publicKey: publicKey(THEIRS), presharedKey: another });
      await go.set('peer', publicKey(OURS), 'preshared-key', bytes(another));
      const renewed = handshakeOf(wg);
      await ping(hosts.a, '10.9.0.2');
      await setTimeout(1000);
      await ping(hosts.a, '10.9.0.2');
      await renewed;
      await ping(hosts.b, '10.9.0.1');
    }));

  it('come together although their initiations cross', () =>
    withHosts(async (hosts) => {
      await using go = await openTheirs(hosts, 'endpoint', `192.0.2.1:${PORT}`);
      await using wg = await openOurs(hosts);
      await Promise.all([untilAnswered(hosts.a, '10.9.0.2'), untilAnswered(hosts.b, '10.9.0.1')]);
      assert.notEqual(await go.show('latest-handshakes'), '0');
      assert.ok(wg.peers()[0].latestHandshake);
    }));

  it('find the MTU that fits on the way to the endpoint', () =>
    withHosts(async (hosts) => {
      await ip(hosts.a, 'link set eth0 mtu 1400');
      await ip(hosts.a, 'route add 198.51.100.0/24 via 192.0.2.2 mtu 1300');
      await ip(hosts.a, 'route add default via 192.0.2.2 mtu 1350');
      for (const [endpoint, mtu] of [
        ['192.0.2.2:1', 1320],
        ['198.51.100.7:1', 1220],
        ['[2001:db8::2]:1', 1320],
        [undefined, 1270],
      ] as const) {
        await using wg = await openOurs(hosts, {}, { peer: { endpoint } });
        const { stdout } = await run(hosts.a, 'ip', 'link', 'show', wg.name);
        assert.match(stdout, new RegExp(`mtu ${mtu} `), endpoint);
      }
    }));
});

/** Carries datagrams between a tunnel and the port of another one on this host, each some time later. */
class DelayRelay implements AsyncDisposable {
  readonly port: number;
  initiations = 0;
  readonly #front: UdpBatchSocket;
  readonly #rear: UdpBatchSocket;
  readonly #delay: number;
  #client: Endpoint | undefined;

  constructor(namespace: NetworkNamespace, delay: number) {
    this.#delay = delay;
    this.#front = openUdp({ namespace, address: '192.0.2.2' });
    this.#rear = openUdp({ namespace, address: '192.0.2.2' });
    this.port = this.#front.local.port;
    const server = new Endpoint('192.0.2.2', PORT);
    void this.#carry(this.#front, this.#rear, () => server);
    void this.#carry(this.#rear, this.#front, () => this.#client);
  }

  async #carry(from: UdpBatchSocket, to: UdpBatchSocket, remote: () => Endpoint | undefined): Promise<void> {
    for await (const batch of from.batches()) {
      if (from === this.#front) this.#client = from.received.remote(0) ?? this.#client;
      for (const datagram of batch) {
        if (from === this.#front && datagram[0] === 1) this.initiations++;
        const copy = Buffer.from(datagram);
        void setTimeout(this.#delay, undefined, { ref: false }).then(() => {
          const target = remote();
          if (target && to.fd >= 0) to.send(copy, target);
        });
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#front.close(), this.#rear.close()]);
  }
}

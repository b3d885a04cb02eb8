/** Whole tunnels: ours to ours, and ours to Debian's wireguard-go, in namespaces of their own. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { NetworkNamespace } from 'tuntap-native/net';
import {
  generatePresharedKey,
  generatePrivateKey,
  openWireGuard,
  type PeerChanges,
  publicKey,
  type WireGuard,
} from 'tuntap-native/wireguard';
import { fdsAtMost, needs, openFds, run } from '../support.ts';
import { type Hosts, ping, withHosts } from './hosts.ts';
import { freeName, until } from './oracle.ts';

const MESSAGE_TIMEOUT = 10_000;
/** The tunnel that answers wg(8) is in this process, so it must not wait. */
const wg8 = async (...args: string[]) => (await promisify(execFile)('wg', args, { timeout: 10_000 })).stdout;

/** A tunnel of ours on host `a`: 10.9.0.1, to the peer 10.9.0.2. */
function openOurs(hosts: Hosts, privateKey: string, peer: object, more = {}): Promise<WireGuard> {
  return openWireGuard('wg0', {
    privateKey,
    namespace: hosts.a,
    socketNamespace: hosts.a,
    listenPort: 51820,
    addresses: ['10.9.0.1/24'],
    control: join(hosts.folder, 'wg0.sock'),
    peers: [{ publicKey: '', allowedIps: ['10.9.0.2/32'], ...peer }],
    ...more,
  });
}

/** Sends 20 MiB by TCP. iperf3 counts what had arrived when the sender was done. */
async function transfer(server: NetworkNamespace, client: NetworkNamespace, reverse: boolean): Promise<void> {
  const listening = server.spawn('iperf3', ['-s', '-1', '--forceflush'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = once(listening, 'close');
  try {
    await once(listening.stdout as NodeJS.EventEmitter, 'data', {
      signal: AbortSignal.timeout(MESSAGE_TIMEOUT),
    });
    listening.stdout?.resume();
    const args = ['-J', '-c', '10.9.0.1', '-n', '20M', ...(reverse ? ['-R'] : [])];
    const { status, stdout } = await run(client, 'iperf3', ...args);
    assert.equal(status, 0, stdout);
    assert.ok(JSON.parse(stdout).end.sum_received.bytes >= 10e6, stdout);
  } finally {
    listening.kill();
    // A server that still listens would not let the next one begin.
    await ended;
  }
}

/** Debian's wireguard-go on host `b`: 10.9.0.2, with our key as its peer. */
async function startGo(
  hosts: Hosts,
  name: string,
  privateKey: string,
  ours: string,
  ...peer: readonly string[]
): Promise<ChildProcess> {
  const file = join(hosts.folder, 'key');
  writeFileSync(file, privateKey, { mode: 0o600 });
  const go = hosts.b.spawn('wireguard-go', ['-f', name], { stdio: 'ignore' });
  await until(() => existsSync(`/var/run/wireguard/${name}.sock`), 'the socket of wireguard-go');
  for (const [command, ...args] of [
    [
      'wg',
      'set',
      name,
      'private-key',
      file,
      'listen-port',
      '51821',
      'peer',
      ours,
      ...peer,
      'allowed-ips',
      '10.9.0.1/32',
    ],
    ['ip', 'address', 'add', '10.9.0.2/24', 'dev', name],
    ['ip', 'link', 'set', name, 'up', 'mtu', '1420'],
  ]) {
    const { status, stderr } = await run(hosts.b, command, ...args);
    assert.equal(status, 0, stderr);
  }
  return go;
}

describe('openWireGuard', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'ping', 'iperf3', 'wg', 'wireguard-go');
  });

  it('carries packets between two tunnels of ours, and leaves nothing when they are closed', () =>
    withHosts(async (hosts) => {
      const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
      const fds = openFds();
      const a = await openOurs(hosts, ours, { publicKey: publicKey(theirs) });
      const handshake = once(a, 'handshake', { signal: AbortSignal.timeout(MESSAGE_TIMEOUT) });
      const b = await openWireGuard('wg1', {
        privateKey: theirs,
        namespace: hosts.b,
        socketNamespace: hosts.b,
        addresses: ['10.9.0.2/24'],
        control: false,
        peers: [{ publicKey: publicKey(ours), allowedIps: ['10.9.0.1/32'], endpoint: '192.0.2.1:51820' }],
      });
      try {
        await ping(hosts.b, '10.9.0.1');
        const [peer] = await handshake;
        assert.match(peer.endpoint, /^192\.0\.2\.2:/);
        await transfer(hosts.a, hosts.b, false);
        await transfer(hosts.a, hosts.b, true);
        assert.ok(a.counters.rxBytes > 10e6 && a.counters.txBytes > 10e6);
        assert.equal(a.publicKey, publicKey(ours));
      } finally {
        await Promise.all([a.close(), b.close()]);
      }
      assert.equal(existsSync(join(hosts.folder, 'wg0.sock')), false);
      const { stdout } = await run(hosts.a, 'ip', '-o', 'link');
      assert.doesNotMatch(stdout, /wg0/);
      await fdsAtMost(fds + 2);
    }));

  it('tells of the first handshake, which a persistent keepalive begins at once', () =>
    withHosts(async (hosts) => {
      const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
      const a = await openOurs(hosts, ours, { publicKey: publicKey(theirs) });
      const b = await openWireGuard('wg1', {
        privateKey: theirs,
        namespace: hosts.b,
        socketNamespace: hosts.b,
        addresses: ['10.9.0.2/24'],
        control: false,
        peers: [
          {
            publicKey: publicKey(ours),
            allowedIps: ['10.9.0.1/32'],
            endpoint: '192.0.2.1:51820',
            persistentKeepalive: 25,
          },
        ],
      });
      try {
        await once(b, 'handshake', { signal: AbortSignal.timeout(MESSAGE_TIMEOUT) });
        // One initiation, and the keepalive that confirms the keys.
        assert.equal(b.peers()[0].txBytes, 148 + 32);
      } finally {
        await Promise.all([a.close(), b.close()]);
      }
    }));

  for (const [title, endpoint, psk] of [
    ['over IPv4', '192.0.2.2:51821', undefined],
    ['over IPv4, with a preshared key', '192.0.2.2:51821', generatePresharedKey()],
    ['over IPv6', '[2001:db8::2]:51821', undefined],
    ['over IPv6, with a preshared key', '[2001:db8::2]:51821', generatePresharedKey()],
  ] as const) {
    for (const initiator of ['ours', 'wireguard-go'] as const) {
      it(`talks to wireguard-go ${title}; ${initiator} begins`, () =>
        withHosts(async (hosts) => {
          const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
          const name = `wgt${process.pid % 1e6}`;
          const pskFile = join(hosts.folder, 'psk');
          if (psk) writeFileSync(pskFile, psk, { mode: 0o600 });
          const goEndpoint = endpoint.replace('2:51821', '1:51820').replace('::2]:51821', '::1]:51820');
          const go = await startGo(
            hosts,
            name,
            theirs,
            publicKey(ours),
            ...[
              ...(psk ? ['preshared-key', pskFile] : []),
              ...(initiator === 'wireguard-go' ? ['endpoint', goEndpoint] : []),
            ],
          );
          const wg = await openOurs(hosts, ours, {
            publicKey: publicKey(theirs),
            presharedKey: psk,
            endpoint: initiator === 'ours' ? endpoint : undefined,
          });
          try {
            await (initiator === 'ours' ? ping(hosts.a, '10.9.0.2') : ping(hosts.b, '10.9.0.1'));
            await transfer(hosts.a, hosts.b, false);
            await transfer(hosts.a, hosts.b, true);
            const [peer] = wg.peers();
            assert.equal(peer.endpoint, endpoint);
            assert.ok(Date.now() - (peer.latestHandshake ?? 0) < 60_000);
          } finally {
            await wg.close();
            go.kill();
            await once(go, 'close');
          }
        }));
    }
  }

  it('adds, changes and removes peers while it runs, and wg(8) sees the same', () =>
    withHosts(async (hosts) => {
      const ours = generatePrivateKey();
      const keys = [generatePrivateKey(), generatePrivateKey()].map(publicKey);
      const name = `wgt${process.pid % 1e6}`;
      const wg = await openWireGuard(name, {
        privateKey: ours,
        namespace: hosts.a,
        socketNamespace: hosts.a,
        addresses: ['10.9.0.1/24'],
        peers: [{ publicKey: keys[0], allowedIps: ['10.9.0.2/32', '10.20.0.0/16'], endpoint: '192.0.2.2:1' }],
      });
      const show = (...args: string[]) => wg8('show', name, ...args);
      const routes = async () => (await run(hosts.a, 'ip', 'route', 'show', 'dev', name)).stdout;
      try {
        assert.equal(await show('peers'), `${keys[0]}\n`);
        assert.match(await routes(), /^10\.20\.0\.0\/16 /m);
        await wg.setPeer({ publicKey: keys[1], allowedIps: ['10.20.0.0/16'], persistentKeepalive: 25 });
        assert.equal(await show('allowed-ips'), `${keys[0]}\t10.9.0.2/32\n${keys[1]}\t10.20.0.0/16\n`);
        assert.equal(await show('persistent-keepalive'), `${keys[0]}\toff\n${keys[1]}\t25\n`);
        await wg8('set', name, 'listen-port', '5555', 'fwmark', '0x10', 'peer', keys[0], 'remove');
        assert.deepEqual(
          wg.peers().map((peer) => peer.publicKey),
          [keys[1]],
        );
        assert.deepEqual([wg.listenPort, wg.fwmark], [5555, 16]);
        assert.equal(await wg.removePeer(keys[1]), true);
        assert.equal(await wg.removePeer(keys[1]), false);
        assert.equal(await show('peers'), '');
        assert.doesNotMatch(await routes(), /10\.20/);
        await assert.rejects(wg.set({ listenPort: 70_000 }), { code: 'ERR_OUT_OF_RANGE' });
        await assert.rejects(wg.setPeer({ publicKey: 'x' }), { code: 'ERR_WG_KEY' });
        for (const wrong of [undefined, null, 5, { replacePeers: 'no' }, { listenPort: '5' }]) {
          await assert.rejects(wg.set(wrong as object), { code: 'ERR_INVALID_ARG_TYPE' });
        }
        for (const wrong of [{ updateOnly: 'no' }, { replaceAllowedIps: 0 }, { allowedIps: '10.0.0.0/8' }]) {
          const peer = { publicKey: keys[1], ...wrong } as object;
          await assert.rejects(wg.setPeer(peer as PeerChanges), { code: 'ERR_INVALID_ARG_TYPE' });
        }
        assert.deepEqual(wg.peers(), []);
      } finally {
        await wg.close();
      }
      await assert.rejects(wg.setPeer({ publicKey: keys[0] }), { code: 'ERR_WG_CLOSED' });
      assert.equal(existsSync(`/var/run/wireguard/${name}.sock`), false);
    }));

  it('refuses what can’t be, and leaves nothing', () =>
    withHosts(async ({ a }) => {
      const good = { privateKey: generatePrivateKey(), namespace: a, socketNamespace: a, control: false };
      const key = publicKey(generatePrivateKey());
      for (const [code, options] of [
        ['ERR_WG_KEY', { privateKey: 'short' }],
        ['ERR_WG_KEY', { peers: [{ publicKey: 'short' }] }],
        ['ERR_WG_ENDPOINT', { peers: [{ publicKey: key, endpoint: '192.0.2.1' }] }],
        ['ERR_WG_ALLOWED_IP', { peers: [{ publicKey: key, allowedIps: ['10.0.0.0/40'] }] }],
        ['ERR_OUT_OF_RANGE', { listenPort: -1 }],
        ['ERR_OUT_OF_RANGE', { mtu: 1 }],
        ['ERR_INVALID_ARG_VALUE', { routes: 'some' }],
        ['ERR_INVALID_ARG_VALUE', { addresses: ['x'] }],
      ] as const) {
        await assert.rejects(
          openWireGuard('wg0', { ...good, ...(options as object) }),
          { code },
          JSON.stringify(options),
        );
      }
      const { stdout } = await run(a, 'ip', '-o', 'link');
      assert.doesNotMatch(stdout, /wg0/);
    }));

  it('refuses wrong options before it looks a name up', async () => {
    for (const wrong of [
      { up: 1 },
      { addresses: '10.0.0.1/24' },
      { addresses: ['10.0.0.1/33'] },
      { mtu: 67 },
      { tunFd: -1 },
      { controlFd: 1.5 },
      { controlFd: 3, control: false },
      { control: '' },
    ]) {
      const peers = [{ publicKey: publicKey(generatePrivateKey()), endpoint: 'nobody.invalid:1' }];
      await assert.rejects(openWireGuard('wg0', { peers, ...wrong } as object), {
        code: /^ERR_(INVALID_ARG|OUT_OF)/,
      });
    }
  });

  it('takes the name of a link for the zone of an endpoint, and makes no link-local address itself', () =>
    withHosts(async ({ a, b }) => {
      const [ours, theirs] = [generatePrivateKey(), generatePrivateKey()];
      const link = await a.link('eth0');
      await link.addAddress('fe80::a/64', { noDad: true });
      await (await b.link('eth0')).addAddress('fe80::b/64', { noDad: true });
      const open = (namespace: NetworkNamespace, privateKey: string, more: object) =>
        openWireGuard('wg0', { privateKey, namespace, socketNamespace: namespace, control: false, ...more });
      await using there = await open(b, theirs, {
        addresses: ['10.9.0.2/24'],
        peers: [{ publicKey: publicKey(ours), allowedIps: ['10.9.0.1/32'] }],
      });
      const endpoint = `[fe80::b%eth0]:${there.listenPort}`;
      const peer = { publicKey: publicKey(theirs), allowedIps: ['10.9.0.2/32'], endpoint };
      await using here = await open(a, ours, { addresses: ['10.9.0.1/24'], peers: [peer] });
      const expected = `[fe80::b%${link.index}]:${there.listenPort}`;
      assert.equal(here.peers()[0].endpoint, expected);
      await ping(a, '10.9.0.2');
      await assert.rejects(here.setPeer({ ...peer, endpoint: '[fe80::b%eth9]:1' }), { code: 'ENODEV' });
      assert.equal(here.peers()[0].endpoint, expected);
      const tunnel = await a.link('wg0');
      assert.equal((await tunnel.get()).addressGeneration, 'none');
      assert.deepEqual(
        (await tunnel.addresses()).map(({ address }) => address),
        ['10.9.0.1'],
      );
    }));

  it('changes nothing if a route can’t be made', () =>
    withHosts(async (hosts) => {
      const [one, two] = [generatePrivateKey(), generatePrivateKey()].map(publicKey);
      await using wg = await openOurs(hosts, generatePrivateKey(), { publicKey: one }, { control: false });
      await hosts.a.addRoute({ destination: '10.5.0.0/16', device: 'eth0' });
      const before = wg.peers();
      for (const peer of [
        { publicKey: one, allowedIps: ['10.5.0.0/16'], endpoint: '192.0.2.2:9', persistentKeepalive: 9 },
        { publicKey: two, allowedIps: ['10.6.0.0/16', '10.5.0.0/16'] },
      ]) {
        await assert.rejects(wg.setPeer(peer), { code: 'EEXIST' });
        assert.deepEqual(wg.peers(), before);
      }
      assert.deepEqual(
        (await hosts.a.routes({ device: 'wg0' })).map(({ destination }) => destination),
        ['10.9.0.0/24'],
      );
      // The other end of a prefix that moves needs no route that is there.
      await wg.setPeer({ publicKey: two, allowedIps: ['10.9.0.2/32', '10.6.0.0/16'] });
      assert.deepEqual(
        wg.peers().map(({ allowedIps }) => allowedIps),
        [[], ['10.9.0.2/32', '10.6.0.0/16']],
      );
    }));

  it('shows a private key in the form that wg(8) expects, however it was set', () =>
    withHosts(async ({ a }) => {
      const raw = Buffer.alloc(32, 0xff);
      const expected = Buffer.from(raw);
      expected[0] = 0xf8;
      expected[31] = 0x7f;
      const name = freeName();
      await using wg = await openWireGuard(name, { privateKey: raw, namespace: a, socketNamespace: a });
      const shown = async () => (await run(a, 'wg', 'show', name, 'private-key')).stdout.trim();
      assert.equal(await shown(), expected.toString('base64'));
      await wg.set({ privateKey: generatePrivateKey() });
      await wg.set({ privateKey: raw });
      assert.equal(await shown(), expected.toString('base64'));
    }));

  it('ends with an AbortError if its signal aborts while a name is looked up', async () => {
    const signal = AbortSignal.abort('enough');
    const options = { privateKey: generatePrivateKey(), signal };
    await assert.rejects(openWireGuard('wg0', options), {
      name: 'AbortError',
      code: 'ABORT_ERR',
      cause: 'enough',
    });
  });

  it('rejects with an AbortError, and emits nothing, if its signal aborts at any time before it is open', () =>
    withHosts(async ({ a }) => {
      const options = { privateKey: generatePrivateKey(), namespace: a, socketNamespace: a, control: false };
      let turns = 0;
      for (let isOpen = false; !isOpen; turns++) {
        const controller = new AbortController();
        const opening = openWireGuard('wg0', { ...options, signal: controller.signal });
        const settled = opening.then(
          () => true,
          () => true,
        );
        for (let turn = 0; turn < turns && !isOpen; turn++)
          isOpen = await Promise.race([settled, new Promise<false>((next) => setImmediate(next, false))]);
        if (isOpen) {
          await (await opening).close();
        } else {
          controller.abort(new Error('enough'));
          await assert.rejects(opening, { name: 'AbortError' });
        }
        assert.deepEqual((await a.links()).map(({ name }) => name).sort(), ['eth0', 'lo']);
      }
      assert.ok(turns > 3, `${turns} turns`);
    }));

  it('closes with an AbortError when its signal aborts', () =>
    withHosts(async ({ a }) => {
      const controller = new AbortController();
      const options = { privateKey: generatePrivateKey(), namespace: a, socketNamespace: a, control: false };
      const wg = await openWireGuard('wg0', { ...options, signal: controller.signal });
      const failed = once(wg, 'error');
      controller.abort(new Error('enough'));
      const [error] = await failed;
      assert.deepEqual([error.name, error.cause.message], ['AbortError', 'enough']);
      await wg.close();
    }));
});

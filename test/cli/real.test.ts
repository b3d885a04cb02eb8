/** The commands as users start them, with a real tunnel, and wireguard-go at the other end. */

import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { needs, run } from '../support.ts';
import { type Hosts, ping, withHosts } from '../wireguard/hosts.ts';
import { freeName, SOCKETS, until } from '../wireguard/oracle.ts';
import { WireGuardGo } from '../wireguard/wireguard-go.ts';
import { finish, Running, real } from './programs.ts';
import { surroundings } from './up-support.ts';

const OURS = generatePrivateKey();
const THEIRS = generatePrivateKey();
const PORT = 51820;

interface Setup extends Hosts {
  readonly go: WireGuardGo;
  readonly name: string;
  /** Of `up`, without hooks. */
  readonly file: string;
  /** Starts `tuntap-native up FILE` on host `a`; it ends with the test. */
  up(...args: string[]): Running;
}

const content = (allowed: string, more = '', endpoint = `192.0.2.2:${PORT}`) => `[Interface]
PrivateKey = ${OURS}
Address = 10.9.0.1/24
${more}
[Peer]
PublicKey = ${publicKey(THEIRS)}
Endpoint = ${endpoint}
AllowedIPs = ${allowed}
PersistentKeepalive = 25
`;

/** wireguard-go on host `b`: 10.9.0.2, and a default route by `b` on host `a`. */
async function withPeer(body: (setup: Setup) => Promise<void>): Promise<void> {
  await withHosts(async (hosts) => {
    const { a, b, folder } = hosts;
    await using go = await WireGuardGo.start(b);
    await go.set('private-key', Buffer.from(THEIRS, 'base64'), 'listen-port', `${PORT}`);
    await go.set('peer', publicKey(OURS), 'allowed-ips', '10.9.0.1/32');
    for (const command of [`address add 10.9.0.2/24 dev ${go.name}`, `link set ${go.name} up mtu 1420`]) {
      assert.equal((await run(b, 'ip', ...command.split(' '))).status, 0);
    }
    await (await a.link('lo')).set({ up: true });
    await a.addRoute({ destination: 'default', via: '192.0.2.2' });
    const name = freeName();
    const file = join(folder, `${name}.conf`);
    writeFileSync(file, content('10.9.0.2/32, 10.20.0.0/16'), { mode: 0o600 });
    const started: Running[] = [];
    const up = (...args: string[]): Running => {
      const running = new Running(real('tuntap-native', 'up', file, ...args), { namespace: a });
      started.push(running);
      return running;
    };
    try {
      await body({ ...hosts, go, name, file, up });
    } finally {
      for (const running of started) await running.stop('SIGKILL');
    }
  });
}

describe('the commands, with real tunnels', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ping', 'ip', 'wg', 'wireguard-go', 'nft');
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`tuntap-native up FILE: a line for each event, pings, and ${signal} takes all down`, () =>
      withPeer(async ({ a, b, name, up }) => {
        const before = await surroundings(a);
        const running = up();
        await running.printed(/handshake/);
        assert.match(
          running.stdout,
          new RegExp(`^${name} is up, with 1 peer\n${name}: peer .{8}…: handshake with 192.0.2.2:${PORT}\n$`),
        );
        await ping(a, '10.9.0.2');
        await ping(b, '10.9.0.1');
        assert.match((await run(a, 'ip', 'route', 'show', 'dev', name)).stdout, /^10\.20\.0\.0\/16 /m);
        const shown = await finish(real('tuntap-native', 'show', name), { namespace: a });
        const expected = await run(a, 'env', 'WG_COLOR_MODE=never', 'wg', 'show', name);
        const plain = (text: string) => text.replace(/\d+ seconds? ago|Now/, 'AGO');
        assert.equal(plain(shown.stdout), plain(expected.stdout));
        assert.equal(shown.status, 0);
        await running.stop(signal);
        assert.deepEqual([running.status, running.stderr], [0, '']);
        assert.match(running.stdout, / is down\n$/);
        assert.equal(await surroundings(a), before);
        assert.equal(existsSync(`${SOCKETS}/${name}.sock`), false);
      }));
  }

  it('tuntap-native up carries all traffic of the host, except its own datagrams', () =>
    withPeer(async ({ a, b, name, file, up }) => {
      writeFileSync(file, content('0.0.0.0/0, ::/0'));
      const before = await surroundings(a);
      const running = up();
      await running.printed(/handshake/);
      await ping(a, '10.9.0.2');
      // An address that only the tunnel leads to.
      await (await b.link('lo')).set({ up: true });
      await (await b.link('lo')).addAddress('203.0.113.7/32');
      await ping(a, '203.0.113.7');
      assert.match((await run(a, 'ip', 'route', 'get', '203.0.113.7')).stdout, new RegExp(`dev ${name} `));
      await running.stop('SIGTERM');
      assert.deepEqual([running.status, running.stderr], [0, '']);
      assert.equal(await surroundings(a), before);
    }));

  it('tuntap-native up ends when the interface is removed from outside, and its rules go too', () =>
    withPeer(async ({ a, name, file, up }) => {
      writeFileSync(file, content('0.0.0.0/0, ::/0'));
      const before = await surroundings(a);
      const running = up();
      await running.printed(/ is up/);
      await run(a, 'ip', 'link', 'delete', name);
      await running.ended;
      assert.deepEqual(
        [running.status, running.stderr],
        [1, `tuntap-native: ${name} was removed from outside\n`],
      );
      assert.equal(await surroundings(a), before);
      assert.equal(existsSync(`${SOCKETS}/${name}.sock`), false);
    }));

  it('tuntap-native up --hooks runs the commands of the file, and without it refuses them', () =>
    withPeer(async ({ folder, file, name, up }) => {
      const log = join(folder, 'log');
      const hooks = ['PreUp', 'PostUp', 'PreDown', 'PostDown']
        .map((hook) => `${hook} = echo ${hook} %i >> ${log}`)
        .join('\n');
      writeFileSync(file, content('10.9.0.2/32', hooks));
      const refused = up();
      await refused.ended;
      assert.equal(refused.status, 1);
      assert.match(refused.stderr, /run only with --hooks\n$/);
      assert.equal(existsSync(log), false);
      const running = up('--hooks');
      await running.printed(/ is up/);
      assert.equal(readFileSync(log, 'utf8'), `PreUp ${name}\nPostUp ${name}\n`);
      await running.stop('SIGINT');
      assert.equal(running.status, 0);
      assert.equal(
        readFileSync(log, 'utf8').split('\n').slice(2).join('\n'),
        `PreDown ${name}\nPostDown ${name}\n`,
      );
    }));

  it('tuntap-native up looks host names up', () =>
    withPeer(async ({ a, file, name, up }) => {
      writeFileSync(file, content('10.9.0.2/32', '', 'localhost:7'));
      const running = up();
      await running.printed(/ is up/);
      const { stdout } = await finish(real('tuntap-native', 'show', name), { namespace: a });
      assert.match(stdout, /endpoint: (127\.0\.0\.1|\[::1\]):7\n/);
      await running.stop('SIGINT');
    }));

  it('failures are one line and status 1, bad usage is status 2, and nothing is left', () =>
    withPeer(async ({ a, file, name, up }) => {
      const first = up();
      await first.printed(/ is up/);
      const before = await surroundings(a);
      const other = join(file, '..', `${freeName()}.conf`);
      const port = /listening port: (\d+)/.exec((await run(a, 'wg', 'show', name)).stdout)?.[1];
      const taken = content('10.30.0.0/16', `ListenPort = ${port}`).replace('10.9.0.1/24', '10.9.1.1/24');
      writeFileSync(other, taken, { mode: 0o600 });
      const failed = await finish(real('tuntap-native', 'up', other), { namespace: a });
      assert.equal(failed.status, 1);
      assert.match(failed.stderr, /^tuntap-native: EADDRINUSE: .*\n$/);
      assert.equal(await surroundings(a), before);
      for (const args of [[], ['up'], ['up', file, file], ['up', '--nonsense', file], ['nonsense']]) {
        const { status, stderr } = await finish(real('tuntap-native', ...args), { namespace: a });
        assert.equal(status, 2, args.join(' '));
        assert.match(stderr, /^tuntap-native: [^\n]*\n$/);
      }
      await first.stop('SIGINT');
      assert.equal(first.status, 0);
    }));

  for (const allowed of ['10.9.0.2/32, 10.20.0.0/16', '0.0.0.0/0']) {
    it(`wg-quick brings a tunnel of tuntap-wireguard up and down, for ${allowed}`, function () {
      needs(this, 'wg-quick', 'bash');
      return withPeer(async ({ a, b, go, folder, file, name }) => {
        const program = join(folder, 'tuntap-wireguard');
        const words = real('tuntap-wireguard').map((word) => `'${word}'`);
        writeFileSync(program, `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`);
        chmodSync(program, 0o755);
        writeFileSync(file, content(allowed));
        const before = await surroundings(a);
        const quick = (command: string) =>
          run(a, 'env', `WG_QUICK_USERSPACE_IMPLEMENTATION=${program}`, 'wg-quick', command, file);
        const up = await quick('up');
        assert.equal(up.status, 0, up.stderr);
        try {
          await ping(a, '10.9.0.2');
          await ping(b, '10.9.0.1');
          if (allowed === '0.0.0.0/0') {
            await (await b.link('lo')).set({ up: true });
            await (await b.link('lo')).addAddress('203.0.113.7/32');
            await ping(a, '203.0.113.7');
          }
          assert.match(await go.show('latest-handshakes'), /^[1-9]/);
        } finally {
          const down = await quick('down');
          assert.equal(down.status, 0, down.stderr);
        }
        await until(() => !existsSync(`${SOCKETS}/${name}.sock`), 'the end of the process in the background');
        assert.equal(await surroundings(a), before);
      });
    });
  }
});

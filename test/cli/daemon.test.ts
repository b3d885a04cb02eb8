import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTun } from 'tuntap-native';
import type { NetworkNamespace } from 'tuntap-native/net';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { inNamespace, literally, needs, run } from '../support.ts';
import { exists, freeName, SOCKETS, until, wg, withFolder, withSocket } from '../wireguard/oracle.ts';
import { fake, finish, Running } from './programs.ts';

/** Ends what a test has left in the background, by removing its link. */
async function withDaemon(body: (namespace: NetworkNamespace, name: string) => Promise<void>): Promise<void> {
  await inNamespace(async (namespace) => {
    const name = freeName();
    try {
      await body(namespace, name);
    } finally {
      await run(namespace, 'ip', 'link', 'delete', name);
      await until(() => !exists(`${SOCKETS}/${name}.sock`), 'the end of the process in the background');
    }
  });
}

describe('tuntap-wireguard', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ip', 'wg');
  });

  it('returns once the interface and its socket exist, and goes on in the background until the link goes', () =>
    withDaemon(async (namespace, name) => {
      const { status, stdout, stderr } = await finish(fake('tuntap-wireguard', name), { namespace });
      assert.deepEqual([status, stdout, stderr], [0, '', '']);
      assert.match((await run(namespace, 'ip', 'link', 'show', name)).stdout, /state DOWN/);
      assert.match(wg('show', name).stdout, new RegExp(`^interface: ${name}\n`));
    }));

  it('-f stays until a signal, and ends with status 0', () =>
    inNamespace(async (namespace) => {
      for (const [flag, env] of [
        [['-f'], {}],
        [['--foreground'], {}],
        [[], { WG_PROCESS_FOREGROUND: '1' }],
      ] as const) {
        const name = freeName();
        const running = new Running(fake('tuntap-wireguard', ...flag, name), { namespace, env });
        await until(() => exists(`${SOCKETS}/${name}.sock`), 'the socket');
        assert.equal(running.status, undefined);
        await running.stop('SIGTERM');
        assert.deepEqual([running.status, running.stdout, running.stderr], [0, '', '']);
        assert.ok(!exists(`${SOCKETS}/${name}.sock`));
      }
    }));

  it('ends with status 0 when its socket is removed', () =>
    inNamespace(async (namespace) => {
      const name = freeName();
      const running = new Running(fake('tuntap-wireguard', '-f', name), { namespace });
      await until(() => exists(`${SOCKETS}/${name}.sock`), 'the socket');
      await run(namespace, 'rm', `${SOCKETS}/${name}.sock`);
      await running.ended;
      assert.equal(running.status, 0);
      assert.notEqual((await run(namespace, 'ip', 'link', 'show', name)).status, 0);
    }));

  for (const flags of [[], ['-f']]) {
    it(`a failure is one line and status 1 ${flags.join('')}`, async () => {
      const env = { FAKE_FAILURE: 'it does\nnot work' };
      const { status, stderr } = await finish(fake('tuntap-wireguard', ...flags, 'x'), { env });
      assert.deepEqual([status, stderr], [1, 'tuntap-wireguard: it does not work\n']);
      for (const variable of ['WG_TUN_FD', 'WG_UAPI_FD']) {
        for (const value of ['x', '-1', '1.5', '999']) {
          const failed = await finish(fake('tuntap-wireguard', ...flags, 'x'), {
            env: { [variable]: value },
          });
          assert.equal(failed.status, 1, `${variable}=${value}`);
          assert.match(failed.stderr, /^tuntap-wireguard: .*\n$/);
        }
      }
    });
  }

  it('a name that is taken: status 1, and the first goes on', () =>
    withDaemon(async (namespace, name) => {
      assert.equal((await finish(fake('tuntap-wireguard', name), { namespace })).status, 0);
      const second = await finish(fake('tuntap-wireguard', name), { namespace });
      assert.equal(second.status, 1);
      assert.match(second.stderr, /^tuntap-wireguard: .*\n$/);
      assert.equal(wg('show', name).status, 0);
    }));

  for (const flags of [[], ['-f']]) {
    it(`adopts a TUN device and a control socket from its parent ${flags.join('')}`, function () {
      needs(this, 'python3');
      return withDaemon(async (namespace, name) => {
        const tun = openTun(name, { namespace });
        mkdirSync(SOCKETS, { recursive: true });
        const command = withSocket(`${SOCKETS}/${name}.sock`, 4, fake('tuntap-wireguard', ...flags, name));
        const env = { ...process.env, WG_TUN_FD: '3', WG_UAPI_FD: '4' };
        const child = namespace.spawn(command[0], command.slice(1), {
          stdio: ['ignore', 'inherit', 'pipe', tun.fd],
          env,
        });
        let stderr = '';
        child.stderr?.on('data', (data) => {
          stderr += data;
        });
        const ended = once(child, 'close');
        if (flags.length === 0) assert.deepEqual([(await ended)[0], stderr], [0, '']);
        await until(() => exists(`${SOCKETS}/${name}.sock`), 'the socket');
        assert.equal(wg('set', name, 'fwmark', '7').status, 0);
        await tun.close();
        assert.match(wg('show', name).stdout, /fwmark: 0x7/);
        assert.equal((await run(namespace, 'ip', 'link', 'show', name)).status, 0);
        if (flags.length > 0) {
          child.kill('SIGTERM');
          assert.equal((await ended)[0], 0);
        }
      });
    });
  }

  for (const [LOG_LEVEL, expected] of [
    ['verbose', /^DEBUG: \(NAME\) is there\n(DEBUG: \(NAME\) .*\n)*DEBUG: \(NAME\) is gone\n$/],
    ['debug', /handshake with/],
    ['error', /^$/],
    ['', /^$/],
    ['silent', /^$/],
  ] as const) {
    it(`LOG_LEVEL=${LOG_LEVEL}`, () =>
      inNamespace(async (namespace) => {
        const name = freeName();
        const running = new Running(fake('tuntap-wireguard', '-f', name), {
          namespace,
          env: { LOG_LEVEL, FAKE_EVENTS: '1' },
        });
        await until(() => exists(`${SOCKETS}/${name}.sock`), 'the socket');
        wg('set', name, 'peer', publicKey(generatePrivateKey()));
        if (LOG_LEVEL === 'silent') await new Promise((resolve) => setTimeout(resolve, 500));
        else await until(() => running.stderr.includes('second line'), 'the complaint');
        await running.stop('SIGINT');
        assert.match(running.stdout.replaceAll(name, 'NAME'), expected);
        const complaint = LOG_LEVEL === 'silent' ? '' : 'ERROR: (NAME) first line second line\n';
        assert.equal(running.stderr.replaceAll(name, 'NAME'), complaint);
      }));
  }

  it('the process in the background holds no pipe of its parent, nor its directory', () =>
    withDaemon(async (namespace, name) => {
      await finish(fake('tuntap-wireguard', name), { namespace }); // 'close' comes when all pipes are closed
      const { stdout } = await run(namespace, 'pgrep', '-f', `tuntap-wireguard.js --foreground -- ${name}$`);
      const pid = stdout.trim();
      assert.match(pid, /^\d+$/);
      assert.equal((await run(namespace, 'readlink', `/proc/${pid}/cwd`)).stdout, '/\n');
      // Its own session: signals of the terminal do not reach it.
      assert.equal(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')[3], pid);
    }));

  it('wg-quick uses it in place of wireguard-go', function () {
    needs(this, 'wg-quick', 'bash', 'nft');
    return withFolder((folder) =>
      inNamespace(async (namespace) => {
        const name = freeName();
        const program = join(folder, 'tuntap-wireguard');
        const words = fake('tuntap-wireguard').map((word) => `'${word}'`);
        writeFileSync(program, `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`);
        chmodSync(program, 0o755);
        const file = join(folder, `${name}.conf`);
        const key = publicKey(generatePrivateKey());
        const content = `[Interface]\nPrivateKey = ${generatePrivateKey()}\nAddress = 10.9.0.1/24\nListenPort = 7
[Peer]\nPublicKey = ${key}\nAllowedIPs = 0.0.0.0/0\nEndpoint = 192.0.2.1:9\n`;
        writeFileSync(file, content, { mode: 0o600 });
        const quick = (command: string) =>
          run(namespace, 'env', `WG_QUICK_USERSPACE_IMPLEMENTATION=${program}`, 'wg-quick', command, file);
        await (await namespace.link('lo')).set({ up: true });
        const up = await quick('up');
        assert.equal(up.status, 0, up.stderr);
        const shown = wg('show', name).stdout;
        assert.match(shown, /listening port: 7\n {2}fwmark: 0xca6c\n/);
        assert.match(shown, new RegExp(`peer: ${literally(key)}\n  endpoint: 192.0.2.1:9\n`));
        assert.match((await run(namespace, 'ip', 'link', 'show', name)).stdout, /<[^>]*UP[^>]*> mtu 1420/);
        assert.match(
          (await run(namespace, 'ip', 'route', 'show', 'table', '51820')).stdout,
          new RegExp(`default dev ${name}`),
        );
        const down = await quick('down');
        assert.equal(down.status, 0, down.stderr);
        await until(() => !exists(`${SOCKETS}/${name}.sock`), 'the end of the process in the background');
        assert.notEqual((await run(namespace, 'ip', 'link', 'show', name)).status, 0);
      }),
    );
  });
});

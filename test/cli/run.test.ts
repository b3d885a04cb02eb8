/** `tuntap-native run`, as root and as a user without capabilities, with wireguard-go at the other end. */

import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs } from '../support.ts';
import { needsReadable, USER } from '../unprivileged.ts';
import { content, withWebPeer } from '../wireguard/web-peer.ts';
import { fake, finish, killed, PARENT_AND_CHILD, Running, real } from './programs.ts';

describe('tuntap-native run', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'curl', 'ping', 'ip', 'wg', 'wireguard-go', 'setpriv', 'unshare');
  });

  for (const user of ['root', 'a user without capabilities']) {
    it(`gives a command the tunnel as its only network, and its name servers: ${user}`, async function () {
      if (user !== 'root') await needsReadable(this);
      await withWebPeer(async ({ a, file, asUser }) => {
        if (user !== 'root') chownSync(file, USER, USER);
        // The name is completed by the search domain, and looked up inside.
        const script = 'id -u; cat /etc/resolv.conf; ip -br link; curl -sS --max-time 20 http://web/; echo';
        const command = real('tuntap-native', 'run', file, '--', 'sh', '-c', script);
        const { stdout, stderr, status } = await finish(user === 'root' ? command : asUser(command), {
          namespace: a,
          env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' },
        });
        assert.equal(stderr, '');
        assert.equal(status, 0);
        assert.match(
          stdout,
          /^0\nnameserver 10\.9\.0\.2\nsearch example\.test\nlo +.*\nhome +.*\nthrough the tunnel\n$/,
        );
        assert.deepEqual((await a.links()).map(({ name }) => name).sort(), ['eth0', 'lo']);
      });
    });
  }

  it("ends as the command does: with its status, or by its signal; signals are the command's", () =>
    withWebPeer(async ({ a, file }) => {
      const status = async (...command: string[]) =>
        (await finish(real('tuntap-native', 'run', file, '--', ...command), { namespace: a })).status;
      assert.equal(await status('sh', '-c', 'exit 7'), 7);
      assert.equal(await status('no-such-command'), 127);
      assert.equal(await status('sh', '-c', 'kill -KILL $$'), 'SIGKILL');
      const running = new Running(
        real(
          'tuntap-native',
          'run',
          file,
          '--',
          'sh',
          '-c',
          'trap "echo got it; exit 3" TERM; echo ready; while :; do sleep 0.1; done',
        ),
        { namespace: a },
      );
      await running.printed(/ready/);
      await running.stop('SIGTERM');
      assert.deepEqual([running.status, running.stdout], [3, 'ready\ngot it\n']);
    }));

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    it(`a ${signal} before the command runs ends it by that signal, and undoes what was done`, () =>
      withWebPeer(async ({ a, folder, file }) => {
        const TMPDIR = join(folder, 'tmp');
        mkdirSync(TMPDIR);
        for (const where of [[], ['--device', 'wgrun0']]) {
          const { status, stdout, stderr } = await finish(
            fake('tuntap-native', 'run', file, ...where, '--', 'echo', 'ran'),
            { namespace: a, env: { FAKE_SIGNAL: signal, TMPDIR, PATH: '/usr/bin:/bin' } },
          );
          assert.deepEqual([status, stdout, stderr], [signal, '', '']);
          assert.deepEqual(readdirSync(TMPDIR), []);
          assert.deepEqual((await a.links()).map(({ name }) => name).sort(), ['eth0', 'lo']);
        }
      }));
  }

  it('takes the command and what that has started with it if it is killed, and leaves no file', () =>
    withWebPeer(async ({ a, folder, file }) => {
      const TMPDIR = join(folder, 'tmp');
      mkdirSync(TMPDIR);
      const running = new Running(real('tuntap-native', 'run', file, '--', ...PARENT_AND_CHILD), {
        namespace: a,
        env: { TMPDIR },
      });
      await killed(running);
      assert.deepEqual(readdirSync(TMPDIR), []);
    }));

  it('has the status 127 for a command that is not there, and 126 for one that can not run, with --device, too', () =>
    withWebPeer(async ({ a, file }) => {
      for (const [command, expected, message] of [
        ['no-such-command', 127, /no-such-command/],
        ['/etc/passwd', 126, /\/etc\/passwd/],
        ['/tmp', 126, /\/tmp/],
      ] as const) {
        for (const where of [[], ['--device', 'wgrun0']]) {
          const { status, stderr } = await finish(
            real('tuntap-native', 'run', file, ...where, '--', command, 'argument'),
            { namespace: a, env: { PATH: '/usr/bin:/bin' } },
          );
          assert.equal(status, expected, `${where} ${command}`);
          const errors = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Warning: '));
          assert.equal(errors.length, 1, stderr);
          assert.match(errors[0], message);
        }
      }
      assert.deepEqual((await a.links()).map(({ name }) => name).sort(), ['eth0', 'lo']);
    }));

  it('says what it leaves out, and what is wrong, with status 2 and 1', () =>
    withWebPeer(async ({ a, file, folder }) => {
      writeFileSync(file, content('PostUp = false'));
      const warning = async () =>
        (await finish(real('tuntap-native', 'run', file, '--', 'true'), { namespace: a })).stderr;
      assert.match(
        await warning(),
        /^Warning: PostUp of .* does not run: there is no other network to guard$/m,
      );
      writeFileSync(file, content('PostUp = false\nPreDown = false'));
      assert.match(await warning(), /^Warning: PostUp, PreDown of .* do not run: /m);
      const missing = await finish(real('tuntap-native', 'run', file), { namespace: a });
      assert.equal(missing.status, 2);
      const args = ['run', file, '--device', '', '--', 'true'];
      const nameless = await finish(real('tuntap-native', ...args), { namespace: a });
      assert.match(nameless.stderr, /"--device" argument must not be empty/);
      assert.equal(nameless.status, 2);
      const wrong = join(folder, 'wrong.conf');
      writeFileSync(wrong, '[Interface]\nPrivateKey = x\n', { mode: 0o600 });
      const refused = await finish(real('tuntap-native', 'run', wrong, '--', 'true'), { namespace: a });
      assert.deepEqual([refused.status, refused.stderr.split('\n').length], [1, 2]);
    }));

  it('makes the tunnel a device of the machine with --device, until the command has ended', () =>
    withWebPeer(async ({ a, file }) => {
      const script = 'curl -sS http://10.9.0.2/; echo; ip -br link show dev wgrun0; exit 4';
      const args = ['run', file, '--device', 'wgrun0', '--', 'sh', '-c', script];
      const { stdout, status } = await finish(real('tuntap-native', ...args), {
        namespace: a,
        env: { PATH: '/nowhere:/usr/bin:/bin:/usr/sbin:/sbin' },
      });
      assert.match(stdout, /^through the tunnel\nwgrun0 .*\n$/);
      assert.equal(status, 4);
      assert.deepEqual((await a.links()).map(({ name }) => name).sort(), ['eth0', 'lo']);
    }));
});

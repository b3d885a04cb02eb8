/** `tuntap-native run`, as root and as a user without capabilities, with wireguard-go at the other end. */

import assert from 'node:assert/strict';
import { chownSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { needs } from '../support.ts';
import { needsReadable, USER } from '../unprivileged.ts';
import { until } from '../wireguard/oracle.ts';
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

  it('leaves FwMark out, with a warning, for a user who may not mark packets', async function () {
    await needsReadable(this);
    await withWebPeer(async ({ a, file, asUser }) => {
      writeFileSync(file, content('FwMark = 7'));
      chownSync(file, USER, USER);
      const command = asUser(real('tuntap-native', 'run', file, '--', 'curl', '-sS', 'http://10.9.0.2/'));
      const { stdout, stderr, status } = await finish(command, { namespace: a });
      const warning = 'Warning: FwMark is left out: marking packets needs CAP_NET_ADMIN\n';
      assert.deepEqual([stdout, stderr, status], ['through the tunnel', warning, 0]);
    });
  });

  it('lets nothing out beside the tunnel, also once the peer is gone, and the device', async function () {
    needs(this, 'tcpdump');
    await withWebPeer(async ({ a, b, folder, file }) => {
      const { mac } = await (await a.link('eth0')).get();
      // Neighbor discovery and multicast groups are of the host itself.
      const filter = `ether src ${mac} and not arp and not (icmp6 and ip6[40] >= 130) and not ip6[6] = 0
        and not (udp and src host 192.0.2.1 and dst host 192.0.2.2 and dst port 51820)`;
      const dump = new Running(['tcpdump', '-nqtl', '-i', 'eth0', filter], { namespace: b });
      await until(() => dump.stderr.includes('listening on'), dump.stderr);
      const script = `
        attempt() {
          for host in 10.9.0.2 192.0.2.2 198.51.100.1 2001:db8::2; do ping -n -c1 -W0.3 $host; done >/dev/null 2>&1
          for host in web 192.0.2.2 '[2001:db8::2]'; do curl -s --max-time 0.5 http://$host/; done
          echo; echo $1
        }
        attempt 'with the tunnel'
        until [ -e ${folder}/peer-is-gone ]; do sleep 0.05; done
        attempt 'without the peer'
        ip link delete home
        attempt 'without the device'`;
      const running = new Running(real('tuntap-native', 'run', file, '--', 'sh', '-c', script), {
        namespace: a,
      });
      await running.printed(/with the tunnel/);
      for (const { name } of await b.links()) {
        if (name !== 'lo' && name !== 'eth0') await (await b.link(name)).set({ up: false });
      }
      writeFileSync(join(folder, 'peer-is-gone'), '');
      await running.printed(/without the device/);
      await running.ended;
      assert.match(
        running.stdout,
        /^through the tunnel\nwith the tunnel\n\nwithout the peer\n\nwithout the device\n$/,
      );
      // And tcpdump would have seen it.
      await finish(['ping', '-n', '-c1', '192.0.2.2'], { namespace: a });
      await until(() => dump.stdout.includes('192.0.2.1'), 'a packet');
      await dump.stop('SIGTERM');
      assert.match(dump.stdout.trim(), /^IP 192\.0\.2\.1 > 192\.0\.2\.2: ICMP echo request, [^\n]*$/);
    });
  });

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

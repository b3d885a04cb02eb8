import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from 'tuntap-native/wireguard';
import { literally, needs, run } from '../support.ts';
import { exists, SOCKETS, until, wg, withFolder } from '../wireguard/oracle.ts';
import { fake, finish, Running } from './programs.ts';
import { A, B, FILE, PRIVATE, PSK, surroundings, withSetup } from './up-support.ts';

describe('tuntap-native up', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ip', 'wg', 'bash');
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`brings up all of a file, and at ${signal} takes it down again`, () =>
      withSetup(FILE, async ({ namespace, name, start }) => {
        const before = await surroundings(namespace);
        const running = start();
        await running.printed(/ is up, with 2 peers\n/);
        const { stdout: addresses } = await run(namespace, 'ip', '-o', 'addr', 'show', 'dev', name);
        assert.match(addresses, /10\.9\.0\.1\/24(.*\n)*.*fd09::1\/64/);
        assert.match((await run(namespace, 'ip', 'link', 'show', name)).stdout, /mtu 1380/);
        assert.match((await run(namespace, 'ip', 'route')).stdout, new RegExp(`10.20.0.0/16 dev ${name}`));
        assert.match((await run(namespace, 'ip', 'rule')).stdout, /not from all fwmark 0xca6c lookup 51820/);
        const shown = wg('showconf', name).stdout;
        const { peers, privateKey, listenPort, fwmark } = parseConfig(shown);
        assert.deepEqual(
          { privateKey, listenPort, fwmark },
          { privateKey: PRIVATE, listenPort: 51999, fwmark: 51820 },
        );
        assert.deepEqual(peers, [
          {
            publicKey: A,
            presharedKey: PSK,
            endpoint: '192.0.2.1:51820',
            allowedIps: ['10.9.0.2/32', '10.20.0.0/16'],
            persistentKeepalive: 25,
          },
          { publicKey: B, allowedIps: ['0.0.0.0/0', '::/0'] },
        ]);
        await running.stop(signal);
        assert.deepEqual([running.status, running.stderr], [0, '']);
        assert.equal(running.stdout, `${name} is up, with 2 peers\n${name} is down\n`);
        assert.equal(await surroundings(namespace), before);
        assert.ok(!exists(`${SOCKETS}/${name}.sock`));
      }));
  }

  it('further signals do not keep it from cleaning up', () =>
    withSetup(`${FILE}[Interface]\nPreDown = sleep 0.5\n`, async ({ namespace, start }) => {
      const before = await surroundings(namespace);
      const running = start(['--hooks']);
      await running.printed(/ is up/);
      running.tell('SIGINT');
      await running.printed(/sleep/);
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGINT'] as const) running.tell(signal);
      await running.ended;
      assert.equal(running.status, 0);
      assert.equal(await surroundings(namespace), before);
    }));

  it('ends when the interface is removed from outside, and says so', () =>
    withSetup(FILE, async ({ namespace, name, start }) => {
      const before = await surroundings(namespace);
      const running = start();
      await running.printed(/ is up/);
      await run(namespace, 'ip', 'link', 'delete', name);
      await running.ended;
      assert.equal(running.status, 1);
      assert.equal(running.stderr, `tuntap-native: ${name} was removed from outside\n`);
      assert.equal(await surroundings(namespace), before);
    }));

  it('ends while it still opens the tunnel', () =>
    withSetup(FILE, async ({ namespace, start }) => {
      const before = await surroundings(namespace);
      const running = start([], { FAKE_SLOW: '1' });
      await running.printed(/opening/);
      await running.stop('SIGINT');
      assert.deepEqual([running.status, running.stdout, running.stderr], [0, 'opening\n', '']);
      assert.equal(await surroundings(namespace), before);
    }));

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`a ${signal} while the tunnel is being opened undoes what was done, with status 0 as one that comes later`, () =>
      withSetup(FILE, async ({ namespace, start }) => {
        const before = await surroundings(namespace);
        const running = start([], { FAKE_SIGNAL: signal });
        await running.ended;
        assert.deepEqual([running.status, running.stdout, running.stderr], [0, '', '']);
        assert.equal(await surroundings(namespace), before);
      }));
  }

  it('a step that fails is one line, and all before it is undone', () =>
    withSetup(FILE, async ({ namespace, start }) => {
      await namespace.addRoute({ destination: '10.20.0.0/16', device: 'eth0' });
      const before = await surroundings(namespace);
      const running = start();
      await running.ended;
      assert.equal(running.status, 1);
      assert.match(running.stderr, /^tuntap-native: EEXIST: .*\n$/);
      assert.equal(await surroundings(namespace), before);
    }));

  it('a failure to open is one line, whatever its message', () =>
    withSetup(FILE, async ({ start }) => {
      const running = start([], { FAKE_FAILURE: 'a\n  b' });
      await running.ended;
      assert.deepEqual([running.status, running.stderr], [1, 'tuntap-native: a b\n']);
    }));

  const wrong: [what: string, name: string, content: string, message: RegExp][] = [
    ['a file that is not there', 'none.conf', '', /ENOENT.*none\.conf/],
    ['a name without .conf', 'wg0.txt', '', /must be the interface's/],
    ['a name that is too long', 'abcdefghijklmnop.conf', '', /must be the interface's/],
    ['a name with odd characters', 'w g.conf', '', /must be the interface's/],
    ['no name', '.conf', '', /must be the interface's/],
    [
      'a wrong line',
      'wg9.conf',
      `[Interface]\nPrivateKey = ${PRIVATE}x\n`,
      /wg9\.conf: line 2: PrivateKey must be/,
    ],
    ['a peer without key', 'wg9.conf', '[Interface]\n\n[Peer]\n', /line 3: this \[Peer\] has no PublicKey/],
  ];
  for (const [what, name, content, message] of wrong) {
    it(`${what}: one line and status 1`, () =>
      withFolder(async (folder) => {
        if (content || name !== 'none.conf') writeFileSync(join(folder, name), content, { mode: 0o600 });
        const { status, stdout, stderr } = await finish(fake('tuntap-native', 'up', join(folder, name)));
        assert.deepEqual([status, stdout], [1, '']);
        assert.match(stderr, /^tuntap-native: [^\n]*\n$/);
        assert.match(stderr, message);
        assert.ok(!stderr.includes(PRIVATE.slice(0, 6)));
      }));
  }

  it('a name alone is that of a file in /etc/wireguard', async () => {
    const { stderr, status } = await finish(fake('tuntap-native', 'up', 'no-such-name'));
    assert.match(stderr, /'\/etc\/wireguard\/no-such-name\.conf'/);
    assert.equal(status, 1);
  });

  it('warns of a file that everybody can read, and of what is hardly meant', () =>
    withSetup(`${FILE}AllowedIPs = 10.30.0.1/16\n`, async ({ file, start, folder }) => {
      chmodSync(file, 0o644);
      chmodSync(folder, 0o755);
      const running = start();
      await running.printed(/ is up/);
      await running.stop('SIGINT');
      assert.match(
        running.stderr,
        /^Warning: .*everybody can read.*\nWarning: .*: line 15: AllowedIPs has bits.*\n$/,
      );
      assert.equal(running.status, 0);
      // What nobody else can reach, nobody else can read.
      chmodSync(folder, 0o700);
      const quiet = start();
      await quiet.printed(/ is up/);
      await quiet.stop('SIGINT');
      assert.doesNotMatch(quiet.stderr, /everybody/);
    }));

  it('logs a line for each event, elsewhere than on a terminal', () =>
    withSetup(FILE, async ({ name, start }) => {
      const running = start([], { FAKE_EVENTS: '1' });
      await running.printed(/expired/);
      await running.printed(/is up/);
      await running.stop('SIGINT');
      const peer = `${name}: peer ${A.slice(0, 8)}…`;
      // The events do not wait until it is up.
      const events = running.stdout.split('\n').filter((line) => !/^$| is (up|down)/.test(line));
      assert.deepEqual(events, [
        `${peer}: handshake with 192.0.2.1:51820`,
        `${peer}: is at 192.0.2.77:7 now`,
        `${name}: first line second line`,
        `${peer}: does not answer, its keys have expired`,
      ]);
      assert.ok(!running.stdout.includes('\x1b'));
    }));

  it('keeps a line per peer up to date on a terminal', () =>
    withSetup(FILE, async ({ namespace, name, file }) => {
      const command = fake('tuntap-native', 'up', file)
        .map((word) => `'${word}'`)
        .join(' ');
      const env = { FAKE_EVENTS: '1', TERM: 'xterm' };
      const terminal = new Running(
        ['script', '-qefc', `stty cols 100 rows 20; exec ${command}`, '/dev/null'],
        { namespace, env },
      );
      await terminal.printed(/handshake [1-9] s ago/);
      const pid = (await run(namespace, 'pgrep', '-f', `fake-tuntap-native.js up ${file}`)).stdout
        .trim()
        .split('\n');
      process.kill(Number(pid.at(-1)), 'SIGINT');
      await terminal.ended;
      assert.equal(terminal.status, 0);
      const frames = terminal.stdout.replaceAll('\r', '').split('\x1b[2A\x1b[0J');
      assert.ok(frames.length > 3);
      const status = frames.find((frame) => frame.includes('192.0.2.77:7')) ?? '';
      assert.match(
        status,
        new RegExp(
          `${literally(A.slice(0, 8))}…  192\\.0\\.2\\.77:7  handshake \\d+ s ago  in \\d+ B/s  out 0 B/s`,
        ),
      );
      assert.match(
        status,
        new RegExp(`${literally(B.slice(0, 8))}…  no endpoint +no handshake yet +in 0 B/s  out 0 B/s`),
      );
      assert.match(terminal.stdout, new RegExp(`${name}: peer ${literally(A.slice(0, 8))}…: handshake with`));
      assert.match(terminal.stdout, new RegExp(`${name} is down\r\n$`));
    }));

  it('two with one name: the second one is refused, the first goes on', () =>
    withSetup(FILE, async ({ name, start }) => {
      const first = start();
      await first.printed(/ is up/);
      const second = start();
      await second.ended;
      assert.equal(second.status, 1);
      assert.match(second.stderr, /^tuntap-native: .*\n$/);
      assert.match(wg('show', name).stdout, /interface/);
      await until(() => first.status === undefined, 'the first');
      await first.stop('SIGINT');
      assert.equal(first.status, 0);
    }));
});

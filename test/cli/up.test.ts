import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { NetworkNamespace } from 'tuntap-native/net';
import { generatePresharedKey, generatePrivateKey, parseConfig, publicKey } from 'tuntap-native/wireguard';
import { inNamespace, needs, run } from '../support.ts';
import { exists, freeName, SOCKETS, until, wg, withFolder } from '../wireguard/oracle.ts';
import { fake, finish, Running } from './programs.ts';

const PRIVATE = generatePrivateKey();
const A = publicKey(generatePrivateKey());
const B = publicKey(generatePrivateKey());
const PSK = generatePresharedKey();

interface Setup {
  readonly namespace: NetworkNamespace;
  readonly folder: string;
  readonly name: string;
  readonly file: string;
  /** Starts the command; it ends with the test. */
  start(args?: string[], env?: NodeJS.ProcessEnv): Running;
}

/** A namespace with a link, and a file of that content (NAME and FOLDER stand for themselves). */
async function withSetup(content: string, body: (setup: Setup) => Promise<void>): Promise<void> {
  await withFolder((folder) =>
    inNamespace(async (namespace) => {
      const name = freeName();
      const file = join(folder, `${name}.conf`);
      writeFileSync(file, content.replaceAll('FOLDER', folder).replaceAll('NAME', name), { mode: 0o600 });
      await namespace.addLink({ kind: 'veth', name: 'eth0', peer: { name: 'eth1' } });
      for (const link of ['lo', 'eth0', 'eth1']) await (await namespace.link(link)).set({ up: true });
      await (await namespace.link('eth0')).addAddress('192.168.1.2/24');
      await namespace.addRoute({ destination: 'default', via: '192.168.1.1' });
      const started: Running[] = [];
      const start = (args: string[] = [], env: NodeJS.ProcessEnv = {}): Running => {
        const running = new Running(fake('tuntap-native', 'up', file, ...args), { namespace, env });
        started.push(running);
        return running;
      };
      try {
        await body({ namespace, folder, name, file, start });
      } finally {
        for (const running of started) await running.stop('SIGKILL');
      }
    }),
  );
}

/** Links, routes, rules and firewall of a namespace. */
async function surroundings(namespace: NetworkNamespace): Promise<string> {
  const lists = [
    ['ip', '-o', 'link'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', 'rule'],
    ['ip', '-6', 'rule'],
    ['nft', 'list', 'ruleset'],
  ];
  const outputs: string[] = [];
  for (const [program, ...args] of lists) outputs.push((await run(namespace, program, ...args)).stdout);
  const lines = outputs
    .join('\n')
    .replace(/ state \w+/g, '')
    .split('\n');
  // The kernel gives link-local addresses when it likes.
  return lines.filter((line) => !line.includes('fe80')).join('\n');
}

/** A resolvconf that writes what it is told into FOLDER/resolvconf.log. */
function fakeResolvconf(folder: string, status = 0): NodeJS.ProcessEnv {
  const path = join(folder, 'resolvconf');
  writeFileSync(path, `#!/bin/sh\n{ echo "$@"; cat; } >> ${folder}/resolvconf.log\nexit ${status}\n`);
  chmodSync(path, 0o755);
  return { PATH: `${folder}:${process.env.PATH}` };
}

/** A PATH with Node's tools but without resolvconf and nft. */
function bareEnv(folder: string): NodeJS.ProcessEnv {
  symlinkSync('/bin/bash', join(folder, 'bash'));
  return { PATH: folder };
}

const FILE = `[Interface]
PrivateKey = ${PRIVATE}
ListenPort = 51999
Address = 10.9.0.1/24, fd09::1/64
MTU = 1380
[Peer]
PublicKey = ${A}
PresharedKey = ${PSK}
Endpoint = 192.0.2.1:51820
AllowedIPs = 10.9.0.2/32, 10.20.0.0/16
PersistentKeepalive = 25
[Peer]
PublicKey = ${B}
AllowedIPs = 0.0.0.0/0, ::/0
`;

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
      running.child.kill('SIGINT');
      await running.printed(/sleep/);
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGINT'] as const) running.child.kill(signal);
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
      assert.deepEqual([running.status, running.stderr], [1, 'tuntap-native: interrupted\n']);
      assert.equal(await surroundings(namespace), before);
    }));

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
      await running.stop('SIGINT');
      const peer = `${name}: peer ${A.slice(0, 8)}…`;
      assert.deepEqual(running.stdout.split('\n').slice(1, -2), [
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
        new RegExp(`${A.slice(0, 8)}…  192\\.0\\.2\\.77:7  handshake \\d+ s ago  in \\d+ B/s  out 0 B/s`),
      );
      assert.match(
        status,
        new RegExp(`${B.slice(0, 8)}…  no endpoint +no handshake yet +in 0 B/s  out 0 B/s`),
      );
      assert.match(terminal.stdout, new RegExp(`${name}: peer ${A.slice(0, 8)}…: handshake with`));
      assert.match(terminal.stdout, new RegExp(`${name} is down\r\n$`));
    }));

  describe('hooks', () => {
    const hooks = `[Interface]
Address = 10.9.0.1/24
PreUp = echo preup %i %i >> FOLDER/log; ip link show NAME || echo absent >> FOLDER/log
PostUp = echo postup $(ip -o link show NAME | wc -l) >> FOLDER/log # a comment for bash
PostUp = [[ bash == b* ]] && echo bash >> FOLDER/log
PreDown = echo predown $(ip -o link show NAME | wc -l) >> FOLDER/log
PostDown = echo postdown >> FOLDER/log; ip link show NAME || echo absent >> FOLDER/log
`;

    it('are refused without --hooks, and nothing happens', () =>
      withSetup(hooks, async ({ namespace, start, folder }) => {
        const before = await surroundings(namespace);
        const running = start();
        await running.ended;
        assert.equal(running.status, 1);
        assert.match(
          running.stderr,
          /has commands \(PreUp, PostUp, PreDown, PostDown\), which run only with --hooks\n$/,
        );
        assert.ok(!existsSync(join(folder, 'log')));
        assert.equal(await surroundings(namespace), before);
      }));

    it('run in their order with --hooks', () =>
      withSetup(hooks, async ({ name, folder, start }) => {
        const running = start(['--hooks']);
        await running.printed(/ is up/);
        await running.stop('SIGTERM');
        assert.equal(running.status, 0, running.stderr);
        const expected = `preup ${name} ${name}\nabsent\npostup 1\nbash\npredown 1\npostdown\nabsent\n`;
        assert.equal(readFileSync(join(folder, 'log'), 'utf8'), expected);
      }));

    for (const [kind, log] of [
      ['PreUp', ''],
      ['PostUp', 'preup\n'],
    ] as const) {
      it(`a ${kind} that fails undoes all`, () =>
        withSetup(
          `${FILE}[Interface]\n${kind === 'PreUp' ? '' : 'PreUp = echo preup >> FOLDER/log\n'}${kind} = exit 3\nPostDown = echo down >> FOLDER/log\n`,
          async ({ namespace, folder, start }) => {
            const before = await surroundings(namespace);
            const running = start(['--hooks']);
            await running.ended;
            assert.equal(running.status, 1);
            assert.match(running.stderr, /tuntap-native: the hook 'exit 3' ended with status 3\n$/);
            assert.equal(
              existsSync(join(folder, 'log')) ? readFileSync(join(folder, 'log'), 'utf8') : '',
              log,
            );
            assert.equal(await surroundings(namespace), before);
          },
        ));
    }

    it('a PreDown that fails is told, and does not keep the tunnel up', () =>
      withSetup(
        `${FILE}[Interface]\nPreDown = false\nPostDown = echo down >> FOLDER/log\n`,
        async ({ namespace, folder, name, start }) => {
          const before = await surroundings(namespace);
          const running = start(['--hooks']);
          await running.printed(/ is up/);
          await running.stop('SIGINT');
          assert.equal(running.status, 1);
          assert.equal(running.stderr, `${name}: the hook 'false' ended with status 1\n`);
          assert.equal(readFileSync(join(folder, 'log'), 'utf8'), 'down\n');
          assert.equal(await surroundings(namespace), before);
        },
      ));
  });

  describe('DNS', () => {
    const dns = `[Interface]\nDNS = 192.0.2.53, 2001:db8::53, example.org\nDNS = corp.example\n`;

    it('goes to resolvconf, and is taken back', () =>
      withSetup(dns, async ({ folder, name, start }) => {
        const running = start([], fakeResolvconf(folder));
        await running.printed(/ is up/);
        const log = join(folder, 'resolvconf.log');
        const added = `-a ${name} -m 0 -x\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org corp.example\n`;
        assert.equal(readFileSync(log, 'utf8'), added);
        await running.stop('SIGINT');
        assert.equal(readFileSync(log, 'utf8'), `${added}-d ${name} -f\n`);
        assert.deepEqual([running.status, running.stderr], [0, '']);
      }));

    it('is left alone without resolvconf, and that is told', () =>
      withSetup(dns, async ({ folder, start }) => {
        const running = start([], bareEnv(folder));
        await running.printed(/ is up/);
        await running.stop('SIGINT');
        assert.match(running.stderr, /^Warning: DNS is left alone: resolvconf is not installed.*\n$/);
        assert.equal(running.status, 0);
      }));

    it('search domains alone change nothing, as with wg-quick', () =>
      withSetup('[Interface]\nDNS = example.org\n', async ({ folder, start }) => {
        const running = start([], fakeResolvconf(folder));
        await running.printed(/ is up/);
        await running.stop('SIGINT');
        assert.ok(!existsSync(join(folder, 'resolvconf.log')));
      }));

    it('a resolvconf that fails undoes all', () =>
      withSetup(dns, async ({ namespace, folder, start }) => {
        const before = await surroundings(namespace);
        const running = start([], fakeResolvconf(folder, 7));
        await running.ended;
        assert.deepEqual(
          [running.status, running.stderr],
          [1, 'tuntap-native: resolvconf ended with status 7\n'],
        );
        assert.equal(await surroundings(namespace), before);
      }));
  });

  describe('SaveConfig', () => {
    it('writes what has changed, and keeps what wg does not know', () =>
      withSetup(
        `${FILE}[Interface]\nSaveConfig = true\nTable = 777\nDNS = example.org\nPostUp = true # kept\n`,
        async ({ namespace, name, file, start }) => {
          const running = start(['--hooks']);
          await running.printed(/ is up/);
          wg('set', name, 'listen-port', '7', 'fwmark', '9', 'peer', B, 'remove');
          wg(
            'set',
            name,
            'peer',
            A,
            'endpoint',
            '[2001:db8::7]:7',
            'allowed-ips',
            '10.8.0.0/16',
            'persistent-keepalive',
            'off',
          );
          await run(namespace, 'ip', 'address', 'add', '10.10.0.1/24', 'dev', name);
          await run(namespace, 'ip', 'link', 'set', name, 'mtu', '1333');
          await running.stop('SIGINT');
          assert.deepEqual([running.status, running.stderr], [0, '']);
          const { addresses, ...rest } = parseConfig(readFileSync(file, 'utf8'));
          assert.deepEqual([...addresses].sort(), ['10.10.0.1/24', '10.9.0.1/24', 'fd09::1/64']);
          assert.deepEqual(rest, {
            ...{ privateKey: PRIVATE, listenPort: 7, fwmark: 9, mtu: 1333, routes: 777, saveConfig: true },
            ...{
              dns: [],
              searchDomains: ['example.org'],
              preUp: [],
              postUp: ['true # kept'],
              preDown: [],
              postDown: [],
            },
            peers: [
              { publicKey: A, presharedKey: PSK, endpoint: '[2001:db8::7]:7', allowedIps: ['10.8.0.0/16'] },
            ],
          });
          assert.equal(statSync(file).mode & 0o7777, 0o600);
          assert.ok(!existsSync(`${file}.tmp`));
        },
      ));

    it('replaces the file behind a symbolic link, and makes it private', () =>
      withSetup(`${FILE}[Interface]\nSaveConfig = true\n`, async ({ namespace, file, name, folder }) => {
        const other = join(folder, 'sub');
        await run(namespace, 'mkdir', other);
        const link = join(other, `${name}.conf`);
        symlinkSync(file, link);
        chmodSync(file, 0o644);
        const running = new Running(fake('tuntap-native', 'up', link), { namespace });
        await running.printed(/ is up/);
        wg('set', name, 'listen-port', '8');
        await running.stop('SIGINT');
        assert.match(readFileSync(file, 'utf8'), /ListenPort = 8\n/);
        assert.equal(statSync(file).mode & 0o777, 0o600);
        assert.equal(readFileSync(link, 'utf8'), readFileSync(file, 'utf8'));
      }));

    it('leaves the old file where it can not write, and takes down all the same', () =>
      withSetup(`${FILE}[Interface]\nSaveConfig = true\n`, async ({ namespace, file, name, start }) => {
        const before = await surroundings(namespace);
        const text = readFileSync(file, 'utf8');
        const running = start();
        await running.printed(/ is up/);
        await run(namespace, 'chattr', '+i', dirname(file));
        const blocked = (await run(namespace, 'touch', join(dirname(file), 'x'))).status !== 0;
        await running.stop('SIGINT');
        await run(namespace, 'chattr', '-i', dirname(file));
        assert.equal(await surroundings(namespace), before);
        if (!blocked) return; // a file system without attributes
        assert.equal(running.status, 1);
        assert.match(running.stderr, new RegExp(`^${name}: EPERM.*\n$`));
        assert.equal(readFileSync(file, 'utf8'), text);
      }));
  });

  describe('firewall', () => {
    before(function () {
      needs(this, 'nft');
    });

    it('drops packets for the tunnel that come by other links, for the families that it takes all of', () =>
      withSetup(FILE.replace(', ::/0', ''), async ({ namespace, name, start }) => {
        const running = start();
        await running.printed(/ is up/);
        const { stdout } = await run(namespace, 'nft', 'list', 'ruleset');
        assert.match(stdout, new RegExp(`table ip tuntap-native-${name} {`));
        assert.match(
          stdout,
          new RegExp(`iifname != "${name}" ip daddr 10.9.0.1 fib saddr type != local drop`),
        );
        assert.match(stdout, /mark 0x0000ca6c ct mark set (meta )?mark/);
        assert.doesNotMatch(stdout, /table ip6/);
        await running.stop('SIGINT');
        assert.equal((await run(namespace, 'nft', 'list', 'ruleset')).stdout, '');
        assert.equal(running.stderr, '');
      }));

    it('none for a tunnel that takes some networks', () =>
      withSetup(FILE.replace('0.0.0.0/0, ::/0', '10.0.0.0/8'), async ({ namespace, start }) => {
        const running = start();
        await running.printed(/ is up/);
        assert.equal((await run(namespace, 'nft', 'list', 'ruleset')).stdout, '');
        await running.stop('SIGINT');
      }));
  });

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

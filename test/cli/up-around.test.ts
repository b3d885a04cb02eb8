import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseConfig } from 'tuntap-native/wireguard';
import { needs, run } from '../support.ts';
import { wg } from '../wireguard/oracle.ts';
import { fake, Running } from './programs.ts';
import { A, B, bareEnv, FILE, fakeResolvconf, PRIVATE, PSK, surroundings, withSetup } from './up-support.ts';

describe('tuntap-native up, beside the tunnel', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ip', 'wg', 'bash');
  });

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
});

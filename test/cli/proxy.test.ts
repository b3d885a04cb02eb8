/** `tuntap-native proxy`, as root and as a user without capabilities, with curl inside. */

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openUdp } from 'tuntap-native/tunnel';
import { type ProxyOptions, TestProxy } from '../intercept/proxy-servers.ts';
import { inNamespace, itAsRoot, moduleArguments, NODE, needs } from '../support.ts';
import { AS_USER, needsReadable, TUN_FOR_ALL, withDevNet } from '../unprivileged.ts';
import { finish, killed, PARENT_AND_CHILD, Running, real } from './programs.ts';

const PATH = { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' };
/** What a shell runs a module by. Not in Deno, whose dgram tells of no error of a connected socket. */
const evaluate = (source: string): string => `${NODE} --input-type=module -e "${source}"`;
const ASK = `
  import { createSocket } from 'node:dgram';
  const socket = createSocket('udp4');
  const end = (text) => { console.log(text); socket.close(); };
  socket.on('message', (bytes) => end(String(bytes)));
  socket.on('error', ({ code }) => end(code));
  socket.connect(7, 'echo.example', () => socket.send('asked'));`;

/** A web server and a UDP server, and a proxy that leads to them whatever is asked for. */
async function withProxy(
  scheme: 'socks5' | 'http',
  options: Partial<ProxyOptions>,
  body: (proxy: TestProxy) => Promise<void>,
): Promise<void> {
  const web = createServer((request, response) => response.end(`${request.headers.host} by the proxy\n`));
  web.listen(0, '127.0.0.1');
  await once(web, 'listening');
  const echo = createSocket('udp4');
  echo.on('message', (bytes, { port, address }) => echo.send(`${bytes} and answered`, port, address));
  echo.bind(0, '127.0.0.1');
  await once(echo, 'listening');
  const port = (asked: number) => ((asked === 7 ? echo : web).address() as AddressInfo).port;
  const route = (host: string, asked: number) =>
    host === 'refused.example' ? 'ECONNREFUSED' : { host: '127.0.0.1', port: port(asked) };
  try {
    await using proxy = await TestProxy.start(scheme, { route, ...options });
    await body(proxy);
  } finally {
    web.closeAllConnections();
    web.close();
    echo.close();
  }
}

/** A SOCKS5 server's part of an association for UDP, which it sends to an address and port. */
function associate(socket: Socket, address: readonly number[], port: number): void {
  socket
    .on('error', () => {})
    .once('data', () => {
      socket.write(Buffer.of(5, 0));
      socket.once('data', () => socket.write(Buffer.of(5, 0, 0, 1, ...address, port >> 8, port & 0xff)));
    });
}

describe('tuntap-native proxy', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'curl', 'ip', 'setpriv', 'unshare');
  });

  for (const user of ['root', 'a user without capabilities']) {
    for (const scheme of ['socks5', 'http'] as const) {
      it(`sends all of a command's traffic through the proxy, names and UDP included: ${scheme}, ${user}`, async function () {
        if (user !== 'root') await needsReadable(this);
        await withProxy(scheme, { user: 'me', password: 'se:cret' }, async (proxy) => {
          const script = [
            'id -u',
            'ip -br link',
            'curl -sS http://site.example/',
            'curl -sS http://203.0.113.9/',
            "curl -sS -g 'http://[2001:db8::5]/'",
            'curl -s http://refused.example/ || echo $?',
            evaluate(ASK),
          ].join('; ');
          const to = proxy.url('me:se%3Acret@');
          const command = real('tuntap-native', 'proxy', '--to', to, '--', 'sh', '-c', script);
          const whole = user === 'root' ? command : withDevNet(TUN_FOR_ALL, [...AS_USER, ...command]);
          const { stdout, stderr, status } = await finish(whole, { env: PATH });
          assert.equal(stderr, '');
          assert.equal(status, 0);
          const [id, ...lines] = stdout
            .replace(/^(lo|tun0) .*\n/gm, '')
            .trimEnd()
            .split('\n');
          assert.equal(id, '0');
          assert.equal(stdout.match(/^(lo|tun0) /gm)?.length, 2);
          assert.deepEqual(lines, [
            'site.example by the proxy',
            '203.0.113.9 by the proxy',
            '[2001:db8::5] by the proxy',
            '7',
            scheme === 'socks5' ? 'asked and answered' : 'ECONNREFUSED',
          ]);
          const named = proxy.asked.filter((asked) => asked !== 'refused.example:80');
          assert.deepEqual(named, [
            'site.example:80',
            '203.0.113.9:80',
            '2001:db8::5:80',
            ...(scheme === 'socks5' ? ['udp echo.example:7'] : []),
          ]);
        });
      });
    }
  }

  it("ends as the command does: with its status, or by its signal; signals are the command's", () =>
    withProxy('socks5', {}, async (proxy) => {
      const behind = (...command: string[]) =>
        real('tuntap-native', 'proxy', '--to', proxy.url(), '--', ...command);
      assert.equal((await finish(behind('sh', '-c', 'exit 7'))).status, 7);
      for (const more of [[], ['--device', 'tun7']]) {
        const run = (command: string) =>
          inNamespace(async (namespace) => {
            const args = ['--to', proxy.url(), ...more, '--', command];
            return (await finish(real('tuntap-native', 'proxy', ...args), { namespace })).status;
          });
        assert.equal(await run('no-such-command'), 127);
        assert.equal(await run('/etc/passwd'), 126);
      }
      assert.equal((await finish(behind('sh', '-c', 'kill -KILL $$'))).status, 'SIGKILL');
      const script = 'trap "echo got it; exit 3" TERM; echo ready; while :; do sleep 0.1; done';
      const running = new Running(behind('sh', '-c', script));
      await running.printed(/ready/);
      await running.stop('SIGTERM');
      assert.deepEqual([running.status, running.stdout], [3, 'ready\ngot it\n']);
    }));

  it('tells two names at one port apart where the proxy does', async () => {
    const echoes = ['one', 'two'].map((name) => {
      const echo = createSocket('udp4').bind(0, '127.0.0.1');
      return echo.on('message', (_, { port, address }) => echo.send(name, port, address));
    });
    await Promise.all(echoes.map((echo) => once(echo, 'listening')));
    const route = (host: string) => ({
      host: '127.0.0.1',
      port: echoes[host === 'one.example' ? 0 : 1].address().port,
    });
    const script = `
      import { createSocket } from 'node:dgram';
      import { lookup } from 'node:dns/promises';
      const names = new Map();
      for (const name of ['one', 'two']) names.set((await lookup(name + '.example', 4)).address, name);
      const socket = createSocket('udp4');
      let left = names.size;
      socket.on('message', (bytes, { address }) => {
        console.log(bytes + ' from ' + names.get(address));
        if (--left === 0) socket.close();
      });
      for (const address of names.keys()) socket.send('asked', 7, address);`;
    try {
      await using proxy = await TestProxy.start('socks5', { route, named: true });
      const command = [NODE, '--input-type=module', '-e', script];
      const { stdout } = await finish(real('tuntap-native', 'proxy', '--to', proxy.url(), '--', ...command), {
        env: PATH,
      });
      assert.deepEqual(stdout.trim().split('\n').sort(), ['one from one', 'two from two']);
    } finally {
      for (const echo of echoes) echo.close();
    }
  });

  itAsRoot('takes the address of the proxy that answers, of those that its name has', () =>
    withProxy('socks5', {}, async (proxy) => {
      const folder = mkdtempSync(join(tmpdir(), 'tuntap-proxy-'));
      try {
        const hosts = join(folder, 'hosts');
        writeFileSync(hosts, '::1 proxy.test\n127.0.0.1 proxy.test\n');
        const to = proxy.url('').replace('127.0.0.1', 'proxy.test');
        const command = real(
          'tuntap-native',
          'proxy',
          '--to',
          to,
          '--',
          'curl',
          '-sS',
          'http://site.example/',
        );
        const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
        const whole = ['unshare', '--mount', 'sh', '-c', script, hosts, ...command];
        const { stdout, stderr, status } = await finish(whole, { env: PATH });
        assert.deepEqual([stdout, stderr, status], ['site.example by the proxy\n', '', 0]);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }),
  );

  it('takes the command and what that has started with it if it is killed', () =>
    withProxy('socks5', {}, (proxy) =>
      killed(new Running(real('tuntap-native', 'proxy', '--to', proxy.url(), '--', ...PARENT_AND_CHILD))),
    ));

  it('tells once that the proxy fails, and nothing leaves beside it', async () => {
    const away = await TestProxy.start('socks5', { route: () => '' });
    const url = away.url();
    await away[Symbol.asyncDispose]();
    const { stderr, status } = await finish(
      real(
        'tuntap-native',
        'proxy',
        '--to',
        url,
        '--',
        'curl',
        '-s',
        'http://203.0.113.9/',
        'http://203.0.113.10/',
      ),
    );
    assert.equal(status, 7);
    assert.match(
      stderr,
      /^Warning: connect ECONNREFUSED 127\.0\.0\.1:\d+, for 203\.0\.113\.9:80: the proxy failed\n$/,
    );
  });

  it('takes its URL from a file, and goes on when the proxy answers from nowhere and there are too many sources', async () => {
    const relay = createSocket('udp4').bind(0, '127.0.0.1');
    await once(relay, 'listening');
    // An answer from 0.0.0.0 port 0, then one from where the command has asked.
    relay.on('message', (bytes, { port, address }) => {
      relay.send(Buffer.concat([Buffer.of(0, 0, 0, 1, 0, 0, 0, 0, 0, 0), bytes.subarray(10)]), port, address);
      relay.send(bytes, port, address);
    });
    const { port } = relay.address();
    const sockets = new Set<Socket>();
    const server = createTcpServer((socket) => {
      sockets.add(socket.on('close', () => sockets.delete(socket)));
      associate(socket, [127, 0, 0, 1], port);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const directory = mkdtempSync(join(tmpdir(), 'proxy-'));
    const file = join(directory, 'url');
    writeFileSync(file, `socks5://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
    const ask = `
      import { createSocket } from 'node:dgram';
      const one = () => new Promise((resolve) => {
        const socket = createSocket('udp4');
        socket.on('message', (bytes, from) => resolve([socket.unref(), bytes + ' from ' + from.address]));
        socket.send('asked', 7, '203.0.113.7');
      });
      (async () => {
        const kept = [];
        for (let i = 0; i < 100; i++) kept.push(await one());
        console.log(kept.at(-1)[1]);
      })();`;
    try {
      const asking = [process.execPath, ...moduleArguments(ask)];
      const command = real('tuntap-native', 'proxy', '--to-file', file, '--', ...asking);
      const limited = ['sh', '-c', 'ulimit -n 120; exec "$@"', 'sh', ...command];
      const { stdout, stderr, status } = await finish(limited);
      assert.deepEqual([stdout, stderr, status], ['asked from 203.0.113.7\n', '', 0]);
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
      relay.close();
      rmSync(directory, { recursive: true });
    }
  });

  it('ends by a signal while it still looks the proxy up', () =>
    inNamespace(async (namespace) => {
      await (await namespace.link('lo')).set({ up: true });
      const directory = mkdtempSync(join(tmpdir(), 'proxy-'));
      const file = join(directory, 'resolv.conf');
      writeFileSync(file, 'nameserver 127.0.0.1\n');
      const script = `mount --bind ${file} /etc/resolv.conf; exec "$@"`;
      for (const [args, signal] of [
        [['--', 'echo', 'ran'], 'SIGTERM'],
        [['--device', 'tun7', '--', 'echo', 'ran'], 'SIGHUP'],
        [['--device', 'tun7'], 'SIGINT'],
      ] as const) {
        await using server = await openUdp({ namespace, address: '127.0.0.1', port: 53 });
        const command = real('tuntap-native', 'proxy', '--to', 'socks5://proxy.example', ...args);
        const running = new Running(['unshare', '-m', 'sh', '-c', script, 'sh', ...command], { namespace });
        for await (const _ of server.batches()) break; // a question, which gets no answer
        await running.stop(signal);
        assert.deepEqual([running.status, running.stdout, running.stderr], [signal, '', '']);
      }
      rmSync(directory, { recursive: true });
    }));

  it('says what is wrong with its arguments, with status 2', async () => {
    for (const [args, message] of [
      [['--', 'true'], /--to or --to-file is missing/],
      [['--to', 'http://a', '--to-file', '/dev/null', '--', 'true'], /not both/],
      [['--to', 'socks5://me:se/secret@127.0.0.1', '--', 'true'], /must be a URL such as/],
      [['--to', 'socks4://me:secret@127.0.0.1', '--', 'true'], /must be a URL such as/],
      [['--to', 'socks5://127.0.0.1'], /which command/],
      [['--to', 'socks5://127.0.0.1', '--device', 'tun7', '--', ''], /which command/],
      [['--to', 'socks5://127.0.0.1', '--device', 'a/b'], /"--device" argument must not/],
      [
        ['--to-file', '/etc/passwd', '--', 'true'],
        /"first line of \/etc\/passwd" argument must be a URL such as/,
      ],
    ] as const) {
      const { stderr, status } = await finish(real('tuntap-native', 'proxy', ...args));
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /secret/);
      assert.equal(status, 2);
    }
  });

  // Asks until an error comes, or an answer.
  const KEEP_ASKING = `
    import { createSocket } from 'node:dgram';
    const socket = createSocket('udp4');
    let timer;
    const end = (text) => { clearInterval(timer); console.log(text); socket.close(); };
    socket.on('message', () => end('answered'));
    socket.on('error', ({ code }) => end(code));
    socket.connect(7, '203.0.113.7', () => { timer = setInterval(() => { for (let i = 0; i < 5; i++) socket.send('asked'); }, 20); });`;
  const ROUTED = 'ip address add 10.0.0.1/24 dev tun7 && ip route add 203.0.113.0/24 dev tun7';

  it('refuses its own datagrams if the way to the relay of the proxy leads into the device', () =>
    inNamespace(async (namespace) => {
      await (await namespace.link('lo')).set({ up: true });
      let associations = 0;
      const server = await namespace.listen({ host: '127.0.0.1', port: 0 });
      server.on('connection', (socket: Socket) => {
        associations++;
        associate(socket, [203, 0, 113, 1], 4096);
      });
      const { port } = server.address() as AddressInfo;
      const command = `${ROUTED} && ${evaluate(KEEP_ASKING)}`;
      const args = ['--to', `socks5://127.0.0.1:${port}`, '--device', 'tun7', '--', 'sh', '-c', command];
      try {
        const { stdout, stderr, status } = await finish(real('tuntap-native', 'proxy', ...args), {
          namespace,
        });
        assert.deepEqual([stdout, status], ['ECONNREFUSED\n', 0], stderr);
        assert.match(
          stderr,
          /^Warning: send EHOSTUNREACH 203\.0\.113\.1:4096: .* intercepted device again\n$/,
        );
        assert.equal(associations, 1);
      } finally {
        server.close();
      }
    }));

  it('refuses its own connections if the way to the proxy leads into the device', () =>
    inNamespace(async (namespace) => {
      const command = `${ROUTED} && curl -s -m 20 http://203.0.113.9/; echo $?; ${evaluate(KEEP_ASKING)}`;
      const args = ['--to', 'socks5://203.0.113.1:1080', '--device', 'tun7', '--', 'sh', '-c', command];
      const { stdout, stderr } = await finish(real('tuntap-native', 'proxy', ...args), { namespace });
      assert.equal(stdout, '7\nECONNREFUSED\n', stderr);
      // Bun's net tells of every connection that fails as ECONNREFUSED.
      const second = process.versions.bun ? 'Warning: connect ECONNREFUSED .*\\n' : '';
      assert.match(
        stderr,
        new RegExp(`^Warning: connect EHOSTUNREACH 203\\.0\\.113\\.1:1080.*\\n${second}$`),
      );
    }));

  it('serves a device of the host: for a command, or until a signal', () =>
    inNamespace((namespace) =>
      withProxy('socks5', { namespace }, async (proxy) => {
        await (await namespace.link('lo')).set({ up: true });
        const serve = (...command: string[]) =>
          real('tuntap-native', 'proxy', '--to', proxy.url(), '--device', 'tun7', ...command);
        const script =
          'ip address add 10.0.0.1/24 dev tun7 && ip route add default dev tun7 && curl -sS http://203.0.113.9/; exit 5';
        const { stdout, status } = await finish(serve('--', 'sh', '-c', script), { namespace });
        assert.deepEqual([stdout, status], ['203.0.113.9 by the proxy\n', 5]);
        const running = new Running(serve(), { namespace });
        await running.printed(/^tun7 is up/);
        await running.stop('SIGTERM');
        assert.equal(running.status, 0);
        assert.deepEqual(
          (await namespace.links()).map(({ name }) => name),
          ['lo'],
        );
      }),
    ));
});

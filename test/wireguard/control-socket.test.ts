import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { readDevice } from '#dist/wireguard/control-client.js';
import {
  type ControlSocket,
  type ControlSocketOptions,
  openControlSocket,
} from '#dist/wireguard/control-socket.js';
import { inNamespace, needs, openFds } from '../support.ts';
import { FakeDevice, newPeer } from './fake-device.ts';
import { exists, freeName, SOCKETS, until, wg, withFolder, withSocket, withWireguardGo } from './oracle.ts';

/** Runs `body` with a fake device whose socket wg finds. */
async function withFake(
  body: (name: string, device: FakeDevice, socket: ControlSocket) => Promise<void> | void,
  options: ControlSocketOptions = {},
): Promise<void> {
  const name = freeName();
  const device = new FakeDevice();
  const socket = await openControlSocket(name, device, options);
  try {
    await body(name, device, socket);
  } finally {
    await socket.close();
  }
}

/** Runs wg in a process of its own that this one's event loop can answer. */
async function run(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn('wg', args, { env: { ...process.env, WG_COLOR_MODE: 'never' } });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => {
    stdout += data;
  });
  child.stderr.on('data', (data) => {
    stderr += data;
  });
  const [status] = await once(child, 'close');
  return { status, stdout, stderr };
}

/** A raw client: what it got, and whether the other end closed. */
class Client {
  readonly socket: Socket;
  text = '';
  ended = false;
  constructor(path: string) {
    this.socket = connect({ path, allowHalfOpen: true });
    this.socket.on('data', (data) => {
      this.text += data.toString('latin1');
    });
    this.socket.on('end', () => {
      this.ended = true;
    });
    this.socket.on('close', () => {
      this.ended = true;
    });
    this.socket.on('error', () => {});
  }

  /** The answers to what is sent, once there are so many, or the other end has closed. */
  async ask(request: string | Buffer, answers = 1): Promise<string> {
    this.socket.write(request);
    await until(() => this.ended || this.text.split('errno=').length > answers, 'an answer');
    if (this.text.includes('errno=')) await until(() => this.ended || this.text.endsWith('\n\n'), 'its end');
    const { text } = this;
    this.text = '';
    return text;
  }

  close(): void {
    this.socket.destroy();
  }
}

async function ask(
  path: string,
  request: string | Buffer,
  answers = 1,
): Promise<{ text: string; ended: boolean }> {
  const client = new Client(path);
  try {
    const text = await client.ask(request, answers);
    // A connection that goes on answers once more.
    const again = client.ended ? '' : await client.ask('get=1\n\n').catch(() => 'silent');
    return { text, ended: !again.includes('errno=0') };
  } finally {
    client.close();
  }
}

const KEY = 'a1'.repeat(32);
const OTHER = 'b2'.repeat(32);

describe('a control socket', () => {
  before(function () {
    needs(this, 'wg');
  });

  it('is where wg finds it, for this user alone, and gone after close()', async () => {
    await withFake(async (name, _device, socket) => {
      assert.equal(socket.path, `${SOCKETS}/${name}.sock`);
      assert.equal(lstatSync(socket.path).mode & 0o7777, 0o700);
      assert.equal(lstatSync(SOCKETS).mode & 0o7777, 0o755);
      assert.ok((await run('show', 'interfaces')).stdout.split(/\s/).includes(name));
      await socket.close();
      await socket.close();
      assert.ok(!exists(socket.path));
      assert.deepEqual(
        readdirSync(SOCKETS).filter((file) => file.startsWith('.')),
        [],
      );
    });
  });

  it('makes its directory, with mode 0755 whatever the umask', () =>
    withFolder(async (folder) => {
      const old = process.umask(0o077);
      try {
        await using _socket = await openControlSocket('x', new FakeDevice(), {
          path: join(folder, 'a/b.sock'),
        });
        assert.equal(lstatSync(join(folder, 'a')).mode & 0o7777, 0o755);
        process.umask(0);
        await using other = await openControlSocket('x', new FakeDevice(), {
          path: join(folder, 'a/c.sock'),
        });
        assert.equal(lstatSync(other.path).mode & 0o7777, 0o700);
      } finally {
        process.umask(old);
      }
    }));

  it('is refused to a second one, and the first one goes on', () =>
    withFake(async (name) => {
      const fds = openFds();
      await assert.rejects(openControlSocket(name, new FakeDevice()), { code: 'ERR_WG_CONTROL_IN_USE' });
      await until(() => openFds() <= fds, 'closed fds');
      assert.equal((await run('show', name)).status, 0);
    }));

  it('takes the place of a socket that nobody listens at', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'stale.sock');
      const dead = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
      await once(spawn(process.execPath, ['-e', dead]), 'exit');
      assert.ok(lstatSync(path).isSocket());
      await using socket = await openControlSocket('x', new FakeDevice(), { path });
      assert.match((await ask(socket.path, 'get=1\n\n')).text, /errno=0/);
    }));

  it('never takes the place of another kind of file', () =>
    withFolder(async (folder) => {
      const path = join(folder, 'x.sock');
      writeFileSync(path, 'mine');
      await assert.rejects(openControlSocket('x', new FakeDevice(), { path }), { code: 'EEXIST' });
      assert.ok(lstatSync(path).isFile());
      assert.deepEqual(readdirSync(folder), ['x.sock']);
    }));

  it('leaves nothing where it can not be made', () =>
    withFolder(async (folder) => {
      const path = join(folder, `${'x'.repeat(120)}.sock`);
      const fds = openFds();
      await assert.rejects(openControlSocket('x', new FakeDevice(), { path }));
      assert.deepEqual(readdirSync(folder), []);
      await until(() => openFds() <= fds, 'closed fds');
      writeFileSync(join(folder, 'file'), '');
      await assert.rejects(openControlSocket('x', new FakeDevice(), { path: join(folder, 'file/x.sock') }), {
        code: 'EEXIST',
      });
    }));

  for (const [what, remove] of [
    ['removed', (path: string) => unlinkSync(path)],
    ['moved', (path: string) => renameSync(path, `${path}.old`)],
    ['replaced', (path: string) => renameSync(join(path, '../another'), path)],
    ['removed with its directory', (path: string) => rmSync(join(path, '..'), { recursive: true })],
  ] as const) {
    it(`notices once that its file is ${what}, and removes no other's`, () =>
      withFolder(async (folder) => {
        let told = 0;
        const path = join(folder, 'sub', 'x.sock');
        const onDeleted = (): void => {
          told++;
        };
        await using socket = await openControlSocket('x', new FakeDevice(), { path, onDeleted });
        writeFileSync(join(folder, 'sub', 'another'), '');
        await sleep(50);
        assert.equal(told, 0);
        remove(path);
        await until(() => told > 0, 'the notice');
        const left = exists(path);
        await socket.close();
        await sleep(20);
        assert.equal(told, 1);
        assert.equal(exists(path), left);
      }));
  }

  it('tells nobody when close() removes the file', () =>
    withFolder(async (folder) => {
      let told = 0;
      const path = join(folder, 'x.sock');
      const socket = await openControlSocket('x', new FakeDevice(), { path, onDeleted: () => told++ });
      await socket.close();
      await sleep(50);
      assert.equal(told, 0);
    }));

  it('adopts a listening socket', function () {
    needs(this, 'python3');
    return withFolder(async (folder) => {
      const path = join(folder, 'x.sock');
      const program = `
        import { openControlSocket } from '${import.meta.resolve('#dist/wireguard/control-socket.js')}';
        const device = { get: () => ({ listenPort: 77, fwmark: 0, peers: [] }), apply: async () => {} };
        const socket = await openControlSocket('x', device, { fd: 3 });
        console.log(socket.path);
        process.stdin.on('end', () => socket.close()).resume();`;
      const command = withSocket(path, 3, [process.execPath, '--input-type=module', '-e', program]);
      const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
      const [line] = await once(child.stdout as NodeJS.ReadableStream, 'data');
      assert.equal(String(line).trim(), path);
      assert.equal((await ask(path, 'get=1\n\n')).text, 'listen_port=77\nerrno=0\n\n');
      child.stdin?.end();
      await once(child, 'exit');
      assert.ok(!exists(path));
    });
  });

  it('refuses to adopt what is no unix socket', async () => {
    const tcp = createServer().listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const { fd } = (tcp as unknown as { _handle: { fd: number } })._handle;
    const directory = openSync('/', 'r');
    for (const [each, code] of [
      [fd, 'ERR_INVALID_ARG_VALUE'],
      [directory, 'ERR_INVALID_ARG_VALUE'],
      [1_000_000, 'EBADF'],
    ] as const) {
      await assert.rejects(openControlSocket('x', new FakeDevice(), { fd: each }), { code });
    }
    closeSync(directory);
    tcp.close();
  });
});

describe('requests on a control socket', () => {
  before(function () {
    needs(this, 'wg');
  });

  it('several on one connection, in pieces of any size', async () => {
    await withFake(async (_name, device, { path }) => {
      const request = `get=1\n\nset=1\nfwmark=7\nreplace_peers=true\npublic_key=${KEY}\nallowed_ip=10.1.2.3/8\n\nget=1\n\n`;
      const expected = `errno=0\n\nerrno=0\n\nfwmark=7\npublic_key=${KEY}\npreshared_key=${'00'.repeat(32)}
protocol_version=1\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0
persistent_keepalive_interval=0\nallowed_ip=10.0.0.0/8\nerrno=0\n\n`;
      for (const size of [1, 2, 7, 1000]) {
        device.fwmark = 0;
        device.peers.clear();
        const client = new Client(path);
        client.socket.setNoDelay(true);
        for (let at = 0; at < request.length; at += size) {
          client.socket.write(request.slice(at, at + size));
          if (size < 10) await new Promise(setImmediate);
        }
        assert.equal(await client.ask('', 3), expected);
        client.close();
      }
    });
  });

  const refused: [what: string, request: string, answer: string][] = [
    ['a line without =', 'set=1\nlisten_port\n\n', 'errno=-71\n\n'],
    ['an unknown key', 'set=1\nport=1\n\n', 'errno=-22\n\n'],
    ['a key of a peer before one', 'set=1\nallowed_ip=10.0.0.0/8\n\n', 'errno=-22\n\n'],
    ['a key of the device behind a peer', `set=1\npublic_key=${KEY}\nfwmark=1\n\n`, 'errno=-22\n\n'],
    ['a number with a sign', 'set=1\nfwmark=+1\n\n', 'errno=-22\n\n'],
    ['a number beyond its range', 'set=1\nfwmark=4294967296\n\n', 'errno=-22\n\n'],
    ['a port beyond its range', 'set=1\nlisten_port=65536\n\n', 'errno=-22\n\n'],
    ['a hexadecimal number', 'set=1\nfwmark=0x10\n\n', 'errno=-22\n\n'],
    ['a key of 63 digits', `set=1\nprivate_key=${KEY.slice(1)}\n\n`, 'errno=-22\n\n'],
    ['a key of other digits', `set=1\nprivate_key=g${KEY.slice(1)}\n\n`, 'errno=-22\n\n'],
    ['replace_peers=false', 'set=1\nreplace_peers=false\n\n', 'errno=-22\n\n'],
    ['protocol_version=2', `set=1\npublic_key=${KEY}\nprotocol_version=2\n\n`, 'errno=-22\n\n'],
    ['a host name', `set=1\npublic_key=${KEY}\nendpoint=localhost:1\n\n`, 'errno=-22\n\n'],
    ['an IPv6 endpoint without brackets', `set=1\npublic_key=${KEY}\nendpoint=::1:1\n\n`, 'errno=-22\n\n'],
    ['an allowed IP without length', `set=1\npublic_key=${KEY}\nallowed_ip=10.0.0.0\n\n`, 'errno=-22\n\n'],
    ['keepalive off', `set=1\npublic_key=${KEY}\npersistent_keepalive_interval=off\n\n`, 'errno=-22\n\n'],
    [
      'a bad line of a removed peer',
      `set=1\npublic_key=${KEY}\nremove=true\nendpoint=x\n\n`,
      'errno=-22\n\n',
    ],
    ['a line of 4,097 bytes', `set=1\npublic_key=${'0'.repeat(4086)}\n\n`, 'errno=-5\n\n'],
    ['a line without end', `set=1\n${'0'.repeat(5000)}`, 'errno=-5\n\n'],
    ['an unknown request', 'hello\n', ''],
    ['a request of another version', 'set=2\nfwmark=1\n\n', ''],
    ['a request with a carriage return', 'get=1\r\n\r\n', ''],
    ['a request without end', `${'x'.repeat(5000)}`, ''],
    ['an empty line', '\n', ''],
    ['bytes that are no text', Buffer.of(0, 255, 10, 200, 0, 10).toString('latin1'), ''],
  ];
  for (const [what, request, answer] of refused) {
    it(`${what} ends that connection only, and changes nothing`, () =>
      withFake(async (_name, device, { path }) => {
        const other = new Client(path);
        assert.deepEqual(await ask(path, Buffer.from(request, 'latin1')), { text: answer, ended: true });
        assert.deepEqual(device.applied, []);
        assert.equal(await other.ask('get=1\n\n'), 'errno=0\n\n');
        other.close();
      }));
  }

  it('a bad line behind good ones changes nothing', () =>
    withFake(async (_name, device, { path }) => {
      const request = `set=1\nprivate_key=${KEY}\nlisten_port=7\npublic_key=${OTHER}\nallowed_ip=x\n\n`;
      assert.deepEqual(await ask(path, request), { text: 'errno=-22\n\n', ended: true });
      assert.deepEqual(device.applied, []);
    }));

  it('the answer comes at the bad line, before the request ends', () =>
    withFake(async (_name, _device, { path }) => {
      assert.deepEqual(await ask(path, 'set=1\nx=1\n'), { text: 'errno=-22\n\n', ended: true });
    }));

  it('a request that is cut off changes nothing', () =>
    withFake(async (_name, device, { path }) => {
      const client = new Client(path);
      client.socket.end('set=1\nfwmark=1\n');
      await until(() => client.ended, 'the end');
      assert.equal(client.text, 'errno=-71\n\n');
      assert.deepEqual(device.applied, []);
      client.close();
    }));

  it('what the device refuses has a negative errno in set, a positive one in get', () =>
    withFake(async (_name, device, { path }) => {
      const failures: [Error, number][] = [
        [Object.assign(new Error(), { code: 'EADDRINUSE', errno: -98 }), 98],
        [Object.assign(new Error(), { code: 'ERR_WG_ALLOWED_IP' }), 22],
        [new Error('whatever'), 5],
      ];
      for (const [failure, errno] of failures) {
        device.failure = failure;
        assert.equal((await ask(path, 'set=1\nlisten_port=1\n\n')).text, `errno=-${errno}\n\n`);
        device.failure = failure;
        assert.equal((await ask(path, 'get=1\n\n')).text, `errno=${errno}\n\n`);
      }
    }));

  it('one change at a time, those of a connection in their order; a get waits for the changes before it', () =>
    withFake(async (_name, device, { path }) => {
      let open = (): void => {};
      device.gate = new Promise((resolve) => {
        open = resolve;
      });
      const clients = Array.from({ length: 8 }, () => new Client(path));
      const answers = clients.map((client, i) => client.ask(`set=1\nfwmark=${i + 1}\n\nget=1\n\n`, 2));
      await sleep(50);
      assert.equal(device.applied.length, 0);
      open();
      for (const answer of await Promise.all(answers))
        assert.match(answer, /^errno=0\n\nfwmark=\d+\nerrno=0\n\n$/);
      assert.equal(device.applied.length, 8);
      for (const client of clients) client.close();
    }));

  it('a client that goes away while its change is under way harms nobody', () =>
    withFake(async (_name, device, { path }) => {
      let open = (): void => {};
      device.gate = new Promise((resolve) => {
        open = resolve;
      });
      const client = new Client(path);
      client.socket.write('set=1\nfwmark=5\n\nget=1\n\n');
      await until(() => device.busy, 'the change');
      client.close();
      open();
      assert.match((await ask(path, 'get=1\n\n')).text, /^fwmark=5\nerrno=0/);
    }));

  it('no more than 16 connections; others may come when one goes', () =>
    withFake(async (_name, _device, { path }) => {
      const clients = Array.from({ length: 16 }, () => new Client(path));
      for (const client of clients) assert.equal(await client.ask('get=1\n\n'), 'errno=0\n\n');
      assert.deepEqual(await ask(path, 'get=1\n\n'), { text: '', ended: true });
      clients[3].close();
      await until(async () => (await ask(path, 'get=1\n\n')).text === 'errno=0\n\n', 'a free place');
      for (const client of clients) client.close();
    }));

  it('a silent connection ends', () =>
    withFake(
      async (_name, _device, { path }) => {
        const silent = new Client(path);
        const half = new Client(path);
        half.socket.write('set=1\nfwmark=1\n');
        await until(() => silent.ended && half.ended, 'the end');
        silent.close();
        half.close();
      },
      { idleTimeoutMs: 100 },
    ));

  it('a client that does not read ends, and holds little memory', () =>
    withFake(
      async (_name, device, { path }) => {
        for (let i = 0; i < 100; i++) {
          const bytes = randomBytes(32);
          device.peers.set(bytes.toString('hex'), newPeer(bytes));
        }
        const before = process.memoryUsage().rss;
        const client = connect(path);
        client.on('error', () => {});
        await once(client, 'connect');
        client.pause();
        client.write('get=1\n\n'.repeat(100_000)); // answers of 3 GB
        await once(client, 'close', { signal: AbortSignal.timeout(10_000) }).catch(() => {});
        await until(async () => (await ask(path, 'get=1\n\n')).text.endsWith('errno=0\n\n'), 'an answer');
        assert.ok(process.memoryUsage().rss - before < 150 << 20);
        client.destroy();
      },
      { idleTimeoutMs: 300 },
    ));

  it('65,536 peers in one request, and not one more', async function () {
    this.timeout(60_000);
    await withFake(async (_name, device, { path }) => {
      const peers = (count: number): string =>
        Array.from({ length: count }, (_, i) => {
          const id = i.toString(16).padStart(64, '0');
          return `public_key=${id}\npreshared_key=${id}\nendpoint=192.0.2.1:${i % 60000}\nallowed_ip=10.${i >> 8}.${i & 255}.0/24\n`;
        }).join('');
      const client = new Client(path);
      assert.equal(await client.ask(`set=1\n${peers(65_537)}\n`), 'errno=-22\n\n');
      client.close();
      assert.equal(device.peers.size, 0);
      const good = new Client(path);
      assert.equal(await good.ask(`set=1\n${peers(65_536)}\n`), 'errno=0\n\n');
      assert.equal(device.peers.size, 65_536);
      const state = await readDevice(path.slice(SOCKETS.length + 1, -'.sock'.length));
      assert.equal(state.peers.length, 65_536);
      good.close();
    });
  });

  it('requests of 64 MB in all; what they held is free again afterwards', async function () {
    this.timeout(60_000);
    await withFake(async (_name, device, { path }) => {
      for (let round = 0; round < 2; round++) {
        const client = new Client(path);
        client.socket.write(`set=1\npublic_key=${KEY}\n`);
        const piece = `persistent_keepalive_interval=${'0'.repeat(4000)}\n`.repeat(100);
        for (let sent = 0; !client.ended && sent < 90 << 20; sent += piece.length) {
          await new Promise((resolve) => client.socket.write(piece, resolve));
        }
        await until(() => client.ended, 'the end');
        assert.equal(client.text, 'errno=-12\n\n');
        client.close();
        assert.equal((await ask(path, 'set=1\nfwmark=1\n\n')).text, 'errno=0\n\n');
      }
      assert.ok(device.applied.every(({ peers }) => peers.length === 0));
    });
  });

  it('any bytes: nothing is applied but valid requests, and the socket goes on', () =>
    withFake(async (_name, device, { path }) => {
      const words = [
        'set=1\nfwmark=1\n\n',
        'set=1\n',
        'get=1\n',
        '\n',
        'fwmark=',
        '1',
        `public_key=${KEY}\n`,
        'allowed_ip=',
        '10.0.0.0/8',
        '::/0',
        '\r',
        'remove=true\n',
        '\0',
      ];
      const text = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 8 })), {
        maxLength: 20,
      });
      await fc.assert(
        fc.asyncProperty(text, async (parts) => {
          const client = new Client(path);
          client.socket.end(Buffer.from(parts.join(''), 'latin1'));
          await until(() => client.ended, 'the end');
          assert.match(client.text, /^((?!errno).*\n)*?(((?!errno).*\n)*errno=-?\d+\n\n)*$/);
          client.close();
        }),
        { numRuns: 300 },
      );
      assert.ok(device.applied.length > 0);
      assert.match((await ask(path, 'get=1\n\n')).text, /errno=0\n\n$/);
    }));
});

describe('a control socket and wireguard-go answer wg alike', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'wg', 'wireguard-go');
  });

  const keys = Array.from({ length: 4 }, () => publicKey(generatePrivateKey()));
  const own = generatePrivateKey();
  const psk = randomBytes(32).toString('base64');

  /** Peers come in any order from wireguard-go. */
  function sorted(text: string): string {
    const [device, ...peers] = text.split(/(?=\[Peer\]|^peer: |^public_key=)/m).map((part) => part.trim());
    return [device, ...peers.sort()].join('\n\n');
  }

  /** A raw answer without what differs by nature: the random port. */
  const canonical = (text: string) =>
    sorted(text.replace(/listen_port=\d+\n/, '').replace(/errno=0\n\n$/, ''));

  const steps: [what: string, run: (name: string) => ReturnType<typeof run>][] = [
    ['show of a fresh device', (name) => run('show', name)],
    ['set private-key', (name) => withFileAsync(own, (path) => run('set', name, 'private-key', path))],
    ['set listen-port and fwmark', (name) => run('set', name, 'fwmark', '0x1234')],
    [
      'set of two peers',
      (name) =>
        withFileAsync(psk, (path) =>
          run(
            ...['set', name, 'peer', keys[0], 'preshared-key', path, 'endpoint', '192.0.2.1:51820'],
            ...['allowed-ips', '10.0.0.0/24, fd00::/64', 'persistent-keepalive', '25'],
            ...['peer', keys[1], 'allowed-ips', '10.0.0.128/25,0.0.0.0/0', 'endpoint', '[2001:db8::1]:7'],
          ),
        ),
    ],
    ['a prefix that moves', (name) => run('set', name, 'peer', keys[1], 'allowed-ips', '10.0.0.0/24')],
    ['no preshared key', (name) => run('set', name, 'peer', keys[0], 'preshared-key', '/dev/null')],
    ['no allowed IPs', (name) => run('set', name, 'peer', keys[1], 'allowed-ips', '')],
    ['a third peer', (name) => run('set', name, 'peer', keys[2])],
    ['remove', (name) => run('set', name, 'peer', keys[1], 'remove')],
    ['remove of nobody', (name) => run('set', name, 'peer', keys[3], 'remove')],
    ['oneself as peer', (name) => run('set', name, 'peer', publicKey(own), 'allowed-ips', '10.9.0.0/24')],
    [
      'addconf',
      (name) =>
        withFileAsync(`[Peer]\nPublicKey=${keys[3]}\nAllowedIPs=::/0\n`, (path) =>
          run('addconf', name, path),
        ),
    ],
    [
      'syncconf',
      (name) =>
        withFileAsync(
          `[Interface]\nPrivateKey=${own}\n[Peer]\nPublicKey=${keys[3]}\nPersistentKeepalive=3\n[Peer]\nPublicKey=${keys[0]}\n`,
          (path) => run('syncconf', name, path),
        ),
    ],
    ['fwmark off', (name) => run('set', name, 'fwmark', 'off')],
    ['no private key', (name) => run('set', name, 'private-key', '/dev/null')],
    [
      'setconf',
      (name) =>
        withFileAsync(
          `[Interface]\nPrivateKey=${own}\nFwMark=3\n[Peer]\nPublicKey=${keys[1]}\nAllowedIPs=10.0.0.0/8\nEndpoint=192.0.2.9:9\n`,
          (path) => run('setconf', name, path),
        ),
    ],
    ['setconf of nothing', (name) => withFileAsync('', (path) => run('setconf', name, path))],
  ];

  async function withFileAsync<T>(content: string, use: (path: string) => Promise<T>): Promise<T> {
    let result: Promise<T> | undefined;
    await withFolder(async (folder) => {
      const path = join(folder, 'file');
      writeFileSync(path, content);
      result = use(path);
      await result;
    });
    return result as Promise<T>;
  }

  it('show, showconf, set, setconf, addconf, syncconf', () =>
    inNamespace((namespace) =>
      withWireguardGo(namespace, (real) =>
        withFake(async (fake, _device, { path }) => {
          for (const [what, step] of steps) {
            const [expected, actual] = [await step(real), await step(fake)];
            assert.equal(actual.status, expected.status, `${what}: ${actual.stderr}`);
            for (const view of [['show'], ['showconf']]) {
              const [theirs, ours] = [await run(view[0], real), await run(view[0], fake)];
              const plain = (text: string, name: string) =>
                sorted(
                  text.replaceAll(name, 'NAME').replace(/^( *listening port: |ListenPort = )\d+\n/m, ''),
                );
              assert.equal(plain(ours.stdout, fake), plain(theirs.stdout, real), what);
            }
            const raw = await ask(path, 'get=1\n\n');
            const theirs = await ask(`${SOCKETS}/${real}.sock`, 'get=1\n\n');
            assert.equal(canonical(raw.text), canonical(theirs.text), what);
          }
        }),
      ),
    ));

  const transcripts = [
    'get=1\n\n',
    'set=1\n\n',
    'set=1\n\n\n',
    'set=1\nfoo\n\n',
    'set=1\n=\n\n',
    'set=1\nfoo=1\n\n',
    'bogus\n',
    'set=1\r\n\r\n',
    'set=1\nfwmark=3\r\n\r\n',
    'set=1\nlisten_port=\n\n',
    'set=1\nreplace_peers=false\n\n',
    'set=1\nfwmark=00000000000000000000003\n\n',
    'get=1\n\nset=1\nfwmark=1\nreplace_peers=true\n\nget=1\n\n',
    `set=1\nprivate_key=${'00'.repeat(32)}\n\nget=1\n\n`,
    `set=1\nprivate_key=${'ff'.repeat(32)}\n\nget=1\n\n`,
    ...[
      '',
      'allowed_ip=10.1.2.3/08\n',
      'allowed_ip=10.0.0.0\n',
      'allowed_ip=10.0.0.0/33\n',
      'allowed_ip=::1%lo/128\n',
      'allowed_ip=::ffff:1.2.3.4/120\n',
      'allowed_ip=::/0\nreplace_allowed_ips=true\nallowed_ip=0.0.0.0/0\n',
      'replace_allowed_ips=yes\n',
      'endpoint=[::ffff:1.2.3.4]:0080\n',
      'endpoint=[1.2.3.4]:80\n',
      'endpoint=1.2.3.4:+80\n',
      'endpoint=1.2.3.4:0\n',
      'endpoint=localhost:1\n',
      'endpoint=\n',
      'persistent_keepalive_interval=65535\n',
      'persistent_keepalive_interval=65536\n',
      'protocol_version=1\n',
      'protocol_version=2\n',
      'update_only=true\nallowed_ip=10.7.0.0/16\n',
      'update_only=false\n',
      'remove=true\nallowed_ip=10.0.0.0/8\n',
      'remove=false\n',
      `public_key=${OTHER}\nupdate_only=true\n`,
      'private_key=00\n',
    ].map((lines) => `set=1\nreplace_peers=true\npublic_key=${KEY.toUpperCase()}\n${lines}\nget=1\n\n`),
  ];
  for (const transcript of transcripts) {
    it(JSON.stringify(transcript.replaceAll(KEY.toUpperCase(), 'KEY')), () =>
      inNamespace((namespace) =>
        withWireguardGo(namespace, (real) =>
          withFake(async (_fake, _device, { path }) => {
            // One at a time: wireguard-go throws away what came with a set request.
            for (const request of transcript.split(/(?<=\n\n)(?=[gs]et=1)/)) {
              const plain = ({ text }: { text: string }) => text.replace(/listen_port=\d+\n/g, '');
              const theirs = plain(await ask(`${SOCKETS}/${real}.sock`, request));
              assert.equal(plain(await ask(path, request)), theirs);
              // Then wireguard-go has applied a part, we nothing.
              if (/errno=-/.test(theirs)) break;
            }
          }),
        ),
      ),
    );
  }

  it('wg set tells the errno of a refused change', () =>
    withFake(async (name, device) => {
      device.failure = Object.assign(new Error(), { code: 'EADDRINUSE', errno: -98 });
      const { status, stderr } = await run('set', name, 'listen-port', '7');
      assert.equal(status, 1);
      assert.match(stderr, /Address already in use/);
    }));

  it('wg show tells the errno of a failed get', () =>
    withFake(async (name, device) => {
      device.failure = Object.assign(new Error(), { code: 'EACCES', errno: -13 });
      const { status, stderr } = await run('show', name);
      assert.equal(status, 1);
      assert.match(stderr, /Permission denied/);
    }));

  it('+ and - of an allowed IP, which newer wg sends', () =>
    withFake(async (_name, device, { path }) => {
      const set = (lines: string) => ask(path, `set=1\npublic_key=${KEY}\n${lines}\n`);
      await set('allowed_ip=10.0.0.0/8\nallowed_ip=10.1.0.0/16\n');
      assert.equal(
        (await set('allowed_ip=-10.0.0.0/8\nallowed_ip=-10.9.0.0/16\nallowed_ip=::/0\n')).text,
        'errno=0\n\n',
      );
      assert.deepEqual(device.peers.get(KEY)?.allowedIps, ['10.1.0.0/16', '::/0']);
      assert.equal((await set('allowed_ip=--10.0.0.0/8\n')).text, 'errno=-22\n\n');
    }));
});

describe('readDevice', () => {
  it('reads what wireguard-go has', function () {
    needs(this, 'wg', 'wireguard-go');
    return inNamespace((namespace) =>
      withWireguardGo(namespace, async (name) => {
        const key = publicKey(generatePrivateKey());
        wg(
          'set',
          name,
          'listen-port',
          '7',
          'fwmark',
          '9',
          'peer',
          key,
          'endpoint',
          '[::1]:5',
          'allowed-ips',
          '::/0',
        );
        const { listenPort, fwmark, peers, privateKey } = await readDevice(name);
        assert.deepEqual(
          { listenPort, fwmark, privateKey, peers: peers.map((peer) => ({ ...peer, publicKey: 0 })) },
          {
            listenPort: 7,
            fwmark: 9,
            privateKey: undefined,
            peers: [
              {
                publicKey: 0,
                presharedKey: undefined,
                endpoint: '[::1]:5',
                latestHandshake: undefined,
                txBytes: 0,
                rxBytes: 0,
                persistentKeepalive: 0,
                allowedIps: ['::/0'],
              },
            ],
          },
        );
        assert.equal(Buffer.from(peers[0].publicKey).toString('base64'), key);
      }),
    );
  });

  it('reads back what a control socket writes, times and counts too', () =>
    withFake(async (name, device) => {
      const peer = {
        ...newPeer(randomBytes(32)),
        presharedKey: randomBytes(32),
        latestHandshake: 1_790_000_000_123.5,
        txBytes: 2 ** 50 + 1,
        rxBytes: 7,
        endpoint: '192.0.2.1:1',
        allowedIps: ['10.0.0.0/8'],
      };
      device.peers.set('x', peer);
      const [read] = (await readDevice(name)).peers;
      assert.deepEqual({ ...read, publicKey: Buffer.from(read.publicKey) }, peer);
    }));

  it('ENODEV without a device, and for names that are paths', async () => {
    await assert.rejects(readDevice('no-such-device'), { code: 'ENODEV' });
    await assert.rejects(readDevice('../../tmp/x'), { code: 'ENODEV' });
  });

  for (const [what, answer, code] of [
    ['no answer', '', 'EPROTO'],
    ['no errno', 'listen_port=1\n\n', 'EPROTO'],
    ['a refusal', 'errno=13\n\n', 'EACCES'],
    ['no number', 'listen_port=x\nerrno=0\n\n', 'EPROTO'],
    ['a bad key', 'public_key=1\nerrno=0\n\n', 'EPROTO'],
    ['no protocol at all', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'EPROTO'],
  ]) {
    it(`${code} for ${what}`, async () => {
      const name = freeName();
      const server = createServer((socket) =>
        socket
          .on('error', () => {})
          .resume()
          .end(answer),
      );
      await withFake(() => {}); // makes the directory
      server.listen(`${SOCKETS}/${name}.sock`);
      await once(server, 'listening');
      chmodSync(`${SOCKETS}/${name}.sock`, 0o700);
      try {
        await assert.rejects(readDevice(name), { code });
      } finally {
        server.close();
      }
    });
  }
});

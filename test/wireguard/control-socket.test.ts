import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openControlSocket } from '#dist/wireguard/control-socket.js';
import { moduleArguments, needs, openFds } from '../support.ts';
import { AS_USER, needsReadable, USER } from '../unprivileged.ts';
import { ask, run, withFake } from './control-support.ts';
import { FakeDevice } from './fake-device.ts';
import { exists, SOCKETS, until, withFolder, withSocket } from './oracle.ts';

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
        await sleep(300); // Deno begins to watch a little later
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
      const command = withSocket(path, 3, [process.execPath, ...moduleArguments(program)]);
      const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
      const [line] = await once(child.stdout as NodeJS.ReadableStream, 'data');
      assert.equal(String(line).trim(), path);
      assert.equal((await ask(path, 'get=1\n\n')).text, 'listen_port=77\nerrno=0\n\n');
      child.stdin?.end();
      await once(child, 'exit');
      assert.ok(!exists(path));
    });
  });

  it('needs no more than its own directory', async function () {
    await needsReadable(this);
    await withFolder(async (folder) => {
      const own = join(folder, 'own');
      mkdirSync(own);
      chmodSync(folder, 0o755);
      chownSync(own, USER, USER);
      const program = `
        import { createServer } from 'node:net';
        import { listenAt } from ${JSON.stringify(import.meta.resolve('#dist/wireguard/control-path.js'))};
        const server = createServer();
        await listenAt(server, ${JSON.stringify(join(own, 'x.sock'))});
        server.close();`;
      const child = spawn(AS_USER[0], [...AS_USER.slice(1), process.execPath, ...moduleArguments(program)], {
        stdio: 'inherit',
      });
      assert.deepEqual(await once(child, 'exit'), [0, null]);
      assert.deepEqual(readdirSync(own), ['x.sock']);
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

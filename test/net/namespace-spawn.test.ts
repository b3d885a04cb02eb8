import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { NetworkNamespace, openTun } from 'tuntap-native';
import { code, inNamespace, itAsRoot, needs, nodeProgram, run, sleeper } from '../support.ts';

describe('NetworkNamespace.spawn', () => {
  before(function () {
    needs(this, 'ip');
  });

  it('passes on the status of the command, or 127 and 126 where it can not be run', () =>
    inNamespace(async (namespace) => {
      const cases: [string, string[], number, RegExp][] = [
        ['true', [], 0, /^$/],
        ['sh', ['-c', 'exit 7'], 7, /^$/],
        ['no-such-command', [], 127, /no-such-command: No such file/],
        ['/nonexistent/command', [], 127, /No such file/],
        ['/etc/passwd', [], 126, /\/etc\/passwd: Permission denied/],
        ['/tmp', [], 126, /\/tmp: Permission denied/],
      ];
      for (const [command, args, expected, message] of cases) {
        const { status, stderr } = await run(namespace, command, ...args);
        assert.equal(status, expected, command);
        assert.match(stderr, message);
      }
      const child = await sleeper(namespace);
      child.kill('SIGTERM');
      assert.deepEqual(await once(child, 'exit'), [null, 'SIGTERM']);
    }));

  it('gives the command its arguments, environment, folder and streams, and no other fd', () =>
    inNamespace(async (namespace) => {
      const program =
        'read line; echo "$0 $1 $VALUE $(pwd) $line"; echo three >&3; echo four >&4; ls /proc/$$/fd >&2';
      const start = async (spawning: typeof spawn) => {
        const child = spawning('sh', ['-c', program, 'a b', '$HOME'], {
          stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
          env: { ...process.env, VALUE: 'from the environment' },
          cwd: '/usr',
        });
        const texts = ['', '', '', '', ''];
        child.stdio.forEach((stream, i) => {
          if (i > 0) stream?.on('data', (data) => (texts[i] += data));
        });
        child.stdin?.end('a line\n');
        assert.deepEqual(await once(child, 'close'), [0, null]);
        return texts;
      };
      const texts = await start(namespace.spawn.bind(namespace) as typeof spawn);
      assert.equal(texts[1], 'a b $HOME from the environment /usr a line\n');
      assert.deepEqual([texts[3], texts[4]], ['three\n', 'four\n']);
      assert.deepEqual(texts, await start(spawn));
    }));

  it('takes short lists of streams, one word for all, and an IPC channel', () =>
    inNamespace(async (namespace) => {
      const short = namespace.spawn('sh', ['-c', 'cat; echo error >&2'], { stdio: ['ignore'] });
      const [error] = await once(short.stderr as NodeJS.ReadableStream, 'data');
      assert.equal(`${error}`, 'error\n');
      const ignored = namespace.spawn('sh', ['-c', 'echo; exit 3'], { stdio: 'ignore' });
      assert.deepEqual(
        [ignored.stdout, ignored.stderr, ...(await once(ignored, 'close'))],
        [null, null, 3, null],
      );
      const hello = 'process.send("hello", () => process.disconnect())'; // Deno sends nothing after disconnect()
      const node = namespace.spawn(process.execPath, ['-e', hello], {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      assert.deepEqual((await once(node, 'message'))[0], 'hello');
    }));

  it("shows the namespace's own /sys, and leaves this process's as it was", () =>
    inNamespace(async (namespace) => {
      await using _tun = openTun('only-here', { namespace });
      const { stdout } = await run(namespace, 'ls', '/sys/class/net');
      assert.deepEqual(stdout.trim().split('\n'), ['lo', 'only-here']);
      assert.ok(!readdirSync('/sys/class/net').includes('only-here'));
    }));

  const mounted = 'grep " /sys " /proc/self/mounts | tail -n 1';
  const flagsOf = (line: string): string[] =>
    line
      .trim()
      .split(' ')[3]
      .split(',')
      .filter((flag) => ['ro', 'rw', 'nosuid', 'nodev', 'noexec'].includes(flag));

  it("mounts /sys with the flags of this process's", () =>
    inNamespace(async (namespace) => {
      const own = flagsOf(execFileSync('sh', ['-c', mounted], { encoding: 'utf8' }));
      assert.deepEqual(flagsOf((await run(namespace, 'sh', '-c', mounted)).stdout), own);
    }));

  for (const flags of ['ro', 'ro,nosuid,nodev,noexec', 'rw,noexec', 'rw,nosuid']) {
    itAsRoot(`keeps a /sys that is ${flags}`, () => {
      const [node, ...args] = nodeProgram(`
        const namespace = await NetworkNamespace.create();
        const child = namespace.spawn('sh', ['-c', ${JSON.stringify(mounted)}], { stdio: 'inherit' });
        await new Promise((resolve) => child.on('close', resolve));`);
      const script = `mount --make-rprivate / && mount -o remount,bind,${flags} /sys && ${mounted} && exec "$@"`;
      const shell = ['-m', 'sh', '-c', script, 'sh', node, ...args];
      const { stdout, stderr, status } = spawnSync('unshare', shell, { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
      const [outside, inside] = stdout.trim().split('\n').map(flagsOf);
      assert.deepEqual(inside, outside);
      assert.equal(outside[0], flags.slice(0, 2));
    });
  }

  itAsRoot('shows the files under /etc/netns of a namespace with a name, as ip netns exec does', async () => {
    const name = `tuntap-etc-${process.pid}`;
    const folder = `/etc/netns/${name}`;
    const made = mkdirSync(folder, { recursive: true }) ?? folder;
    writeFileSync(`${folder}/hosts`, '192.0.2.7 only-here\n');
    const namespace = await NetworkNamespace.create(name);
    try {
      assert.equal((await run(namespace, 'cat', '/etc/hosts')).stdout, '192.0.2.7 only-here\n');
      const theirs = spawnSync('ip', ['netns', 'exec', name, 'cat', '/etc/hosts'], { encoding: 'utf8' });
      assert.equal(theirs.stdout, '192.0.2.7 only-here\n');
      assert.ok(!readFileSync('/etc/hosts', 'utf8').includes('only-here'));
      await using anonymous = await NetworkNamespace.open(`/proc/self/fd/${namespace.fd}`);
      assert.ok(!(await run(anonymous, 'cat', '/etc/hosts')).stdout.includes('only-here'));
    } finally {
      await NetworkNamespace.delete(name);
      await namespace.close();
      rmSync(made, { recursive: true });
    }
  });

  it('gives the command files of these contents in /etc, and leaves none behind', () =>
    inNamespace(async (namespace) => {
      const etc = { 'resolv.conf': 'nameserver 192.0.2.53\n', hosts: '' };
      const before = readFileSync('/etc/resolv.conf', 'utf8');
      const script = 'cat /etc/resolv.conf /etc/hosts; pwd; umask; ls /sys; grep /sys /proc/self/mounts';
      const umask = process.umask(0o077);
      const start = (more: object) => {
        const child = namespace.spawn('sh', ['-c', script], {
          ...more,
          cwd: '/usr',
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        return text(child.stdout as NodeJS.ReadableStream);
      };
      try {
        const [given, plain] = await Promise.all([start({ etc }), start({})]);
        // But for the files, all is as without them.
        assert.ok(given.startsWith('nameserver 192.0.2.53\n/usr\n0077\n'), given);
        assert.equal(given.slice(given.indexOf('/usr\n')), plain.slice(plain.indexOf('/usr\n')));
      } finally {
        process.umask(umask);
      }
      assert.equal(readFileSync('/etc/resolv.conf', 'utf8'), before);
      const large = { 'resolv.conf': `#${'x'.repeat(100_000)}\nnameserver 192.0.2.53\n` };
      const child = namespace.spawn('cat', ['/etc/resolv.conf'], {
        etc: large,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      assert.equal(await text(child.stdout as NodeJS.ReadableStream), large['resolv.conf']);
    }));

  it('runs nothing if the files of a folder that was asked for can not hide those of /etc', () =>
    inNamespace(async (namespace) => {
      for (const etc of ['/nonexistent', '/etc/hostname', { 'no-such-file-there': '' }]) {
        const child = namespace.spawn('echo', ['ran'], { etc, stdio: ['ignore', 'pipe', 'pipe'] });
        const stdout = text(child.stdout as NodeJS.ReadableStream);
        const [status] = await once(child, 'close');
        assert.deepEqual([status, await stdout], [126, '']);
      }
      const names = [{ '../x': '' }, { '..': '' }, { '': '' }, { 'a/b': '' }];
      const wrong = [5, '', [], ['x'], new Map(), { hosts: 5 }, { hosts: 'a\0b' }, ...names];
      for (const options of [...wrong.map((etc) => ({ etc })), { parentDeathSignal: 'SIGNOTHING' }]) {
        assert.match(
          code(() => namespace.spawn('true', [], options as never)) ?? '',
          /^ERR_INVALID_ARG_(TYPE|VALUE)$/,
        );
      }
    }));

  it('names the working directory that can not be entered', () =>
    inNamespace(async (namespace) => {
      const missing = ['/nonexistent/folder', new URL('file:///nonexistent/folder')];
      for (const cwd of missing) {
        const child = namespace.spawn('true', [], { cwd });
        const [error] = (await once(child, 'error')) as [NodeJS.ErrnoException];
        const { code, errno, syscall, path, message } = error;
        assert.deepEqual(
          { code, errno, syscall, path },
          { code: 'ENOENT', errno: -2, syscall: 'chdir', path: '/nonexistent/folder' },
        );
        assert.match(message, /^ENOENT: .*'\/nonexistent\/folder'/);
        assert.ok(error.stack?.includes('/nonexistent/folder') && !error.stack.includes('namespace_exec'));
        assert.equal(child.pid, undefined);
      }
      // Node.js and Bun throw at once, Deno emits the error.
      const inFile = async () => {
        const [error] = await once(namespace.spawn('true', [], { cwd: '/etc/passwd' }), 'error');
        throw error;
      };
      await assert.rejects(inFile, {
        code: 'ENOTDIR',
        syscall: 'chdir',
        path: '/etc/passwd',
      });
      const [status] = await once(namespace.spawn('true', [], { cwd: '/usr' }), 'close');
      assert.equal(status, 0);
      const aborted = namespace.spawn('sleep', ['9'], { cwd: '/usr', signal: AbortSignal.abort() });
      assert.equal((await once(aborted, 'error'))[0].code, 'ABORT_ERR');
    }));

  it('a wrong working directory that nobody listens for ends the process', () => {
    const [node, ...args] = nodeProgram(`
      const namespace = await NetworkNamespace.create();
      namespace.spawn('true', [], { cwd: '/nonexistent/folder' });
      await new Promise((resolve) => setTimeout(resolve, 1000));`);
    const { status, stderr } = spawnSync(node, args, { encoding: 'utf8' });
    assert.equal(status, 1);
    assert.match(stderr, /ENOENT: no such file or directory, chdir '\/nonexistent\/folder'/);
  });

  it('refuses a shell and other options that it has not, and what is no command or no arguments', () =>
    inNamespace(async (namespace) => {
      assert.equal(
        code(() => namespace.spawn('true', [], { shell: true })),
        'ERR_INVALID_ARG_VALUE',
      );
      assert.equal(
        code(() => namespace.spawn('true', [], { shell: '/bin/sh' })),
        'ERR_INVALID_ARG_VALUE',
      );
      for (const option of [{ argv0: 'name' }, { uid: 1000 }, { gid: 1000 }]) {
        assert.equal(
          code(() => namespace.spawn('true', [], option)),
          'ERR_INVALID_ARG_VALUE',
        );
      }
      for (const wrong of ['text', { stdio: 'ignore' }]) {
        assert.equal(
          code(() => namespace.spawn('true', wrong as never)),
          'ERR_INVALID_ARG_TYPE',
        );
      }
      for (const wrong of ['', undefined, 7]) {
        assert.equal(
          code(() => namespace.spawn(wrong as string)),
          'ERR_INVALID_ARG_TYPE',
        );
      }
    }));
});

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { openTun } from 'tuntap-native';
import { code, inNamespace, needs, run, sleeper } from '../support.ts';

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
      const node = namespace.spawn(process.execPath, ['-e', 'process.send("hello"); process.disconnect()'], {
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

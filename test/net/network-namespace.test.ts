import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { NetworkNamespace, openTap, openTun } from 'tuntap-native';
import {
  code,
  fdsAtMost,
  inNamespace,
  ipLinks,
  itAsRoot,
  needs,
  openFds,
  run,
  runBeside,
  sleeper,
  threadNamespaces,
} from '../support.ts';

function ip(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('ip', args, { encoding: 'utf8' });
}

/** The names that `ip netns` lists. */
function listed(): string[] {
  return ip('netns', 'list')
    .stdout.split('\n')
    .map((line) => line.split(' ')[0]);
}

let names = 0;

/** Gives `body` a name under /run/netns that is free, and removes it afterwards. */
async function withName(body: (name: string, path: string) => Promise<void>): Promise<void> {
  const name = `tuntap-${process.pid}-${names++}`;
  try {
    await body(name, `/run/netns/${name}`);
  } finally {
    if (existsSync(`/run/netns/${name}`)) ip('netns', 'delete', name);
    assert.ok(!listed().includes(name));
  }
}

/** What identifies a namespace: the inode of its nsfs file. */
function inode(path: string): number {
  return statSync(path).ino;
}

function inodeOf(namespace: NetworkNamespace): number {
  return inode(`/proc/self/fd/${namespace.fd}`);
}

describe('NetworkNamespace and ip netns', () => {
  before(function () {
    needs(this, 'ip');
  });

  itAsRoot('a named one is listed by ip, and commands that ip runs there see its devices', () =>
    withName(async (name, path) => {
      await using namespace = await NetworkNamespace.create(name);
      assert.equal(namespace.name, name);
      assert.ok(listed().includes(name));
      assert.equal(inode(path), inodeOf(namespace));
      await using tun = openTun('tun0', { namespace });
      const { stdout } = ip('netns', 'exec', name, 'ip', '-j', 'link', 'show', 'tun0');
      assert.equal(JSON.parse(stdout)[0].ifindex, tun.index);
      assert.equal(JSON.parse(ip('-n', name, '-j', 'link', 'show', 'lo').stdout)[0].operstate, 'DOWN');
    }),
  );

  itAsRoot('ip can delete one of ours; it lives on while it is open', () =>
    withName(async (name, path) => {
      await using namespace = await NetworkNamespace.create(name);
      assert.equal(ip('netns', 'delete', name).status, 0);
      assert.ok(!existsSync(path));
      assert.equal((await run(namespace, 'true')).status, 0);
      await assert.rejects(NetworkNamespace.delete(name), { code: 'ENOENT' });
    }),
  );

  itAsRoot('one that ip made can be opened, used and deleted', () =>
    withName(async (name, path) => {
      assert.equal(ip('netns', 'add', name).status, 0);
      await using namespace = await NetworkNamespace.open(name);
      assert.equal(namespace.name, name);
      await using _tun = openTun('tun0', { namespace: name });
      assert.match(ip('-n', name, 'link', 'show', 'tun0').stdout, /tun0/);
      assert.deepEqual(
        (await ipLinks(namespace)).map(({ ifname }) => ifname),
        ['lo', 'tun0'],
      );
      await NetworkNamespace.delete(name);
      assert.ok(!listed().includes(name) && !existsSync(path));
    }),
  );

  itAsRoot('a name that is taken gives EEXIST and stays as it was, whoever made it', () =>
    withName(async (name, path) => {
      for (const make of [() => ip('netns', 'add', name), () => NetworkNamespace.create(name)]) {
        const made = await make();
        if (made instanceof NetworkNamespace) await made.close();
        const before = inode(path);
        const fds = openFds();
        await assert.rejects(NetworkNamespace.create(name), { code: 'EEXIST' });
        assert.notEqual(ip('netns', 'add', name).status, 0);
        assert.equal(inode(path), before);
        await fdsAtMost(fds);
        await NetworkNamespace.delete(name);
      }
    }),
  );

  itAsRoot('refuses names that are no file names, and what is not there', async () => {
    for (const wrong of ['', '.', '..', 'a/b', 'a\0b', 'x'.repeat(256)]) {
      await assert.rejects(NetworkNamespace.create(wrong), { code: 'ERR_INVALID_ARG_VALUE' });
      await assert.rejects(NetworkNamespace.delete(wrong), { code: 'ERR_INVALID_ARG_VALUE' });
    }
    await assert.rejects(NetworkNamespace.delete('no-such-namespace'), { code: 'ENOENT' });
    await assert.rejects(NetworkNamespace.open('no-such-namespace'), { code: 'ENOENT' });
    await assert.rejects(NetworkNamespace.open('/nonexistent/net'), { code: 'ENOENT' });
    await assert.rejects(NetworkNamespace.open(2 ** 30), { code: 'ENOENT' });
    await assert.rejects(NetworkNamespace.open(1.5), { code: 'ERR_INVALID_ARG_VALUE' });
    for (const other of ['/etc/passwd', '/tmp', '/dev/null', '/proc/self/ns/uts']) {
      await assert.rejects(NetworkNamespace.open(other), { code: 'ERR_INVALID_ARG_VALUE' });
    }
    await assert.rejects(NetworkNamespace.open({} as string), { code: 'ERR_INVALID_ARG_TYPE' });
  });

  const leftovers: Readonly<Record<string, (path: string) => unknown>> = {
    'an empty file': (path) => writeFileSync(path, ''),
    'a file with text': (path) => writeFileSync(path, 'text'),
    'a FIFO': (path) => spawnSync('mkfifo', [path]),
    'a dangling link': (path) => symlinkSync('/nonexistent', path),
    'a link to a file': (path) => symlinkSync('/etc/hostname', path),
    'a device': (path) => spawnSync('mknod', [path, 'c', '1', '3']),
    'a socket': async (path) => {
      const server = createServer().listen(path);
      await once(server, 'listening');
      // Closing a server removes its file.
      spawnSync('mv', [path, `${path}.kept`]);
      server.close();
      spawnSync('mv', [`${path}.kept`, path]);
    },
  };
  for (const [kind, make] of Object.entries(leftovers)) {
    itAsRoot(`${kind} in /run/netns is listed, refused and deleted, as ip does`, () =>
      withName(async (name, path) => {
        await make(path);
        assert.ok(lstatSync(path));
        // `ip netns list` waits for a writer of a FIFO.
        if (kind !== 'a FIFO') assert.ok(listed().includes(name));
        assert.ok((await NetworkNamespace.list()).includes(name));
        const code = kind === 'a dangling link' ? 'ENOENT' : 'ERR_INVALID_ARG_VALUE';
        for (const reference of [name, path]) {
          await assert.rejects(NetworkNamespace.open(reference), { code });
          assert.throws(() => openTun('tun0', { namespace: reference }), { code });
        }
        const hint = { code: 'EEXIST', message: new RegExp(`NetworkNamespace\\.delete\\('${name}'\\)`) };
        await assert.rejects(NetworkNamespace.create(name), hint);
        assert.ok(lstatSync(path));
        await NetworkNamespace.delete(name);
        assert.ok(!listed().includes(name));
        await using again = await NetworkNamespace.create(name);
        assert.equal(inode(path), inodeOf(again));
      }),
    );
  }

  itAsRoot('a folder in /run/netns is not deleted, as ip does not', () =>
    withName(async (name, path) => {
      mkdirSync(path);
      await assert.rejects(NetworkNamespace.open(name), { code: 'ERR_INVALID_ARG_VALUE' });
      await assert.rejects(NetworkNamespace.delete(name), { code: 'EISDIR' });
      assert.notEqual(ip('netns', 'delete', name).status, 0);
      rmdirSync(path);
    }),
  );

  itAsRoot('a link to the name of a namespace, or to a process, is deleted without what it leads to', () =>
    withName((name, path) =>
      withName(async (link, linkPath) => {
        await using namespace = await NetworkNamespace.create(name);
        for (const target of [path, '/proc/self/ns/net']) {
          symlinkSync(target, linkPath);
          await using opened = await NetworkNamespace.open(link);
          assert.equal(inodeOf(opened), inode(target));
          await assert.rejects(
            NetworkNamespace.create(link),
            (error: Error) => !/delete/.test(error.message),
          );
          await NetworkNamespace.delete(link);
          assert.equal(inode(path), inodeOf(namespace));
        }
      }),
    ),
  );

  itAsRoot('opens one by name, path and pid: the same', () =>
    withName(async (name, path) => {
      await using namespace = await NetworkNamespace.create(name);
      const child = await sleeper(namespace);
      try {
        for (const reference of [name, path, child.pid as number, `/proc/${child.pid}/ns/net`]) {
          await using same = await NetworkNamespace.open(reference);
          assert.equal(inodeOf(same), inodeOf(namespace));
          assert.equal(same.name, reference === name ? name : undefined);
        }
      } finally {
        child.kill('SIGKILL');
        await once(child, 'close');
      }
    }),
  );

  it('an anonymous one is listed nowhere, and gone with its devices when it is closed', async () => {
    await using outside = await NetworkNamespace.create();
    const namespace = await NetworkNamespace.create();
    assert.equal(namespace.name, undefined);
    assert.ok(!readFileSync('/proc/self/mountinfo', 'utf8').includes(`net:[${inodeOf(namespace)}]`));
    // A device that was moved there goes with it, which its reader is told.
    await using tap = openTap('tap0', { namespace: outside });
    const lost = once(tap.resume(), 'error');
    const moved = await runBeside(
      namespace,
      outside,
      'ip',
      'link',
      'set',
      'tap0',
      'netns',
      '/proc/self/fd/3',
    );
    assert.equal(moved.status, 0, moved.stderr);
    await namespace.close();
    await namespace.close();
    assert.equal((await lost)[0].code, 'EBADFD');
    assert.equal(namespace.fd, -1);
    assert.equal(
      code(() => namespace.spawn('true')),
      'ERR_TUNTAP_CLOSED',
    );
    assert.equal(
      code(() => openTun('tun0', { namespace })),
      'ERR_INVALID_ARG_VALUE',
    );
  });
});

describe('the namespace of this process', () => {
  before(function () {
    needs(this, 'ip');
  });

  it('is the same in every thread after many operations in others', async () => {
    const home = readlinkSync('/proc/self/ns/net');
    // Without root, the first one makes a user namespace, which the process keeps.
    await inNamespace(async () => {});
    const fds = openFds();
    for (let i = 0; i < 20; i++) {
      await inNamespace(async (namespace) => {
        await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
        // The pool of threads that dns and fs share starts and works meanwhile.
        const pool = Promise.all([
          readFile('/proc/self/stat'),
          lookup('localhost'),
          readFile('/proc/self/status'),
        ]);
        assert.notEqual(`net:[${inodeOf(namespace)}]`, home);
        tun.setMtu(1300);
        assert.equal(
          code(() => openTun('tun0', { namespace, exclusive: true })),
          'EBUSY',
        );
        await pool;
        assert.deepEqual(threadNamespaces(), new Set([home]));
      });
    }
    const child = spawn('readlink', ['/proc/self/ns/net'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(child, 'close');
    const [link] = await once(child.stdout, 'data');
    assert.equal(`${link}`.trim(), home);
    await closed;
    await fdsAtMost(fds);
  });
});

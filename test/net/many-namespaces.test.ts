/** The thread that opens what belongs inside namespaces: it stays for a while, in its own namespace, and then ends. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { NetworkNamespace } from 'tuntap-native/net';
import { openUdp } from 'tuntap-native/tunnel';
import { fdsAtMost, moduleArguments, needs, ofThreads, openFds, threadNamespaces } from '../support.ts';

const threads = () => ofThreads((folder) => folder).length;
const mounts = () => readFileSync('/proc/self/mountinfo', 'utf8');

/** No more threads than before, soon. */
async function threadsAtMost(count: number): Promise<void> {
  for (const end = Date.now() + 10_000; threads() > count && Date.now() < end; ) await delay(10);
  assert.ok(threads() <= count, `${threads()} threads, at most ${count} expected`);
}

describe('namespaces with sockets', () => {
  before(function () {
    needs(this);
  });

  it('leave no fd, no thread and no mount: a thousand, each with a socket', async function () {
    this.timeout(120_000);
    const openNext = async () => {
      const namespace = await NetworkNamespace.create();
      return { namespace, server: process.versions.bun ? openUdp({ namespace }) : await namespace.listen() };
    };
    type Opened = Awaited<ReturnType<typeof openNext>>;
    const close = async ({ namespace, server }: Opened) => {
      server.close();
      await namespace.close();
    };
    // A runtime keeps fds and threads of its first server.
    await close(await openNext());
    await delay(500);
    const before = { fds: openFds(), threads: threads(), mounts: mounts() };
    const opened = await Promise.all(Array.from({ length: 1000 }, openNext));
    assert.equal(new Set(opened.map(({ namespace }) => namespace.fd)).size, 1000);
    assert.ok(openFds() >= before.fds + 2000);
    // Deno starts some of its own.
    assert.ok(threads() < before.threads + 100, `${threads()} threads, before ${before.threads}`);
    await Promise.all(opened.map(close));
    await fdsAtMost(before.fds);
    await threadsAtMost(before.threads);
    assert.equal(mounts(), before.mounts);
  });

  it('are entered by no thread once the call has returned', async () => {
    const home = readlinkSync('/proc/self/ns/net');
    await using namespace = await NetworkNamespace.create();
    for (let i = 0; i < 100; i++) {
      await using _socket = openUdp({ namespace });
      assert.deepEqual(threadNamespaces(), new Set([home]));
    }
  });

  it('are entered for workers at once, which are terminated, and the process ends well that has the addon only there', function () {
    this.timeout(60_000);
    // The main thread does not load the package.
    const program = `
      import { Worker } from 'node:worker_threads';
      import { once } from 'node:events';
      for (let round = 0; round < 5; round++) {
        await Promise.all(Array.from({ length: 4 }, async () => {
          const worker = new Worker(new URL(${JSON.stringify(import.meta.resolve('./request-worker.js'))}), { execArgv: [] });
          await once(worker, 'message');
          await worker.terminate();
        }));
      }
      console.log('done');`;
    const { status, stdout, stderr } = spawnSync(process.execPath, moduleArguments(program), {
      encoding: 'utf8',
      timeout: 50_000,
    });
    assert.deepEqual([status, stdout, stderr], [0, 'done\n', '']);
  });

  it('are entered by a thread that can not come home, too: in a user namespace, by its root', async function () {
    needs(this, 'unshare');
    const program = `
      import { NetworkNamespace } from ${JSON.stringify(import.meta.resolve('tuntap-native/net'))};
      import { openUdp } from ${JSON.stringify(import.meta.resolve('tuntap-native/tunnel'))};
      const namespace = await NetworkNamespace.create();
      for (let i = 0; i < 100; i++) await openUdp({ namespace }).close();
      await namespace.close();
      console.log('done');`;
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['--user', '--map-root-user', process.execPath, ...moduleArguments(program)],
      { encoding: 'utf8', timeout: 20_000 },
    );
    assert.deepEqual([status, stdout, stderr], [0, 'done\n', '']);
  });

  it('are entered though the addon was loaded twice', () => {
    const program = `
      import { createRequire } from 'node:module';
      import { openUdp } from ${JSON.stringify(import.meta.resolve('tuntap-native/tunnel'))};
      await openUdp().close();
      const require = createRequire(${JSON.stringify(import.meta.url)});
      const file = Object.keys(require.cache).find((name) => name.endsWith('.node'));
      delete require.cache[file];
      require(file);
      await openUdp().close();
      console.log('done');`;
    const { status, stdout, stderr } = spawnSync(process.execPath, moduleArguments(program), {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.deepEqual([status, stdout, stderr], [0, 'done\n', '']);
  });
});

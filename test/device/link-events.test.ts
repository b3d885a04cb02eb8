import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import {
  type LinkEvent,
  type NetworkNamespace,
  openMacvtap,
  openTap,
  openTun,
  type PacketDevice,
} from 'tuntap-native';
import { inNamespace, itAsRoot, needs, nodeProgram, openFds, run, sleeper } from '../support.ts';

/** Resolves when the device is closed, also with an error. */
function closing(device: PacketDevice): Promise<void> {
  device.on('error', () => undefined);
  return new Promise((resolve) => {
    device.once('close', resolve);
  });
}

/** An fd that is watched is closed at the end of the event loop's turn. */
async function settledFds(): Promise<number> {
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
  return openFds();
}

/** Resolves with all events, as `change name mtu`, once the last one is such a change. */
function eventsUntil(device: PacketDevice, last: LinkEvent['change'], name?: string): Promise<string[]> {
  const seen: string[] = [];
  return new Promise((resolve) => {
    device.on('link', function listener({ change, link }) {
      seen.push(`${change} ${link.name} ${link.mtu}`);
      if (change !== last || (name !== undefined && link.name !== name)) return;
      device.off('link', listener);
      resolve(seen);
    });
  });
}

async function ip(namespace: NetworkNamespace, command: string): Promise<void> {
  const { status, stderr } = await run(namespace, 'ip', ...command.split(' '));
  assert.equal(status, 0, stderr);
}

describe('link events of a device', () => {
  before(function () {
    needs(this, 'ip');
  });

  it('tell what ip changes: up, down, MTU and name', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace });
      const seen = eventsUntil(tun, 'mtu', 'vpn0');
      await ip(namespace, 'link set tun0 up');
      await ip(namespace, 'link set tun0 mtu 1300');
      await ip(namespace, 'link set tun0 down');
      await ip(namespace, 'link set tun0 name vpn0');
      await ip(namespace, 'link set vpn0 mtu 1200 up');
      assert.deepEqual(await seen, [
        'up tun0 1500',
        'mtu tun0 1300',
        'down tun0 1300',
        'name vpn0 1300',
        'mtu vpn0 1200',
      ]);
    }));

  it('follow a device that is moved to another namespace, and tell of its end there', () =>
    inNamespace((namespace) =>
      inNamespace(async (other) => {
        await using tap = openTap('tap0', { namespace, up: true });
        const closed = closing(tap);
        tap.resume();
        const child = await sleeper(other);
        try {
          const moved = eventsUntil(tap, 'moved');
          const up = eventsUntil(tap, 'up');
          const removed = eventsUntil(tap, 'removed');
          await ip(namespace, `link set tap0 netns ${child.pid}`);
          assert.deepEqual(await moved, ['down tap0 1500', 'moved tap0 1500']);
          await ip(other, 'link set tap0 mtu 1400 up');
          assert.deepEqual((await up).slice(2), ['mtu tap0 1400', 'up tap0 1400']);
          await ip(other, 'link delete tap0');
          assert.equal((await removed).at(-1), 'removed tap0 1400');
          await closed;
          assert.equal((tap.errored as NodeJS.ErrnoException).code, 'EBADFD');
        } finally {
          const ended = once(child, 'close');
          child.kill();
          await ended;
        }
      }),
    ));

  it('tell once of the end of a device, whether it is read or not', () =>
    inNamespace(async (namespace) => {
      for (const read of [true, false]) {
        await using tun = openTun('tun0', { namespace });
        let count = 0;
        tun.on('link', ({ change }) => {
          count += Number(change === 'removed');
        });
        const removed = eventsUntil(tun, 'removed');
        const closed = closing(tun);
        if (read) tun.resume();
        await ip(namespace, 'link delete tun0');
        await removed;
        if (read) await closed;
        await new Promise(setImmediate);
        assert.equal(count, 1);
      }
    }));

  it('do not call a link removed that stays when its device is destroyed', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { namespace, persist: true });
      const changes: string[] = [];
      tun.on('link', ({ change }) => changes.push(change));
      const closed = closing(tun);
      tun.destroy(new Error('enough'));
      await closed;
      await new Promise(setImmediate);
      assert.deepEqual(changes, []);
      await ip(namespace, 'link delete tun0');
    }));

  itAsRoot('tell how the link is in the end where the kernel’s queue overflowed', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace });
      const last = new Promise<void>((resolve) => {
        tun.on('link', ({ change, link }) => {
          if (change === 'mtu' && link.mtu === 3999) resolve();
        });
      });
      const lines = Array.from({ length: 2000 }, (_, i) => `link set tun0 mtu ${2000 + i}`).join('\n');
      const net = `--net=/proc/${process.pid}/fd/${namespace.fd}`;
      // While this thread waits, nobody reads.
      const { status, stderr } = spawnSync('nsenter', [net, 'ip', '-batch', '-'], { input: lines });
      assert.equal(status, 0, String(stderr));
      await last;
    }),
  );

  it('cost a socket only while somebody listens', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { namespace });
      const before = await settledFds();
      const [first, second] = [() => undefined, () => undefined];
      tun.on('link', first).once('link', second);
      assert.equal(await settledFds(), before + 1);
      tun.off('link', first);
      assert.equal(await settledFds(), before + 1);
      tun.off('link', second);
      assert.equal(await settledFds(), before);
      tun.on('link', first).removeAllListeners('link');
      assert.equal(await settledFds(), before);
      tun.on('link', first).removeAllListeners();
      assert.equal(await settledFds(), before);
      tun.on('link', first);
      assert.equal(await settledFds(), before + 1);
      await tun.close();
      assert.equal(await settledFds(), before - 1);
    }));

  it('throw what a listener throws, and go on', () =>
    inNamespace(async (namespace) => {
      const [command, ...args] = nodeProgram(`
        const tun = openTun('tun0');
        process.on('uncaughtException', (error) => console.log(error.message));
        tun.once('link', () => { throw new Error('mine'); });
        tun.on('link', ({ change }) => { console.log(change); if (change === 'down') process.exit(); });
        tun.setUp();
        setImmediate(() => setImmediate(() => tun.setDown()));
        setTimeout(() => {}, 10_000);`);
      const { stdout, stderr } = await run(namespace, command, ...args);
      assert.equal(stdout, 'mine\ndown\n', stderr);
    }));

  it('keep no process running', () =>
    inNamespace(async (namespace) => {
      const [command, ...args] = nodeProgram(`
        openTun('tun0', { up: true }).on('link', () => {});
        console.log('opened');`);
      const { status, stdout } = await run(namespace, command, ...args);
      assert.deepEqual([status, stdout], [0, 'opened\n']);
    }));

  it('come in a worker thread', () =>
    inNamespace(async (namespace) => {
      const source = `
        import { parentPort } from 'node:worker_threads';
        const { openTun } = await import('${import.meta.resolve('tuntap-native')}');
        const tun = openTun('tun0', { namespace: '/proc/${process.pid}/fd/${namespace.fd}' });
        tun.on('link', ({ change }) => parentPort.postMessage(change));
        tun.on('link', ({ change }) => { if (change === 'mtu') tun.close(); });
        tun.resume();
        parentPort.postMessage('open');`;
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
      const said: unknown[] = [];
      worker.on('message', async (message) => {
        said.push(message);
        if (message === 'open') await ip(namespace, 'link set tun0 up');
        if (message === 'up') await ip(namespace, 'link set tun0 mtu 1400');
      });
      const [status] = await once(worker, 'exit');
      assert.deepEqual([status, said], [0, ['open', 'up', 'mtu']]);
    }));

  itAsRoot('a macvtap that somebody else deletes ends with ENODEV, in batches and as a stream', () =>
    inNamespace(async (namespace) => {
      await using parent = openTap('tap0', { namespace });
      for (const how of ['batches', 'stream']) {
        const macvtap = openMacvtap('mv0', { namespace, parent: parent.name, up: true });
        const ended = assert.rejects(
          async () => {
            for await (const _ of how === 'batches' ? macvtap.batches() : macvtap);
          },
          { code: 'ENODEV' },
          how,
        );
        await ip(namespace, 'link delete mv0');
        await ended;
        assert.ok(macvtap.destroyed);
      }
    }),
  );
});

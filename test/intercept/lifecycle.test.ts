/** How intercepted connections and interceptors end, and what they leave: nothing. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { openTun, PacketBatch } from 'tuntap-native';
import { intercept } from 'tuntap-native/intercept';
import { DatagramTable } from 'tuntap-native/tunnel';
import { code, fdNumbers, fdsAtMost, inNamespace, linkGone, needs, openFds, run } from '../support.ts';
import { openConnection, withIntercepted } from './support.ts';

const resetOf = async (socket: Socket): Promise<string | undefined> => {
  const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
  return error.code;
};

describe('the life of intercepted connections', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ip');
  });

  for (const [who, other] of [
    ['client', 'server'],
    ['server', 'client'],
  ] as const) {
    it(`ends with a reset of the ${who}`, () =>
      withIntercepted({}, async (intercepted) => {
        const { connection, ...ends } = await openConnection(intercepted);
        const closed = once(connection, 'close');
        const reset = resetOf(ends[other]);
        ends[who].resetAndDestroy();
        assert.equal(await reset, 'ECONNRESET');
        await closed;
        assert.equal(intercepted.interceptor.counters.open, 0);
      }));
  }

  it('begins without the clock, which may be set back meanwhile', async () => {
    const { now } = Date;
    await inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace, up: true });
      Date.now = () => {
        throw new Error('the clock was read');
      };
      try {
        await (await intercept(tun)).close();
      } finally {
        Date.now = now;
      }
    });
  });

  it('ends after idleTimeout', () =>
    withIntercepted({ idleTimeout: 300 }, async (intercepted) => {
      const { connection, server, client } = await openConnection(intercepted);
      const resets = Promise.all([resetOf(server), resetOf(client)]);
      await once(connection, 'close');
      assert.deepEqual(await resets, ['ECONNRESET', 'ECONNRESET']);
    }));

  it('ends after idleTimeout with more others than a batch has RSTs for', () =>
    withIntercepted({ idleTimeout: 3000 }, async (intercepted) => {
      const resets: Promise<string | undefined>[] = [];
      for (let port = 1; port <= 300; port++) {
        const { server, client } = await openConnection(intercepted, { port });
        resets.push(resetOf(server), resetOf(client));
      }
      assert.deepEqual(new Set(await Promise.all(resets)), new Set(['ECONNRESET']));
      assert.equal(intercepted.interceptor.counters.open, 0);
    }));

  it('begins anew after a reset that leaves the port free at once', () =>
    withIntercepted({}, async (intercepted) => {
      const local = { localAddress: '192.0.2.1', localPort: 5555 };
      for (let i = 0; i < 2; i++) {
        const { server, client } = await openConnection(intercepted, local);
        const reset = resetOf(server);
        client.resetAndDestroy();
        assert.equal(await reset, 'ECONNRESET');
      }
    }));

  it('ends with the interceptor', async () => {
    const ends: Promise<string | undefined>[] = [];
    await withIntercepted({}, async (intercepted) => {
      for (let port = 1; port <= 300; port++) {
        const { server, client } = await openConnection(intercepted, { port });
        ends.push(resetOf(server), resetOf(client));
      }
      await Promise.all([intercepted.interceptor.close(), once(intercepted.interceptor, 'close')]);
      await intercepted.interceptor.close();
      assert.ok(intercepted.tun.fd >= 0, 'the device stays open');
    });
    assert.deepEqual(new Set(await Promise.all(ends)), new Set(['ECONNRESET']));
  });

  it('begins anew from a port that has just been used, and from one port to two destinations', () =>
    withIntercepted({}, async (intercepted) => {
      const local = { localAddress: '192.0.2.1', localPort: 5555 };
      for (let i = 0; i < 3; i++) {
        const { connection, server, client } = await openConnection(intercepted, local);
        const closed = once(connection, 'close');
        server.end(); // so that the stack, not the client, has the TIME_WAIT
        client.resume();
        await closed;
      }
      const both = [
        await openConnection(intercepted, local),
        await openConnection(intercepted, { ...local, host: '203.0.113.6' }),
      ];
      for (const { server, client, connection } of both) {
        server.write(connection.destination.address);
        const [bytes] = (await once(client, 'data')) as [Buffer];
        assert.equal(bytes.toString(), connection.destination.address);
        for (const socket of [server, client]) socket.on('error', () => {});
      }
    }));

  it('leaves nothing, thousands of times', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      interceptor.on('connection', async (connection) => (await connection.accept()).end('x'));
      const before = openFds();
      const one = async (port: number): Promise<void> => {
        const socket = await namespace.connect({ host: '203.0.113.5', port });
        socket.resume();
        await once(socket, 'close');
      };
      for (let round = 0; round < 50; round++) {
        await Promise.all(Array.from({ length: 64 }, (_, i) => one(1 + i)));
      }
      while (interceptor.counters.open > 0) await new Promise((resolve) => setTimeout(resolve, 10));
      const { connections, pending } = interceptor.counters;
      assert.deepEqual({ connections, pending }, { connections: 3200, pending: 0 });
      await fdsAtMost(before);
    }));
});

describe('an interceptor', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ip');
  });

  it('leaves no fd and no address', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true, offload: 'raw' });
      const addresses = (await namespace.addresses()).length;
      const before = fdNumbers();
      for (const stack of ['private', 'shared', 'private', 'shared'] as const) {
        const interceptor = await intercept(tun, { stack });
        await interceptor.close();
        assert.ok(fdNumbers().length <= before.length + 3, 'the link of the device, at most');
      }
      assert.equal((await namespace.addresses()).length, addresses);
      await using again = await intercept(tun);
      assert.equal(again.counters.connections, 0);
    }));

  it('fails and closes if its device is deleted', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace, up: true });
      const interceptor = await intercept(tun);
      const closed = new Promise<void>((resolve) => interceptor.on('close', resolve));
      const failed = once(interceptor, 'error');
      assert.equal((await run(namespace, 'ip', 'link', 'delete', 'tun0')).status, 0);
      assert.equal(((await failed) as [NodeJS.ErrnoException])[0].code, 'EBADFD');
      await closed;
    }));

  it('closes with its device', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { namespace, up: true });
      const interceptor = await intercept(tun);
      const closed = once(interceptor, 'close');
      await tun.close();
      await closed;
      await assert.rejects(interceptor.connect({ host: '127.0.0.1', port: 1 }), {
        code: 'ERR_TUNTAP_CLOSED',
      });
      for (const attempt of [
        () => interceptor.datagrams(),
        () => interceptor.writeBatch(new PacketBatch(), new DatagramTable(1)),
      ]) {
        assert.equal(code(attempt), 'ERR_TUNTAP_CLOSED');
      }
    }));

  it('refuses wrong arguments, and a device that is read', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace, up: true });
      await assert.rejects(intercept({} as typeof tun), { code: 'ERR_INVALID_ARG_TYPE' });
      for (const options of [{ maxPending: 0 }, { idleTimeout: -1 }, { decisionTimeout: 0.5 }]) {
        await assert.rejects(intercept(tun, options), { code: 'ERR_OUT_OF_RANGE' });
      }
      await assert.rejects(intercept(tun, { stack: 'own' as 'private' }), { code: 'ERR_INVALID_ARG_VALUE' });
      assert.equal(tun.mtu, 1500); // its socket stays
      const before = fdNumbers();
      const reading = tun.batches();
      await assert.rejects(intercept(tun), { code: 'ERR_TUNTAP_READING' });
      assert.deepEqual(fdNumbers(), before);
      await reading.return?.();
      assert.equal(
        code(() => tun.batches()),
        undefined,
      );
    }));

  it('is gone with its worker', () =>
    inNamespace(async (namespace) => {
      const before = openFds();
      const source = `
        import { parentPort, workerData } from 'node:worker_threads';
        const { openTun, NetworkNamespace } = await import('${import.meta.resolve('tuntap-native')}');
        const { intercept } = await import('${import.meta.resolve('tuntap-native/intercept')}');
        const namespace = await NetworkNamespace.open(workerData);
        const tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true, offload: 'raw' });
        const interceptor = await intercept(tun);
        interceptor.on('connection', async (connection) => {
          const socket = await connection.accept();
          socket.on('data', (bytes) => socket.write(bytes));
        });
        parentPort.postMessage('ready');`;
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
        workerData: `/proc/self/fd/${namespace.fd}`,
      });
      await once(worker, 'message');
      const socket = await namespace.connect({ host: '192.0.2.2', port: 7 });
      socket.on('error', () => {});
      socket.write('x');
      await once(socket, 'data');
      await worker.terminate();
      await linkGone(namespace, 'tun0');
      socket.destroy();
      await fdsAtMost(before);
    }));
});

/** What the client of an intercepted connection sees before it is answered. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { InterceptedConnection, Refusal } from 'tuntap-native/intercept';
import { needs } from '../support.ts';
import { connectionOf, failure, HOSTS, openConnection, withIntercepted } from './support.ts';

describe('decisions about intercepted connections', function () {
  this.timeout(30_000);
  before(function () {
    needs(this);
  });

  const refusals: readonly [Refusal | NodeJS.ErrnoException, ipv4: string, ipv6: string][] = [
    ['reset', 'ECONNREFUSED', 'ECONNREFUSED'],
    ['port-unreachable', 'ECONNREFUSED', 'ECONNREFUSED'],
    ['host-unreachable', 'EHOSTUNREACH', 'EHOSTUNREACH'],
    ['prohibited', 'EHOSTUNREACH', 'EACCES'],
    ['drop', 'ETIMEDOUT', 'ETIMEDOUT'],
    [errorOf('ECONNREFUSED'), 'ECONNREFUSED', 'ECONNREFUSED'],
    [errorOf('EHOSTUNREACH'), 'EHOSTUNREACH', 'EHOSTUNREACH'],
    [errorOf('ETIMEDOUT'), 'ETIMEDOUT', 'ETIMEDOUT'],
  ];
  for (const [reason, ...codes] of refusals) {
    const title = reason instanceof Error ? `an error ${reason.code}` : `'${reason}'`;
    it(`refuse by ${title}: ${[...new Set(codes)].join(', ')}`, () =>
      withIntercepted({}, async ({ namespace, interceptor }) => {
        interceptor.on('connection', (connection) => connection.refuse(reason));
        for (const [i, host] of HOSTS.entries()) {
          assert.equal(await failure(namespace.connect({ host, port: 80, timeout: 500 })), codes[i]);
        }
        const { refused, pending, open } = interceptor.counters;
        assert.deepEqual({ refused, pending, open }, { refused: 2, pending: 0, open: 0 });
      }));
  }

  it('are a reset if nobody listens', () =>
    withIntercepted({}, async ({ namespace }) => {
      for (const host of HOSTS) {
        assert.equal(await failure(namespace.connect({ host, port: 80 })), 'ECONNREFUSED');
      }
    }));

  it('can take longer than the client takes to send its SYN again', () =>
    withIntercepted({}, async (intercepted) => {
      const [connection, client] = await connectionOf(intercepted);
      await new Promise((resolve) => setTimeout(resolve, 1300));
      const sockets = await Promise.all([connection.accept(), client]);
      assert.equal(intercepted.interceptor.counters.connections, 1);
      for (const socket of sockets) socket.on('error', () => {}); // closing resets it
    }));

  it('are made once', () =>
    withIntercepted({}, async (intercepted) => {
      const [connection, client] = await connectionOf(intercepted);
      const accepted = connection.accept();
      await assert.rejects(connection.accept(), { code: 'ERR_TUNTAP_DECIDED' });
      assert.throws(() => connection.refuse(), { code: 'ERR_TUNTAP_DECIDED' });
      assert.throws(() => connection.refuse('no' as Refusal), { code: 'ERR_INVALID_ARG_VALUE' });
      (await accepted).destroy();
      (await client).destroy();
      await once(connection, 'close');
      connection.refuse(); // it is over: nothing happens
      const [other, refused] = await connectionOf(intercepted, { port: 81 });
      other.refuse();
      other.refuse('drop'); // it is refused: nothing happens
      await assert.rejects(other.accept(), { code: 'ERR_TUNTAP_DECIDED' });
      assert.equal(await failure(refused), 'ECONNREFUSED');
    }));

  it('can be to destroy the connection, after which there is no other one', () =>
    withIntercepted({}, async (intercepted) => {
      const [pending, refused] = await connectionOf(intercepted);
      pending.destroy();
      assert.equal(pending.state, 'refused');
      assert.equal(await failure(refused), 'ECONNREFUSED');
      const { connection: open, client, server } = await openConnection(intercepted, { port: 81 });
      server.on('error', () => {}); // it is reset, too
      open.destroy();
      assert.equal(open.state, 'closed');
      assert.equal(((await once(client, 'error')) as [NodeJS.ErrnoException])[0].code, 'ECONNRESET');
      const [accepting, connecting] = await connectionOf(intercepted, { port: 82 });
      connecting.then((socket) => socket.on('error', () => {}));
      accepting.on('abort', () => assert.fail('the client has not given up'));
      const accepted = accepting.accept();
      accepting.destroy();
      await assert.rejects(accepted, { code: 'ECONNABORTED', message: /the program/ });
      assert.equal(accepting.state, 'closed');
      for (const connection of [pending, open, accepting]) {
        await assert.rejects(connection.accept(), { code: 'ERR_TUNTAP_DECIDED' });
        await assert.rejects(connection.relayTo(), { code: 'ERR_TUNTAP_DECIDED' });
        connection.refuse(); // it is over: nothing happens
        connection.destroy();
      }
    }));

  it('tell the program of its own mistakes: an error for wrong arguments is thrown on', () =>
    withIntercepted({}, async (intercepted) => {
      const [connection, client] = await connectionOf(intercepted);
      const error = await connection.relayTo({ port: -1 }).catch((reason) => reason);
      assert.equal(error.code, 'ERR_OUT_OF_RANGE');
      assert.throws(() => connection.refuse(error), error);
      assert.equal(connection.state, 'refused');
      assert.equal(await failure(client), 'ECONNREFUSED');
    }));

  it('come too late after decisionTimeout', () =>
    withIntercepted({ decisionTimeout: 200 }, async (intercepted) => {
      const [connection, client] = await connectionOf(intercepted, { timeout: 1500 });
      const [error] = (await once(connection, 'abort')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ETIMEDOUT');
      assert.equal(connection.state, 'closed');
      await assert.rejects(connection.accept(), { code: 'ETIMEDOUT' });
      assert.equal(await failure(client), 'ETIMEDOUT');
      const { connections, timedOut } = intercepted.interceptor.counters;
      assert.deepEqual([connections, timedOut], [1, 1]);
    }));

  it('are of no use to a client that has gone', () =>
    withIntercepted({}, async (intercepted) => {
      const [connection, client] = await connectionOf(intercepted, { timeout: 100 });
      assert.equal(await failure(client), 'ETIMEDOUT');
      const aborted = once(connection, 'abort');
      await assert.rejects(connection.accept(), { code: 'ECONNABORTED' });
      assert.equal(((await aborted) as [NodeJS.ErrnoException])[0].code, 'ECONNABORTED');
      assert.equal(intercepted.interceptor.counters.open, 0);
    }));

  it('wait for maxPending others, and are not held up by them', () =>
    withIntercepted({ maxPending: 8 }, async ({ namespace, interceptor }) => {
      const waiting: InterceptedConnection[] = [];
      const eight = new Promise<void>((resolve) => {
        interceptor.on('connection', (connection) => {
          if (waiting.push(connection) === 8) resolve();
        });
      });
      const clients = Array.from({ length: 20 }, () =>
        failure(namespace.connect({ host: '203.0.113.5', port: 80 })),
      );
      await eight;
      while (interceptor.counters.dropped.maxPending < 12)
        await new Promise((resolve) => setTimeout(resolve, 10));
      assert.equal(interceptor.counters.pending, 8);
      interceptor.removeAllListeners('connection');
      for (const connection of waiting) connection.refuse();
      assert.deepEqual(new Set(await Promise.all(clients)), new Set(['ECONNREFUSED']));
      assert.equal(interceptor.counters.pending, 0);
    }));

  it('can be made about a thousand in one turn, and none is lost', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const waiting: InterceptedConnection[] = [];
      const all = new Promise<void>((resolve) => {
        interceptor.on('connection', (connection) => {
          if (waiting.push(connection) === 1000) resolve();
        });
      });
      const clients = Array.from({ length: 1000 }, (_, i) =>
        failure(namespace.connect({ host: '203.0.113.5', port: 1 + i })),
      );
      await all;
      // A client whose answer was lost would ask again, and nobody decides about that in time.
      for (const connection of waiting) connection.refuse();
      assert.deepEqual(new Set(await Promise.all(clients)), new Set(['ECONNREFUSED']));
    }));

  it('are not asked for beyond maxConnections', () =>
    withIntercepted({ maxConnections: 2 }, async ({ namespace, interceptor }) => {
      interceptor.on('connection', async (connection) => {
        (await connection.accept()).on('error', () => {}); // closing resets it
      });
      const options = { host: '203.0.113.5', port: 80 };
      const clients = [await namespace.connect(options), await namespace.connect(options)];
      assert.equal(await failure(namespace.connect({ ...options, timeout: 300 })), 'ETIMEDOUT');
      assert.equal(interceptor.counters.dropped.maxConnections, 1);
      for (const client of clients) client.on('error', () => {});
    }));
});

function errorOf(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`connect ${code}`), { code });
}

/** connection.relay() and relayTo(): intercepted connections passed on, with the kernel's TCP at both ends. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { NetworkNamespace } from 'tuntap-native';
import type { InterceptedConnection, RelayOptions } from 'tuntap-native/intercept';
import { fdsAtMost, needs, openFds, run } from '../support.ts';
import { receiveAll, receiveText, sendRandom, withServer } from './relay-support.ts';
import { connectionOf, failureOf, withIntercepted } from './support.ts';

const HOST = '203.0.113.5';

type Pass = (connection: InterceptedConnection, port: number, options?: RelayOptions) => Promise<unknown>;

const current = NetworkNamespace.current();

const WAYS: Readonly<Record<string, Pass>> = {
  'relay() of a socket whose fd is known': async (connection, port, options) =>
    connection.relay(await (await current).connect({ host: '127.0.0.1', port }), options),
  'relay() of another stream': async (connection, port, options) => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    await once(socket, 'connect');
    return connection.relay(socket, options);
  },
  'relayTo()': (connection, port, options) => connection.relayTo({ host: '127.0.0.1', port, ...options }),
};

describe('an intercepted connection that is relayed', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'ss');
  });
  after(async () => (await current).close());

  for (const [way, pass] of Object.entries(WAYS)) {
    it(`carries all bytes both ways, one direction longer than the other: ${way}`, async () => {
      let sent = '';
      let received = '';
      const serve = async (socket: Socket) => {
        received = await receiveAll(socket);
        sent = await sendRandom(socket, 10_000_000);
      };
      await withServer(serve, (port) =>
        withIntercepted({}, async ({ namespace, interceptor }) => {
          interceptor.on('connection', async (connection) => {
            assert.equal(await pass(connection, port), undefined);
            interceptor.emit('error', new Error('done'));
          });
          const client = await namespace.connect({ host: HOST, port: 7 });
          client.allowHalfOpen = true;
          const done = once(interceptor, 'error');
          const got = receiveAll(client);
          const given = await sendRandom(client, 5_000_000);
          assert.equal(await got, sent);
          assert.equal(received, given);
          await done;
        }),
      );
    });

    it(`passes resets on: ${way}`, async () => {
      for (const who of ['client', 'server']) {
        const accepted: Socket[] = [];
        await withServer(
          (socket) => accepted.push(socket.resume()),
          (port) =>
            withIntercepted({}, async ({ namespace, interceptor }) => {
              const outcome = new Promise<unknown>((resolve, reject) => {
                interceptor.on('connection', (connection) => pass(connection, port).then(resolve, reject));
              });
              const client = (await namespace.connect({ host: HOST, port: 7 })).resume();
              client.write('x');
              while (accepted.length === 0 || accepted[0].bytesRead === 0) await setTimeout(5);
              const [resets, other] = who === 'client' ? [client, accepted[0]] : [accepted[0], client];
              const seen = new Promise<NodeJS.ErrnoException>((resolve) => other.once('error', resolve));
              resets.resetAndDestroy();
              assert.equal((await seen).code, 'ECONNRESET');
              assert.equal(((await outcome) as NodeJS.ErrnoException).code, 'ECONNRESET');
            }),
        );
      }
    });
  }

  it('is refused before its SYN is answered if relayTo() can not connect', async () => {
    let port = 0;
    await withServer(
      () => {},
      async (free) => {
        port = free;
      },
    );
    await withIntercepted({}, async ({ namespace, interceptor }) => {
      interceptor.on('connection', (connection) => {
        connection.relayTo({ host: '127.0.0.1', port }).catch((error) => {
          assert.equal(error.message, `connect ECONNREFUSED 127.0.0.1:${port}`);
          connection.refuse(error);
        });
      });
      await assert.rejects(namespace.connect({ host: HOST, port: 7 }), { code: 'ECONNREFUSED' });
    });
  });

  it('takes nothing along if nobody answers relayTo() in time', () =>
    withServer(
      (socket) => socket.resume(), // a proxy that never answers
      (port, server) =>
        withIntercepted({ decisionTimeout: 50 }, async ({ namespace, interceptor }) => {
          const round = async (): Promise<void> => {
            const ended = new Promise<unknown>((resolve) =>
              server.once('connection', (s) => s.once('close', resolve)),
            );
            const failed = new Promise<NodeJS.ErrnoException>((resolve, reject) => {
              interceptor.once('connection', (connection) => {
                connection.relayTo({ via: `socks5://127.0.0.1:${port}` }).then(reject, resolve);
              });
            });
            const end = new AbortController();
            const { signal } = end;
            const client = assert.rejects(namespace.connect({ host: HOST, port: 7, signal }));
            assert.equal((await failed).code, 'ETIMEDOUT');
            await ended;
            end.abort();
            await client;
          };
          await round();
          const fds = openFds();
          await round();
          await fdsAtMost(fds);
        }),
    ));

  it('is reset with the error of a socket that fails before the client has answered: relay()', () => {
    const accepted: Socket[] = [];
    return withServer(
      (socket) => accepted.push(socket),
      (port) =>
        withIntercepted({}, async ({ namespace, interceptor }) => {
          const outcome = new Promise<unknown>((resolve, reject) => {
            interceptor.on('connection', async (connection) => {
              const upstream = await (await current).connect({ host: '127.0.0.1', port });
              const inner = connection as unknown as { acceptFd(use: unknown): Promise<unknown> };
              const handshake = inner.acceptFd.bind(connection);
              // The client's answer comes after the reset.
              inner.acceptFd = async (use) => {
                while (!upstream.destroyed) await setTimeout(1);
                return handshake(use);
              };
              connection.relay(upstream).then(resolve, reject);
              while (accepted.length === 0) await setTimeout(1);
              accepted[0].resetAndDestroy();
            });
          });
          const client = await namespace.connect({ host: HOST, port: 7 });
          const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
          assert.equal(error.code, 'ECONNRESET');
          assert.equal(((await outcome) as NodeJS.ErrnoException).code, 'ECONNRESET');
        }),
    );
  });

  it('may have another end that has nothing to say', () => {
    let heard: Promise<string> | undefined;
    return withServer(
      (socket) => {
        heard = receiveText(socket.end());
      },
      (port) =>
        withIntercepted({}, async ({ namespace, interceptor }) => {
          const outcome = new Promise<unknown>((resolve, reject) => {
            interceptor.on('connection', async (connection) => {
              const upstream = await (await current).connect({ host: '127.0.0.1', port });
              connection.relay(upstream).then(resolve, reject);
            });
          });
          const client = await namespace.connect({ host: HOST, port: 7 });
          client.allowHalfOpen = true;
          assert.equal(await receiveText(client), '');
          client.end('but I have');
          assert.equal(await outcome, undefined);
          assert.equal(await heard, 'but I have');
        }),
    );
  });

  it('is given up by relayTo() when it is refused, its signal aborts or the time is over', () =>
    withServer(
      (socket) => socket.resume().on('end', () => socket.end()), // a proxy that never answers
      (port, server) =>
        withIntercepted({}, async ({ namespace, interceptor }) => {
          const via = `socks5://127.0.0.1:${port}`;
          const end = new AbortController();
          const ways: [string, string, (connection: InterceptedConnection) => Promise<unknown>][] = [
            [
              'ERR_TUNTAP_DECIDED',
              'ECONNREFUSED',
              (connection) => {
                server.once('connection', () => connection.refuse());
                return connection.relayTo({ via });
              },
            ],
            [
              'ABORT_ERR',
              'ECONNREFUSED',
              (connection) => {
                server.once('connection', () => end.abort());
                return connection.relayTo({ via, signal: end.signal });
              },
            ],
            ['ETIMEDOUT', 'ETIMEDOUT', (connection) => connection.relayTo({ via, timeout: 50 })],
          ];
          for (const [expected, seen, relay] of ways) {
            const closed = new Promise((resolve) =>
              server.once('connection', (socket) => socket.once('close', resolve)),
            );
            const failed = failureOf(interceptor, relay);
            const timeout = seen === 'ETIMEDOUT' ? 500 : undefined; // it was dropped
            await assert.rejects(namespace.connect({ host: HOST, port: 7, timeout }), { code: seen });
            assert.equal((await failed).code, expected);
            await closed;
          }
          const begun = once(interceptor, 'connection') as Promise<[InterceptedConnection]>;
          const client = assert.rejects(namespace.connect({ host: HOST, port: 7 }), { code: 'ECONNREFUSED' });
          const [refused] = await begun;
          refused.refuse();
          await assert.rejects(refused.relayTo({ via }), { code: 'ERR_TUNTAP_DECIDED' });
          await client;
          assert.equal(refused.state, 'refused');
        }),
    ));

  for (const [way, pass] of Object.entries(WAYS)) {
    it(`is reset at both ends by destroy() and by a signal: ${way}`, async () => {
      for (const how of ['destroy', 'signal']) {
        const accepted: Socket[] = [];
        const end = new AbortController();
        await withServer(
          (socket) => accepted.push(socket),
          (port) =>
            withIntercepted({}, async ({ namespace, interceptor }) => {
              const begun = once(interceptor, 'connection') as Promise<[InterceptedConnection]>;
              const outcome = begun.then(([connection]) =>
                pass(connection, port, how === 'signal' ? { signal: end.signal } : {}),
              );
              outcome.catch(() => {}); // looked at below
              const client = (await namespace.connect({ host: HOST, port: 7 })).resume();
              const [connection] = await begun;
              client.write('x');
              while (accepted.length === 0 || accepted[0].resume().bytesRead === 0) await setTimeout(5);
              const closed = new Promise((resolve) => accepted[0].once('close', resolve));
              const resets = Promise.all([once(client, 'error'), closed]);
              if (how === 'destroy') connection.destroy();
              else end.abort();
              assert.equal((await resets)[0][0].code, 'ECONNRESET');
              if (how === 'signal') await assert.rejects(outcome, { code: 'ABORT_ERR' });
              else assert.equal(((await outcome) as NodeJS.ErrnoException).code, 'ECONNRESET');
            }),
        );
      }
    });
  }

  it('resets a stream that could not send all, whether the client has ended or waits: relay() of another stream', async () => {
    const size = 64 * 1024 * 1024; // more than the kernel buffers
    for (const ended of [true, false]) {
      const accepted: Socket[] = [];
      await withServer(
        (socket) => accepted.push(socket), // it does not read
        (port) =>
          withIntercepted({}, async (intercepted) => {
            const [connection, connecting] = await connectionOf(intercepted);
            const options = { host: '127.0.0.1', port, writableHighWaterMark: ended ? 2 * size : undefined };
            const upstream = connect(options);
            await once(upstream, 'connect');
            const { localPort } = upstream;
            const closed = once(upstream, 'close');
            const outcome = connection.relay(upstream);
            (await connecting).on('error', () => {}).end(Buffer.alloc(size));
            for (let full = 0; ended ? !upstream.writableEnded : full < 20; await setTimeout(5)) {
              full = upstream.writableNeedDrain ? full + 1 : 0;
            }
            assert.ok(upstream.writableLength > 0, 'the kernel has taken all');
            connection.destroy();
            assert.equal(((await outcome) as NodeJS.ErrnoException).code, 'ECONNRESET');
            await closed; // or the process could not end
            const [server] = accepted;
            const connected = ['-Htn', 'state', 'established', `dport = :${localPort}`];
            while ((await run(await current, 'ss', ...connected)).stdout !== '');
            // Deno has heard of the reset before.
            const code = /^(ECONNRESET|EPIPE)$/;
            await assert.rejects(promisify(server.write.bind(server))('x'), { code });
          }),
      );
    }
  });

  it('rejects what is no stream, and sockets that have ended', () =>
    withServer(
      (socket) => socket.end('bye'),
      (port) =>
        withIntercepted({}, async ({ namespace, interceptor }) => {
          const errors: Promise<string>[] = [];
          interceptor.on('connection', (connection) => {
            const codes = async () => {
              const code = (wrong: unknown) =>
                connection.relay(wrong as Duplex).then(
                  () => '',
                  (error) => error.code,
                );
              const wrong = await code('socket');
              const ended = await (await current).connect({ host: '127.0.0.1', port });
              const closed = once(ended, 'close', { signal: AbortSignal.timeout(5000) });
              ended.end();
              const found = `${wrong} ${await code(ended)}`;
              await closed; // or the process could not end
              connection.refuse();
              return found;
            };
            errors.push(codes());
          });
          await assert.rejects(namespace.connect({ host: HOST, port: 7 }), { code: 'ECONNREFUSED' });
          assert.deepEqual(await Promise.all(errors), ['ERR_INVALID_ARG_TYPE EPIPE']);
        }),
    ));
});

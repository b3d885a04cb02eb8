/** Faults of listeners, which must not reach the packets of others. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { InterceptedFlow } from 'tuntap-native/intercept';
import { runAll } from '#dist/intercept/faults.js';
import { needs } from '../support.ts';
import { CLIENTS, SERVERS, withIntercepted } from './support.ts';

/** Runs the body while nobody else hears of uncaught errors. @returns their messages */
async function uncaughtIn(body: () => Promise<void>): Promise<string[]> {
  const listeners = process.listeners('uncaughtException');
  const messages: string[] = [];
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', ({ message }) => messages.push(message));
  try {
    await body();
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
  }
  return messages;
}

describe('faults', function () {
  this.timeout(30_000);
  before(function () {
    needs(this);
  });

  it('of one listener are uncaught, and the interceptor goes on', async () => {
    const messages = await uncaughtIn(() =>
      withIntercepted({}, async ({ namespace, interceptor }) => {
        interceptor.once('connection', (connection) => {
          connection.once('close', () => {
            throw new Error('close');
          });
          connection.refuse();
          throw new Error('connection');
        });
        interceptor.on('flow', (flow: InterceptedFlow) => {
          flow.on('message', (bytes, from) => {
            if (`${bytes}` === 'wrong') throw new Error('message');
            flow.send(bytes, from);
          });
          throw new Error('flow');
        });
        await assert.rejects(namespace.connect({ host: SERVERS[4], port: 80 }), { code: 'ECONNREFUSED' });
        const client = await namespace.createUdpSocket({ host: CLIENTS[4] });
        client.send('wrong', 7, SERVERS[4]);
        client.send('right', 7, SERVERS[4]);
        assert.equal(`${(await once(client, 'message'))[0]}`, 'right');
        client.close();
        interceptor.once('connection', (connection) => connection.refuse('prohibited'));
        await assert.rejects(namespace.connect({ host: SERVERS[4], port: 80 }), { code: 'EHOSTUNREACH' });
      }),
    );
    assert.deepEqual(messages.sort(), ['close', 'connection', 'flow', 'message']);
  });

  it('of one step keep no other one', async () => {
    const done: number[] = [];
    const failures = await runAll([
      () => done.push(1),
      () => {
        throw new Error('sync');
      },
      () => Promise.reject(new Error('async')),
      () => done.push(2),
    ]);
    assert.deepEqual(done, [1, 2]);
    assert.deepEqual(
      failures.map(({ message }) => message),
      ['sync', 'async'],
    );
  });
});

/** Bytes of intercepted connections: all arrive, in both directions, and each direction ends by itself. */

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { needs } from '../support.ts';
import { receiveAll, receiveText } from './relay-support.ts';
import { HOSTS, openConnection, withIntercepted } from './support.ts';

const CHUNK = randomBytes(1 << 20);

async function send(socket: Socket, chunks: number): Promise<string> {
  const hash = createHash('sha256');
  for (let i = 0; i < chunks; i++) {
    const chunk = Buffer.concat([Buffer.of(i), CHUNK]);
    hash.update(chunk);
    if (!socket.write(chunk)) await once(socket, 'drain');
  }
  socket.end();
  return hash.digest('hex');
}

describe('the bytes of intercepted connections', function () {
  this.timeout(60_000);
  before(function () {
    needs(this);
  });

  for (const offload of ['raw', true] as const) {
    for (const host of HOSTS) {
      it(`are the same at the other end, both ways at once: ${host}, offload ${offload}`, () =>
        withIntercepted({ tun: { offload } }, async (intercepted) => {
          const { connection, server, client } = await openConnection(intercepted, { host });
          for (const socket of [server, client]) socket.allowHalfOpen = true;
          const closed = once(connection, 'close');
          const [up, down, sentUp, sentDown] = await Promise.all([
            receiveAll(server),
            receiveAll(client),
            send(client, 16),
            send(server, 24),
          ]);
          assert.deepEqual([up, down], [sentUp, sentDown]);
          await closed; // until then the last bytes may not be acknowledged
          assert.equal(connection.bytesRead, 16 * (CHUNK.length + 1));
          assert.equal(connection.bytesWritten, 24 * (CHUNK.length + 1));
        }));
    }
  }

  it('flow on in one direction after the other has ended', () =>
    withIntercepted({}, async (intercepted) => {
      const { connection, server, client } = await openConnection(intercepted);
      for (const socket of [server, client]) socket.allowHalfOpen = true;
      client.end('question');
      assert.equal(await receiveText(server), 'question');
      server.write('an answer ');
      await once(client, 'data');
      const closed = once(connection, 'close');
      server.end('in two parts');
      assert.equal(await receiveText(client), 'in two parts');
      await closed;
      assert.equal(connection.state, 'closed');
      assert.equal(intercepted.interceptor.counters.open, 0);
    }));

  it('wait for a reader that is slow', () =>
    withIntercepted({}, async (intercepted) => {
      const { connection, server, client } = await openConnection(intercepted);
      let sent = 0;
      while (client.write(CHUNK) || (await written(client))) sent++;
      const stopped = connection.bytesRead;
      assert.ok(sent < 64, `${sent} MB were taken, though nobody reads`);
      client.end();
      const hash = await receiveAll(server);
      assert.equal(hash.length, 64);
      assert.ok(connection.bytesRead > stopped);
    }));
});

/** Whether what was written left within a second. */
async function written(socket: Socket): Promise<boolean> {
  const drained = once(socket, 'drain').then(() => true);
  return Promise.race([drained, new Promise<false>((resolve) => setTimeout(resolve, 1000, false))]);
}

/** Connections out of a TUN device, by a client that is the kernel's. */

import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { needs } from '../support.ts';
import { HOSTS, withIntercepted } from './support.ts';

describe('intercepted connections', function () {
  this.timeout(30_000);
  before(function () {
    needs(this);
  });

  for (const offload of ['raw', true, false] as const) {
    for (const host of HOSTS) {
      it(`accepts a connection to ${host} with offload ${offload}`, () =>
        withIntercepted({ tun: { offload } }, async ({ namespace, interceptor }) => {
          interceptor.on('connection', async (connection) => {
            assert.equal(connection.destination.address, host);
            assert.equal(connection.destination.port, 7);
            const socket = await connection.accept();
            socket.pipe(socket);
          });
          const client = await namespace.connect({ host, port: 7 });
          client.end('hello');
          assert.equal(await text(client), 'hello');
        }));
    }
  }
});

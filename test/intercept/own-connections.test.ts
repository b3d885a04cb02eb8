/** Where a client's names must not lead: the machine itself. */

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import type { InterceptedConnection } from 'tuntap-native/intercept';
import { Endpoint } from 'tuntap-native/tunnel';
import { refuseOwnHost } from '#dist/intercept/own-connections.js';
import { decodeQuestion, encodeAnswer } from '#dist/net/namespace/dns-message.js';
import { code, itAsRoot, needs } from '../support.ts';
import { failureOf, withIntercepted } from './support.ts';

describe("the interceptor's own connections", function () {
  this.timeout(20_000);
  before(function () {
    needs(this);
  });

  it('may not go to the loopback by chance', () => {
    const of = (address: string) => code(() => refuseOwnHost(new Endpoint(address, 80), 'x'));
    for (const own of ['127.0.0.1', '127.255.0.9', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1'])
      assert.equal(of(own), 'EACCES', own);
    for (const other of ['192.0.2.1', '10.0.0.1', '2001:db8::1', '::2', 'fe80::1%3'])
      assert.equal(of(other), undefined, other);
  });

  itAsRoot(
    'do not follow a name of a client to this machine, unless the program names the machine',
    async () => {
      const server = createServer((socket) => socket.on('error', () => {}).end('secret')).listen(
        0,
        '127.0.0.1',
      );
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const nameServer = createSocket('udp4').bind(53, '127.0.0.77');
      await once(nameServer, 'listening');
      nameServer.on('message', (query, from) => {
        const question = decodeQuestion(query);
        if (question === undefined) return;
        const data = question.type === 1 ? Buffer.of(127, 0, 0, 1) : undefined;
        nameServer.send(encodeAnswer(query, question, 0, 1, data), from.port, from.address);
      });
      const dns = process.getBuiltinModule('node:dns/promises');
      const { lookup } = dns;
      dns.lookup = (async () => [{ address: '127.0.0.1', family: 4 }]) as unknown as typeof lookup;
      try {
        await withIntercepted({ names: true }, async ({ namespace, interceptor }) => {
          const servers = ['127.0.0.77'];
          const host = 'own.example';
          assert.equal(await text(await interceptor.connect({ host, port, servers })), 'secret');
          const [{ address }] = await namespace.resolve(host, { servers: ['192.0.2.53'], family: 4 });
          const ways: ((connection: InterceptedConnection) => Promise<unknown>)[] = [
            (connection) => connection.relayTo({ port }),
            (connection) => connection.relayTo({ host, port }),
            async (connection) => connection.relay(await interceptor.connect({ host, port, servers })),
          ];
          for (const way of ways) {
            const failed = failureOf(interceptor, (connection) => {
              assert.equal(connection.destination.name, host);
              return way(connection);
            });
            await assert.rejects(namespace.connect({ host: address, port: 80 }), { code: 'EHOSTUNREACH' });
            assert.equal((await failed).code, 'EACCES');
          }
          interceptor.once('connection', (connection) => connection.relayTo({ host: '127.0.0.1', port }));
          const client = await namespace.connect({ host: address, port: 80 });
          assert.equal(await text(client.on('error', () => {})), 'secret');
        });
      } finally {
        dns.lookup = lookup;
        nameServer.close();
        server.close();
      }
    },
  );
});

/** Names of intercepted connections and flows, by the C library's resolver. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { NetworkNamespace } from 'tuntap-native';
import type { InterceptedConnection } from 'tuntap-native/intercept';
import { itAsRoot, needs, run } from '../support.ts';
import { type Intercepted, withIntercepted } from './support.ts';

const NAME = `tuntap-names-${process.pid}`;
const SERVER = '203.0.113.53';

/** As {@link withIntercepted}, in a namespace of a name, whose resolv.conf names a server behind the device. */
async function withResolver(body: (intercepted: Intercepted) => Promise<void>): Promise<void> {
  const files = `/etc/netns/${NAME}`;
  mkdirSync(files, { recursive: true });
  writeFileSync(`${files}/resolv.conf`, `nameserver ${SERVER}\noptions timeout:2 attempts:1\n`);
  writeFileSync(`${files}/nsswitch.conf`, 'hosts: files dns\n');
  try {
    await withIntercepted({ name: NAME, names: true }, body);
  } finally {
    await NetworkNamespace.delete(NAME).catch(() => {});
    rmSync(files, { recursive: true });
  }
}

describe('names of what is intercepted', function () {
  this.timeout(20_000);
  before(function () {
    needs(this, 'getent', 'curl');
  });

  itAsRoot('are those that the C library asked for: of connections, flows and addresses', () =>
    withResolver(async ({ namespace, interceptor }) => {
      interceptor.on('connection', async (connection: InterceptedConnection) => {
        const { name, port } = connection.destination;
        (await connection.accept()).end(`HTTP/1.0 200 OK\r\n\r\n${name}:${port}`);
      });
      const curl = await run(namespace, 'curl', '-s', 'http://One.example.com:81/');
      assert.equal(curl.stdout, 'one.example.com:81', curl.stderr);
      const found = await run(namespace, 'getent', 'ahosts', 'two.example.com');
      const addresses = new Set(
        found.stdout
          .trim()
          .split('\n')
          .map((line) => line.split(' ')[0]),
      );
      assert.deepEqual(
        [...addresses].map((address) => interceptor.nameOf(address)),
        ['two.example.com', 'two.example.com'],
      );
      const [, second] = [...addresses].sort();
      const reverse = await run(namespace, 'getent', 'hosts', second);
      assert.match(reverse.stdout, /two\.example\.com/);

      const message = new Promise((resolve) =>
        interceptor.once('flow', (flow) => flow.once('message', (_, destination) => resolve(destination))),
      );
      const socket = await namespace.createUdpSocket({ host: '::' });
      socket.send('x', 9, second);
      assert.deepEqual(await message, { address: second, port: 9, family: 6, name: 'two.example.com' });
      socket.close();
    }),
  );

  it('that there are not are refused, never connected to', () =>
    withIntercepted({ names: true }, async ({ namespace, interceptor }) => {
      interceptor.on('connection', () => assert.fail('a connection'));
      for (const host of ['198.18.7.7', 'fd74:6e74:6e61:6d65::99']) {
        await assert.rejects(namespace.connect({ host, port: 80 }), { code: 'EHOSTUNREACH' });
      }
      assert.equal(interceptor.counters.dropped.unknownNames, 2);
    }));

  it('are also looked up while a loop reads the datagrams', () =>
    withIntercepted({ names: true }, async ({ namespace, interceptor }) => {
      const seen: string[] = [];
      const reading = (async () => {
        for await (const batch of interceptor.datagrams()) {
          for (let i = 0; i < batch.length; i++) {
            if (batch.isDropped(i)) continue;
            const address = interceptor.received.localAddress(i) as string;
            seen.push(`${batch.at(i)} to ${interceptor.nameOf(address)}`);
            interceptor.writeBatch(batch, interceptor.received, i);
          }
        }
      })();
      const addresses = await namespace.resolve('three.example.com', { servers: [SERVER], family: 4 });
      assert.match(addresses[0].address, /^198\.1[89]\./);
      const socket = await namespace.createUdpSocket({ host: '192.0.2.1' });
      socket.send('hello', 9, addresses[0].address);
      await once(socket, 'message');
      assert.deepEqual(seen, ['hello to three.example.com']);
      socket.close();
      await interceptor.close();
      await reading;
    }));

  it('are not looked up without the option', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      interceptor.on('connection', async (connection) => {
        (await connection.accept()).resume().end(JSON.stringify(connection.destination));
      });
      const socket = await namespace.connect({ host: '198.18.7.7', port: 80 });
      assert.deepEqual(JSON.parse(await text(socket)), { address: '198.18.7.7', port: 80, family: 4 });
      assert.equal(interceptor.nameOf('198.18.7.7'), undefined);
      await assert.rejects(namespace.resolve('four.example.com', { servers: [SERVER] }));
    }));
});

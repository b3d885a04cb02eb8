/** Datagrams in batches. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PacketBatch } from 'tuntap-native';
import type { InterceptedFlow } from 'tuntap-native/intercept';
import { DatagramTable, Endpoint, openUdp, type UdpBatchSocket } from 'tuntap-native/tunnel';
import { code, needs } from '../support.ts';
import { CLIENTS, SERVERS, withIntercepted } from './support.ts';

describe('batches of intercepted datagrams', function () {
  this.timeout(60_000);
  before(function () {
    needs(this);
  });

  for (const offload of ['raw', true, false] as const) {
    for (const family of [4, 6] as const) {
      it(`come and go with the offloads of the device over IPv${family}, offload ${offload}`, () =>
        withIntercepted({ tun: { offload } }, async ({ namespace, interceptor }) => {
          const echoing = (async () => {
            for await (const batch of interceptor.datagrams()) {
              const { received } = interceptor;
              assert.equal(received.remote(0)?.address, CLIENTS[family]);
              assert.deepEqual([received.localAddress(0), received.localPort(0)], [SERVERS[family], 7]);
              assert.equal(interceptor.writeBatch(batch, received), batch.length);
            }
          })();
          await using client = openUdp({ namespace, address: CLIENTS[family], receiveBuffer: 4 << 20 });
          const sent = new PacketBatch({ capacity: 64 });
          for (let i = 0; i < 64; i++) sent.push(Buffer.alloc(i === 63 ? 700 : 1_200, i));
          const echoed: Buffer[] = [];
          const receiving = receive(client, 640, echoed);
          const server = new Endpoint(SERVERS[family], 7);
          // One after the other: the device's queue need not have room for all.
          for (let round = 0; round < 10; round++) {
            assert.equal(client.writeBatch(sent, server), 64);
            while (echoed.length < 64 * (round + 1)) await new Promise(setImmediate);
          }
          await receiving;
          for (const [i, bytes] of echoed.entries()) assert.ok(bytes.equals(sent.at(i % 64)), `${i}`);
          const { datagramsReceived, datagramsSent, dropped } = interceptor.counters;
          assert.deepEqual([datagramsReceived, datagramsSent, dropped.busy], [640, 640, 0]);
          await interceptor.close();
          await echoing;
        }));
    }
  }

  it('are read by one loop, which leaves the flows to their listeners when it ends', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const socket = await namespace.createUdpSocket({ host: CLIENTS[4] });
      const batches = interceptor.datagrams();
      assert.equal(
        code(() => interceptor.datagrams()),
        'ERR_TUNTAP_READING',
      );
      interceptor.on('flow', () => assert.fail('a flow'));
      const waiting = batches.next();
      await assert.rejects(batches.next(), { code: 'ERR_TUNTAP_READING' });
      socket.send('one', 7, SERVERS[4]);
      const { value } = await waiting;
      assert.equal(`${value?.at(0)}`, 'one');
      // What comes meanwhile waits for the next turn.
      socket.send('two', 7, SERVERS[4]);
      socket.send('three', 8, SERVERS[4]);
      while (interceptor.counters.datagramsReceived < 3) await new Promise(setImmediate);
      const next = await batches.next();
      assert.deepEqual([...(next.value ?? [])].map(String), ['two', 'three']);
      assert.deepEqual(
        [0, 1].map((i) => interceptor.received.localPort(i)),
        [7, 8],
      );
      await batches.return?.();
      assert.deepEqual(await batches.next(), { value: undefined, done: true });
      interceptor.removeAllListeners('flow');
      const flow = once(interceptor, 'flow');
      socket.send('four', 7, SERVERS[4]);
      await flow;
      socket.close();
    }));

  it('end when the interceptor is closed', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const socket = await namespace.createUdpSocket({ host: CLIENTS[4] });
      const flow = once(interceptor, 'flow') as Promise<[InterceptedFlow]>;
      socket.send('one', 7, SERVERS[4]);
      const ended = once((await flow)[0], 'close');
      const waiting = interceptor.datagrams().next();
      await interceptor.close();
      assert.deepEqual(await waiting, { value: undefined, done: true });
      await ended;
      assert.equal(
        code(() => interceptor.datagrams()),
        'ERR_TUNTAP_CLOSED',
      );
      assert.equal(
        code(() => interceptor.writeBatch(new PacketBatch(), new DatagramTable())),
        'ERR_TUNTAP_CLOSED',
      );
      socket.close();
    }));

  it('tell by their status what can not be sent', () =>
    withIntercepted({}, async ({ interceptor }) => {
      const batch = new PacketBatch();
      const table = new DatagramTable(4);
      for (let i = 0; i < 4; i++) batch.push(Buffer.alloc(i === 3 ? 65_508 : 8));
      for (let i = 1; i < 4; i++) table.setRemote(i, new Endpoint(CLIENTS[4], 9));
      table.setLocalAddress(1, SERVERS[6]);
      table.setLocalPort(1, 7);
      for (const i of [2, 3]) table.setLocalAddress(i, SERVERS[4]);
      for (const i of [2, 3]) table.setLocalPort(i, 7);
      assert.equal(interceptor.writeBatch(batch, table), 1);
      // EDESTADDRREQ, EADDRNOTAVAIL, EMSGSIZE of errno.h
      assert.deepEqual(
        [0, 1, 2, 3].map((i) => batch.status(i)),
        [-89, -99, 0, -90],
      );
      assert.equal(interceptor.writeBatch(batch, table, 3), 0);
      assert.equal(
        code(() => interceptor.writeBatch(batch, table, 5)),
        'ERR_OUT_OF_RANGE',
      );
    }));
});

async function receive(socket: UdpBatchSocket, count: number, into: Buffer[]): Promise<void> {
  for await (const batch of socket.batches()) {
    for (const packet of batch) into.push(Buffer.from(packet));
    if (into.length >= count) return;
  }
}

/** Datagrams out of a TUN device, by clients that are the kernel's. */

import assert from 'node:assert/strict';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import type { NetworkNamespace } from 'tuntap-native';
import type { Interceptor } from 'tuntap-native/intercept';
import { needs } from '../support.ts';
import { withIntercepted } from './support.ts';

const SERVERS = { 4: '203.0.113.5', 6: '2001:db8:ffff::5' } as const;
const CLIENTS = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;

type Message = [bytes: Buffer, from: { address: string; port: number }];

function answerAll(interceptor: Interceptor): void {
  interceptor.on('flow', (flow) => {
    flow.on('message', (bytes, destination) => flow.send(bytes, destination));
  });
}

async function ask(client: Socket, bytes: Buffer | string, port: number, host: string): Promise<Message> {
  const answer = once(client, 'message') as Promise<Message>;
  client.send(bytes, port, host);
  return answer;
}

async function withClient(
  namespace: NetworkNamespace,
  family: 4 | 6,
  body: (client: Socket) => Promise<void>,
): Promise<void> {
  const client = await namespace.createUdpSocket({ host: CLIENTS[family] });
  try {
    await body(client);
  } finally {
    client.close();
  }
}

describe('intercepted datagrams', function () {
  this.timeout(60_000);
  before(function () {
    needs(this);
  });

  for (const offload of ['raw', true, false] as const) {
    for (const family of [4, 6] as const) {
      it(`are answered by a flow over IPv${family} with offload ${offload}`, () =>
        withIntercepted({ tun: { offload } }, async ({ namespace, interceptor }) => {
          answerAll(interceptor);
          await withClient(namespace, family, async (client) => {
            for (const length of [0, 1, 1_000, 1_452, 9_001, 60_000]) {
              const bytes = Buffer.alloc(length, length);
              const [answer, from] = await ask(client, bytes, 7, SERVERS[family]);
              assert.ok(answer.equals(bytes), `${length} bytes`);
              assert.deepEqual([from.address, from.port], [SERVERS[family], 7]);
            }
          });
          const { flows, datagramsReceived, datagramsSent, dropped } = interceptor.counters;
          assert.deepEqual([flows, datagramsReceived, datagramsSent], [1, 6, 6]);
          assert.deepEqual([dropped.malformed, dropped.fragments, dropped.incomplete], [0, 0, 0]);
        }));
    }
  }
});

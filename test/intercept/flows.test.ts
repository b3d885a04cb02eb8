/** Datagrams out of a TUN device, by clients that are the kernel's. */

import assert from 'node:assert/strict';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import type { NetworkNamespace } from 'tuntap-native';
import type { DatagramRefusal, InterceptedFlow, Interceptor } from 'tuntap-native/intercept';
import { Endpoint, type IcmpError, openUdp } from 'tuntap-native/tunnel';
import { code, needs, run, runFor } from '../support.ts';
import { CLIENTS, SERVERS, withIntercepted } from './support.ts';

type Message = [bytes: Buffer, from: { address: string; port: number }];

function echoFlows(interceptor: Interceptor): InterceptedFlow[] {
  const flows: InterceptedFlow[] = [];
  interceptor.on('flow', (flow) => {
    flows.push(flow);
    flow.on('message', (bytes, destination) => flow.send(bytes, destination));
  });
  return flows;
}

async function ask(client: Socket, bytes: Buffer | string, port: number, host: string): Promise<Message> {
  const answer = once(client, 'message') as Promise<Message>;
  client.send(bytes, port, host);
  return answer;
}

async function withClients(
  namespace: NetworkNamespace,
  family: 4 | 6,
  count: number,
  body: (...clients: Socket[]) => Promise<void>,
): Promise<void> {
  const clients = await Promise.all(
    Array.from({ length: count }, () => namespace.createUdpSocket({ host: CLIENTS[family] })),
  );
  try {
    await body(...clients);
  } finally {
    for (const client of clients) client.close();
  }
}

describe('intercepted datagrams', function () {
  this.timeout(30_000);
  before(function () {
    needs(this, 'python3');
  });

  for (const offload of ['raw', true, false] as const) {
    for (const family of [4, 6] as const) {
      it(`are answered by a flow over IPv${family} with offload ${offload}, in fragments where they are long`, () =>
        withIntercepted({ tun: { offload } }, async ({ namespace, interceptor }) => {
          echoFlows(interceptor);
          await withClients(namespace, family, 1, async (client) => {
            for (const length of [0, 1, 1_000, 1_452, 9_001, 60_000]) {
              const bytes = Buffer.alloc(length, length);
              const [answer, from] = await ask(client, bytes, 7, SERVERS[family]);
              assert.ok(answer.equals(bytes), `${length} bytes`);
              assert.deepEqual([from.address, from.port], [SERVERS[family], 7]);
            }
          });
          const { flows, datagramsReceived, datagramsSent, reassembled, dropped } = interceptor.counters;
          assert.deepEqual([flows, datagramsReceived, datagramsSent, reassembled], [1, 6, 6, 2]);
          assert.deepEqual([dropped.malformed, dropped.fragments, dropped.incomplete], [0, 0, 0]);
        }));
    }
  }

  it('of a source are one flow, wherever they go, and answers come from anywhere', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const flows = echoFlows(interceptor);
      await withClients(namespace, 4, 2, async (client, other) => {
        await ask(client, 'a', 7, '203.0.113.5');
        await ask(client, 'b', 8, '203.0.113.6');
        await ask(other, 'c', 7, '203.0.113.5');
        assert.deepEqual(
          flows.map(({ source }) => source),
          [client, other].map((socket) => ({ address: CLIENTS[4], port: socket.address().port, family: 4 })),
        );
        const unasked = once(client, 'message') as Promise<Message>;
        flows[0].send(Buffer.from('d'), { address: '198.51.100.1', port: 9 });
        const [bytes, from] = await unasked;
        assert.deepEqual([`${bytes}`, from.address, from.port], ['d', '198.51.100.1', 9]);
      });
    }));

  it('end: the longest idle flow for a new one, an idle one in time, and one that is closed', () =>
    withIntercepted({ maxFlows: 2, flowTimeout: 2_000 }, async ({ namespace, interceptor }) => {
      const flows = echoFlows(interceptor);
      await withClients(namespace, 4, 3, async (first, second, third) => {
        await ask(first, 'a', 7, SERVERS[4]);
        await ask(second, 'a', 7, SERVERS[4]);
        await ask(first, 'a', 7, SERVERS[4]);
        const ended = once(flows[1], 'close');
        await ask(third, 'a', 7, SERVERS[4]);
        await ended;
        assert.deepEqual(
          flows.map(({ closed }) => closed),
          [false, true, false],
        );
        assert.equal(
          code(() => flows[1].send(Buffer.of(1), { address: SERVERS[4], port: 7 })),
          'ERR_TUNTAP_CLOSED',
        );
        flows[0].close();
        assert.ok(flows[0].closed);
        await ask(first, 'a', 7, SERVERS[4]);
        assert.equal(flows.length, 4);
        await Promise.all([once(flows[2], 'close'), once(flows[3], 'close')]);
        const { flows: all, openFlows, replacedFlows } = interceptor.counters;
        assert.deepEqual([all, openFlows, replacedFlows], [4, 0, 1]);
      });
    }));

  it('are 65,536 flows of as many sources', () =>
    withIntercepted({}, async ({ namespace, interceptor, tun }) => {
      const link = await tun.link();
      await link.set({ txQueueLength: 70_000 });
      for (let i = 11; i <= 14; i++) await link.addAddress(`192.0.2.${i}/24`);
      let ended = 0;
      const sources = new Set<string>();
      interceptor.on('flow', ({ source }) => sources.add(`${source.address} ${source.port}`));
      interceptor.on('flow', (flow) => flow.on('close', () => ended++));
      const script = `
import socket
for host in range(11, 15):
    for port in range(20000, 20000 + 16384 + (host == 14)):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(('192.0.2.%d' % host, port))
        s.sendto(b'x', ('203.0.113.5', 7))
        s.close()
`;
      const { status, stderr } = await runFor(50_000, namespace, 'python3', '-c', script);
      assert.equal(status, 0, stderr);
      while (interceptor.counters.datagramsReceived < 65_537) await new Promise(setImmediate);
      const { flows, openFlows, replacedFlows } = interceptor.counters;
      assert.deepEqual([flows, openFlows, replacedFlows], [65_537, 65_536, 1]);
      assert.deepEqual([sources.size, ended], [65_537, 1]);
    }));

  for (const family of [4, 6] as const) {
    it(`that nobody takes are refused, as those that a program refuses, over IPv${family}`, () =>
      withIntercepted({}, async ({ namespace, interceptor }) => {
        const refused = async () => {
          const remote = new Endpoint(SERVERS[family], 7);
          await using socket = openUdp({ namespace, address: CLIENTS[family], remote });
          const error = once(socket, 'icmpError') as Promise<[IcmpError]>;
          void socket.batches().next(); // errors come while somebody reads
          socket.send(Buffer.from('x'));
          const [{ code, offender }] = await error;
          assert.equal(offender, SERVERS[family]);
          return code;
        };
        const refuseOnce = (reason?: DatagramRefusal) =>
          interceptor.once('flow', (flow) => flow.on('message', (_, to) => flow.refuse(to, reason)));
        assert.equal(await refused(), 'ECONNREFUSED');
        assert.equal(interceptor.counters.openFlows, 0);
        refuseOnce();
        assert.equal(await refused(), 'ECONNREFUSED');
        refuseOnce('host-unreachable');
        assert.equal(await refused(), 'EHOSTUNREACH');
        refuseOnce('prohibited');
        assert.equal(await refused(), family === 4 ? 'EHOSTUNREACH' : 'EACCES');
        assert.equal(interceptor.counters.datagramsRefused, 4);
      }));
  }

  it('are refused with an error for wrong arguments', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const flows = echoFlows(interceptor);
      await withClients(namespace, 4, 1, async (client) => {
        await ask(client, 'a', 7, SERVERS[4]);
        const [flow] = flows;
        const to = { address: SERVERS[4], port: 7 };
        for (const [act, expected] of [
          [() => flow.send('x' as never, to), 'ERR_INVALID_ARG_TYPE'],
          [() => flow.send(Buffer.of(1), undefined as never), 'ERR_INVALID_ARG_TYPE'],
          [() => flow.send(Buffer.of(1), { address: SERVERS[6], port: 7 }), 'ERR_INVALID_ARG_VALUE'],
          [() => flow.send(Buffer.of(1), { address: 'x', port: 7 }), 'ERR_INVALID_ARG_VALUE'],
          [() => flow.send(Buffer.of(1), { address: SERVERS[4], port: 65_536 }), 'ERR_OUT_OF_RANGE'],
          [() => flow.refuse({ address: SERVERS[4], port: 0 }), 'ERR_OUT_OF_RANGE'],
          [() => flow.refuse(to, 'x' as never), 'ERR_INVALID_ARG_VALUE'],
          [() => interceptor.writeBatch({} as never, interceptor.received), 'ERR_INVALID_ARG_TYPE'],
        ] as const) {
          assert.equal(code(act), expected, `${act}`);
        }
      });
    }));

  it('are not sent from where no datagram can come from, which a network may claim', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      const flows = echoFlows(interceptor);
      for (const [family, wrong] of [
        [4, ['0.0.0.0']],
        [6, ['::', 'fe80::1%eth0', 'fe80::1%3']],
      ] as const) {
        await withClients(namespace, family, 1, async (client) => {
          await ask(client, 'a', 7, SERVERS[family]);
          const flow = flows.at(-1) as InterceptedFlow;
          const to = { address: SERVERS[family], port: 7 };
          assert.equal(flow.send(Buffer.of(1), { ...to, port: 0 }), false);
          assert.equal(flow.send(Buffer.alloc(65_508), to), false);
          for (const address of wrong) assert.equal(flow.send(Buffer.of(1), { address, port: 7 }), false);
          const next = once(client, 'message');
          assert.equal(flow.send(Buffer.from('right'), to), true);
          assert.equal(`${(await next)[0]}`, 'right');
        });
      }
    }));

  it('and packets of any kind may be wrong', () =>
    withIntercepted({}, async ({ namespace, interceptor }) => {
      echoFlows(interceptor);
      interceptor.on('echo', (echo) => echo.reply());
      // AF_PACKET gives the device's reader any bytes.
      const script = `
import random, socket, struct
random.seed(5)
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
def v4(protocol, payload, place=0):
    h = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(payload), 7, place, 64, protocol, 0, bytes([192,0,2,1]), bytes([203,0,113,5]))
    t = sum(struct.unpack('!10H', h))
    t = (t & 0xffff) + (t >> 16)
    return h[:10] + struct.pack('!H', 0xffff - ((t & 0xffff) + (t >> 16))) + h[12:] + payload
def v6(protocol, payload):
    return struct.pack('!IHBB', 0x60000000, len(payload), protocol, 64) + bytes.fromhex('20010db8000000000000000000000001') * 2 + payload
udp = struct.pack('!4H', 1000, 7, 108, 0) + bytes(100)
icmp = bytes([3, 4, 0, 0, 0, 0, 5, 0]) + v4(6, bytes(20))
made = [v4(17, udp), v4(1, icmp), v4(1, b'\\x08' + bytes(20)), v4(17, udp, 0x2000), v4(17, udp, 3), v6(17, udp), v6(58, bytes([2]) + bytes(7) + v6(6, bytes(20))), v6(44, bytes([17, 0, 0, 1]) + bytes(4) + udp), v6(44, bytes([44, 0, 0, 0]) * 30), v6(0, bytes([0, 0]) * 40)]
for i in range(20000):
    p = bytearray(random.choice(made))
    for _ in range(random.randrange(5)):
        p[random.randrange(len(p))] = random.randrange(256)
    if random.random() < 0.3:
        del p[random.randrange(1, len(p)):]
    try:
        s.sendto(bytes(p), ('tun0', 0x86dd if p[0] >> 4 == 6 else 0x800))
    except OSError:
        pass
`;
      const { status, stderr } = await run(namespace, 'python3', '-c', script);
      assert.equal(status, 0, stderr);
      await withClients(namespace, 4, 1, async (client) => {
        const [bytes] = await ask(client, 'alive', 7, SERVERS[4]);
        assert.equal(`${bytes}`, 'alive');
      });
      const { dropped, datagramsReceived } = interceptor.counters;
      for (const reason of ['malformed', 'fragments', 'icmp', 'unsupported'] as const) {
        assert.ok(dropped[reason] > 0, reason);
      }
      assert.ok(datagramsReceived > 1);
    }));
});

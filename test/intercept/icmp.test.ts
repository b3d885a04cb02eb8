/** ICMP and checksums, by the kernel's clients and tcpdump. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { NetworkNamespace } from 'tuntap-native';
import { createVethPair } from 'tuntap-native/net';
import { needs, run } from '../support.ts';
import { CLIENTS, SERVERS, withIntercepted } from './support.ts';

describe('intercepted ICMP', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'ping', 'nstat');
  });

  for (const family of [4, 6] as const) {
    it(`echo requests are answered if you wish, in fragments where they are long, over IPv${family}`, () =>
      withIntercepted({}, async ({ namespace, interceptor }) => {
        const silent = await run(namespace, 'ping', '-c1', '-W1', SERVERS[family]);
        assert.equal(silent.status, 1);
        assert.ok(interceptor.counters.dropped.icmp > 0);
        interceptor.on('echo', (echo) => {
          assert.equal(echo.destination, SERVERS[family]);
          assert.equal(echo.family, family);
          if (echo.sequence !== 2) echo.reply();
        });
        const answered = await run(namespace, 'ping', '-c3', '-i0.2', '-W1', '-s', '1000', SERVERS[family]);
        assert.match(answered.stdout, /icmp_seq=1 .*icmp_seq=3 /s);
        assert.match(answered.stdout, /3 packets transmitted, 2 received/);
        const large = await run(namespace, 'ping', '-c1', '-s', '60000', SERVERS[family]);
        assert.equal(large.status, 0, large.stdout);
        assert.equal(interceptor.counters.echoes, 4);
        assert.equal(interceptor.counters.reassembled, 1);
      }));

    for (const offload of ['raw', false] as const) {
      it(`errors about a connection reach the stack: path MTU, IPv${family}, offload ${offload}`, () =>
        withIntercepted({ tun: { offload } }, async ({ namespace, interceptor }) => {
          await using far = await NetworkNamespace.create();
          // What the router sends to the client's link may have 1,280 bytes, though the client takes 1,500.
          const [near, client] = family === 4 ? ['10.9.0.1', '10.9.0.2'] : ['2001:db8:9::1', '2001:db8:9::2'];
          const length = family === 4 ? 24 : 64;
          await namespace.setSysctl(`net.ipv${family}.conf.all.forwarding`, 1);
          const [router, host] = await createVethPair(
            { name: 'near', namespace },
            { name: 'far', namespace: far },
          );
          await router.set({ mtu: 1280, up: true });
          await host.set({ up: true });
          await router.addAddress(`${near}/${length}`, { noDad: true });
          await host.addAddress(`${client}/${length}`, { noDad: true });
          await far.addRoute({ destination: 'default', via: near });
          const sent = Buffer.alloc(2 ** 20, 'path MTU');
          interceptor.on('connection', async (connection) => (await connection.accept()).end(sent));
          const socket = await far.connect({ host: SERVERS[family], port: 7 });
          assert.ok((await buffer(socket)).equals(sent));
          const counter = family === 4 ? 'IcmpOutDestUnreachs' : 'Icmp6OutPktTooBigs';
          const { stdout } = await run(namespace, 'nstat', '-asz', counter);
          assert.match(stdout, new RegExp(`${counter} +[1-9]`), 'the router has told of its MTU');
        }));
    }
  }
});

describe('what an interceptor sends', function () {
  this.timeout(60_000);
  before(function () {
    needs(this, 'tcpdump', 'ping');
  });

  it('has right checksums', () =>
    withIntercepted({ tun: { offload: 'raw' } }, async ({ namespace, interceptor }) => {
      interceptor.on('echo', (echo) => echo.reply());
      interceptor.on('flow', (flow) => {
        flow.on('message', (bytes, to) => (bytes[0] === 1 ? flow.refuse(to) : flow.send(bytes, to)));
      });
      const filter = `src host ${SERVERS[4]} or src host ${SERVERS[6]}`;
      const dump = namespace.spawn('tcpdump', ['-nvvl', '-s0', '-i', 'tun0', filter], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let lines = '';
      dump.stdout?.on('data', (text) => {
        lines += text;
      });
      await once(dump.stderr as NodeJS.ReadableStream, 'data'); // it listens
      for (const family of [4, 6] as const) {
        const socket = await namespace.createUdpSocket({ host: CLIENTS[family] });
        for (const length of [0, 1, 2, 999, 1_400]) {
          const answer = once(socket, 'message');
          socket.send(Buffer.alloc(length, 77), 7777, SERVERS[family]);
          await answer;
        }
        await new Promise((resolve) => socket.send(Buffer.of(1), 7777, SERVERS[family], resolve));
        socket.close();
        const { status } = await run(namespace, 'ping', '-c1', '-s', '777', SERVERS[family]);
        assert.equal(status, 0);
      }
      while ((lines.match(/echo reply/g) ?? []).length < 2)
        await once(dump.stdout as NodeJS.ReadableStream, 'data');
      dump.kill();
      await once(dump, 'close');
      assert.equal((lines.match(/udp sum ok/g) ?? []).length, 10, lines);
      assert.equal((lines.match(/icmp6 sum ok/g) ?? []).length, 2, lines);
      assert.match(lines, /udp port 7777 unreachable/);
      assert.doesNotMatch(lines, /bad|wrong|incorrect/);
    }));
});

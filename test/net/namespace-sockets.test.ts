/** Node.js's own sockets inside a namespace: TCP, UDP, names, http. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo, Server, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { fdsAtMost, needs, openFds } from '../support.ts';

/** Two namespaces with a veth pair, one of root and one of a user namespace's: 192.0.2.1 and .2, 2001:db8::1 and ::2. */
async function withPair(body: (a: NetworkNamespace, b: NetworkNamespace) => Promise<void>): Promise<void> {
  await using a = await NetworkNamespace.create();
  await using b = await NetworkNamespace.create(undefined, { user: true });
  for (const namespace of [a, b]) {
    await namespace.setSysctl('net.ipv6.conf.default.accept_dad', 0);
    await (await namespace.link('lo')).set({ up: true });
  }
  const end = (namespace: NetworkNamespace, host: number) => ({
    namespace,
    name: 'eth0',
    addresses: [`192.0.2.${host}/24`, `2001:db8::${host}/64`],
    up: true,
  });
  await createVethPair(end(a, 1), end(b, 2));
  await body(a, b);
}

const echo = (socket: Socket) => socket.pipe(socket);
const portOf = (server: Server) => (server.address() as AddressInfo).port;

async function closed(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

/** A name server that answers from a table, or not at all. */
async function nameServer(
  namespace: NetworkNamespace,
  table: Readonly<Record<string, readonly string[]>>,
  { truncates = false, garbage = false } = {},
): Promise<{ close(): Promise<void>; readonly asked: string[] }> {
  const asked: string[] = [];
  const answer = (question: Buffer, truncated: boolean): Buffer => {
    const labels: string[] = [];
    let at = 12;
    for (; question[at] !== 0; at += question[at] + 1)
      labels.push(question.toString('latin1', at + 1, at + 1 + question[at]));
    const name = labels.join('.');
    const type = question.readUInt16BE(at + 1);
    asked.push(`${name} ${type}`);
    const found = table[name]?.filter((address) => address.includes(':') === (type === 28)) ?? [];
    const reply = Buffer.from(question.subarray(0, at + 5));
    reply.writeUInt16BE(truncated ? 0x8380 : table[name] ? 0x8180 : 0x8183, 2);
    if (truncated) return reply;
    reply.writeUInt16BE(found.length, 6);
    const records = found.map((address) => {
      const data =
        type === 1
          ? Buffer.from(address.split('.').map(Number))
          : Buffer.from(
              address
                .replace('::', ':0:0:0:0:0:')
                .split(':')
                .flatMap((g) => [Number.parseInt(g, 16) >> 8, Number.parseInt(g, 16) & 255]),
            );
      return Buffer.concat([Buffer.of(0xc0, 12, 0, type, 0, 1, 0, 0, 0, 1, 0, data.length), data]);
    });
    return Buffer.concat([reply, ...records]);
  };
  // In Deno it is asked by TCP.
  const socket = process.versions.deno ? undefined : await namespace.createUdpSocket({ port: 53 });
  socket?.on('message', (question, { address, port }) => {
    if (garbage) {
      socket.send(Buffer.from('garbage'), port, address);
      const other = Buffer.from(question);
      other[0] ^= 0xff;
      socket.send(answer(other, false), port, address);
    }
    socket.send(answer(question, truncates), port, address);
  });
  const server = await namespace.listen({ port: 53 }, (connection) => {
    connection.once('data', (bytes) => {
      const reply = answer(bytes.subarray(2), false);
      connection.write(Buffer.of(reply.length >> 8, reply.length & 255));
      connection.end(reply);
    });
  });
  return {
    asked,
    async close() {
      socket?.close();
      await closed(server);
    },
  };
}

describe('sockets of Node.js in a namespace', () => {
  before(function () {
    needs(this);
  });

  for (const host of ['192.0.2.2', '2001:db8::2']) {
    it(`connect and listen by TCP: ${host}`, () =>
      withPair(async (a, b) => {
        const server = await b.listen({ host, port: 0 }, echo);
        const socket = await a.connect({ host, port: portOf(server) });
        assert.equal(socket.remoteAddress, host);
        assert.equal(socket.localAddress, host.replace(/2$/, '1'));
        socket.end('there and back');
        assert.equal(await text(socket), 'there and back');
        // The machine's own network has no such server.
        await closed(server);
      }));
  }

  it('take ports below 1024, an address to come from, a mark and a device', () =>
    withPair(async (a, b) => {
      const seen: (string | undefined)[] = [];
      const server = await b.listen({ port: 80 }, (socket) => {
        seen.push(`${socket.remoteAddress}:${socket.remotePort}`);
        socket.end();
      });
      const socket = await a.connect({
        host: '192.0.2.2',
        port: 80,
        localAddress: '192.0.2.1',
        localPort: 4000,
        mark: 7,
        device: 'eth0',
      });
      await once(socket.resume(), 'close');
      assert.deepEqual(seen, ['::ffff:192.0.2.1:4000']);
      await closed(server);
    }));

  it("fail with net.connect's errors", () =>
    withPair(async (a) => {
      await assert.rejects(a.connect({ host: '192.0.2.2', port: 1 }), {
        code: 'ECONNREFUSED',
        syscall: 'connect',
        address: '192.0.2.2',
        port: 1,
        message: 'connect ECONNREFUSED 192.0.2.2:1',
      });
      await assert.rejects(a.connect({ host: '198.51.100.1', port: 1 }), { code: 'ENETUNREACH' });
      await assert.rejects(a.connect({ host: '192.0.2.99', port: 1, timeout: 50 }), { code: 'ETIMEDOUT' });
      const signal = AbortSignal.timeout(50);
      await assert.rejects(a.connect({ host: '192.0.2.99', port: 1, signal }), { name: 'AbortError' });
      const elsewhere = a.connect({ host: '192.0.2.2', port: 1, localAddress: '203.0.113.1' });
      await assert.rejects(elsewhere, { code: 'EADDRNOTAVAIL', syscall: 'bind', address: '203.0.113.1' });
      const server = await a.listen({ port: 5000 });
      await assert.rejects(a.listen({ port: 5000 }), { code: 'EADDRINUSE', syscall: 'listen', port: 5000 });
      await assert.rejects(a.listen({ host: '203.0.113.1' }), { code: 'EADDRNOTAVAIL' });
      await closed(server);
      await assert.rejects(a.connect({ port: 70_000 }), { code: 'ERR_OUT_OF_RANGE' });
      await assert.rejects(a.connect({ host: 'a b', port: 1 }), { code: 'ERR_INVALID_ARG_VALUE' });
    }));

  it('send and receive datagrams, to names too', () =>
    withPair(async (a, b) => {
      const names = await nameServer(b, { 'b.test': ['192.0.2.2'] });
      const at = await b.createUdpSocket({ port: 9000 });
      const from = await a.createUdpSocket({ host: '0.0.0.0' });
      const message = once(at, 'message');
      from.send('to an address', 9000, '192.0.2.2');
      assert.equal(String((await message)[0]), 'to an address');
      at.close();
      from.close();
      await names.close();
    }));

  it('carry http, with an agent and without', () =>
    withPair(async (a, b) => {
      const site = http.createServer((request, response) => response.end(`you asked for ${request.url}`));
      const server = await b.listen({ port: 80 });
      server.on('connection', (socket) => site.emit('connection', socket));
      const createConnection = ((options: never, callback: never) => {
        a.createConnection(options, callback);
      }) as never;
      const [response] = await once(http.get('http://192.0.2.2/page', { createConnection }), 'response');
      assert.equal(await text(response), 'you asked for /page');
      site.closeAllConnections();
      await closed(server);
    }));

  it('look names up inside, by UDP and TCP, past answers of others', async () => {
    await withPair(async (a, b) => {
      const table = { 'b.test': ['192.0.2.2', '192.0.2.9', '2001:db8::2'] };
      for (const how of [{}, { truncates: true }, { garbage: true }]) {
        const names = await nameServer(b, table, how);
        const servers = ['192.0.2.2'];
        assert.deepEqual(await a.resolve('B.test', { servers }), [
          { address: '2001:db8::2', family: 6 },
          { address: '192.0.2.2', family: 4 },
          { address: '192.0.2.9', family: 4 },
        ]);
        assert.deepEqual(await a.resolve('b.test.', { servers, family: 6 }), [
          { address: '2001:db8::2', family: 6 },
        ]);
        await assert.rejects(a.resolve('missing.test', { servers }), {
          code: 'ENOTFOUND',
          hostname: 'missing.test',
        });
        await names.close();
      }
      await assert.rejects(a.resolve('b.test', { servers: ['192.0.2.2'] }), { code: 'ECONNREFUSED' });
      // 192.0.2.99 is nobody. The error is an AbortError, whatever the reason.
      const reason = AbortSignal.timeout(50);
      await assert.rejects(a.resolve('b.test', { servers: ['192.0.2.99'], signal: reason }), {
        name: 'AbortError',
        code: 'ABORT_ERR',
      });
      assert.deepEqual(await a.resolve('localhost', { family: 4 }), [{ address: '127.0.0.1', family: 4 }]);
      assert.deepEqual(await a.resolve('::1'), [{ address: '::1', family: 6 }]);
    });
  });

  it('tell that the name servers can not be reached, and refuse what is wrong', async () => {
    await using namespace = await NetworkNamespace.create();
    // No route: not even loopback is up.
    const servers = ['192.0.2.2'];
    await assert.rejects(namespace.resolve('b.test', { servers }), { code: 'ENETUNREACH' });
    await assert.rejects(namespace.connect({ host: 'b.test', port: 1, servers }), { code: 'ENETUNREACH' });
    const wrong = (value: unknown) => value as never;
    for (const attempt of [
      () => namespace.resolve(wrong(5)),
      () => namespace.resolve('b.test', { servers: wrong('192.0.2.2') }),
      () => namespace.listen(wrong(null)),
      () => namespace.listen({}, wrong('x')),
      () => namespace.createUdpSocket({ ipv6Only: wrong(1) }),
      async () => namespace.createConnection(wrong(undefined), () => {}),
      async () => namespace.createConnection({ port: 1 }, wrong(undefined)),
      () => new Promise((_, reject) => namespace.createConnection({ port: wrong('') }, reject)),
      () => new Promise((_, reject) => namespace.createConnection({ port: wrong(true) }, reject)),
    ]) {
      await assert.rejects(attempt, { code: 'ERR_INVALID_ARG_TYPE' });
    }
    for (const attempt of [
      () => namespace.resolve('b.test', { family: wrong(5) }),
      () => namespace.resolve('b.test', { servers: ['nobody'] }),
      () => namespace.listen({ host: 'localhost' }),
    ]) {
      await assert.rejects(attempt, { code: 'ERR_INVALID_ARG_VALUE' });
    }
  });

  it('go to the address of a host that answers, though the first one is silent', () =>
    withPair(async (a, b) => {
      const names = await nameServer(b, { 'b.test': ['192.0.2.99', '192.0.2.2'] });
      const server = await b.listen({ port: 80 }, echo);
      const socket = await a.connect({ host: 'b.test', port: 80, servers: ['192.0.2.2'] });
      assert.equal(socket.remoteAddress, '192.0.2.2');
      socket.destroy();
      await closed(server);
      await assert.rejects(a.connect({ host: 'b.test', port: 80, servers: ['192.0.2.2'], timeout: 1000 }));
      await names.close();
    }));

  it('leave no fd and no link, opened again and again', async () => {
    const cycle = () =>
      withPair(async (a, b) => {
        const server = await b.listen({ port: 80 }, echo);
        const socket = await a.connect({ host: '192.0.2.2', port: 80 });
        socket.destroy();
        await once(socket, 'close');
        await closed(server);
        await a.connect({ host: '192.0.2.2', port: 81 }).catch(() => {});
        const datagrams = await a.createUdpSocket();
        datagrams.close();
        await once(datagrams, 'close');
      });
    await cycle();
    const before = openFds();
    for (let i = 0; i < 10; i++) await cycle();
    await fdsAtMost(before);
  });

  it('of a closed namespace are refused', async () => {
    const namespace = await NetworkNamespace.create();
    await namespace.close();
    await assert.rejects(namespace.listen(), { code: 'ERR_TUNTAP_CLOSED' });
  });
});

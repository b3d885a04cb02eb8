import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { readDevice } from '#dist/wireguard/control-client.js';
import { needs } from '../support.ts';
import { ask, Client, KEY, OTHER, withFake } from './control-support.ts';
import { newPeer } from './fake-device.ts';
import { SOCKETS, until } from './oracle.ts';

describe('requests on a control socket', () => {
  before(function () {
    needs(this, 'wg');
  });

  it('several on one connection, in pieces of any size', async () => {
    await withFake(async (_name, device, { path }) => {
      const request = `get=1\n\nset=1\nfwmark=7\nreplace_peers=true\npublic_key=${KEY}\nallowed_ip=10.1.2.3/8\n\nget=1\n\n`;
      const expected = `errno=0\n\nerrno=0\n\nfwmark=7\npublic_key=${KEY}\npreshared_key=${'00'.repeat(32)}
protocol_version=1\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0
persistent_keepalive_interval=0\nallowed_ip=10.0.0.0/8\nerrno=0\n\n`;
      for (const size of [1, 2, 7, 1000]) {
        device.fwmark = 0;
        device.peers.clear();
        const client = new Client(path);
        client.socket.setNoDelay(true);
        for (let at = 0; at < request.length; at += size) {
          client.socket.write(request.slice(at, at + size));
          if (size < 10) await new Promise(setImmediate);
        }
        assert.equal(await client.ask('', 3), expected);
        client.close();
      }
    });
  });

  const refused: [what: string, request: string, answer: string][] = [
    ['a line without =', 'set=1\nlisten_port\n\n', 'errno=-71\n\n'],
    ['an unknown key', 'set=1\nport=1\n\n', 'errno=-22\n\n'],
    ['a key of a peer before one', 'set=1\nallowed_ip=10.0.0.0/8\n\n', 'errno=-22\n\n'],
    ['a key of the device behind a peer', `set=1\npublic_key=${KEY}\nfwmark=1\n\n`, 'errno=-22\n\n'],
    ['a number with a sign', 'set=1\nfwmark=+1\n\n', 'errno=-22\n\n'],
    ['a number beyond its range', 'set=1\nfwmark=4294967296\n\n', 'errno=-22\n\n'],
    ['a port beyond its range', 'set=1\nlisten_port=65536\n\n', 'errno=-22\n\n'],
    ['a hexadecimal number', 'set=1\nfwmark=0x10\n\n', 'errno=-22\n\n'],
    ['a key of 63 digits', `set=1\nprivate_key=${KEY.slice(1)}\n\n`, 'errno=-22\n\n'],
    ['a key of other digits', `set=1\nprivate_key=g${KEY.slice(1)}\n\n`, 'errno=-22\n\n'],
    ['replace_peers=false', 'set=1\nreplace_peers=false\n\n', 'errno=-22\n\n'],
    ['protocol_version=2', `set=1\npublic_key=${KEY}\nprotocol_version=2\n\n`, 'errno=-22\n\n'],
    ['a host name', `set=1\npublic_key=${KEY}\nendpoint=localhost:1\n\n`, 'errno=-22\n\n'],
    ['an IPv6 endpoint without brackets', `set=1\npublic_key=${KEY}\nendpoint=::1:1\n\n`, 'errno=-22\n\n'],
    ['an allowed IP without length', `set=1\npublic_key=${KEY}\nallowed_ip=10.0.0.0\n\n`, 'errno=-22\n\n'],
    ['keepalive off', `set=1\npublic_key=${KEY}\npersistent_keepalive_interval=off\n\n`, 'errno=-22\n\n'],
    [
      'a bad line of a removed peer',
      `set=1\npublic_key=${KEY}\nremove=true\nendpoint=x\n\n`,
      'errno=-22\n\n',
    ],
    ['a line of 4,097 bytes', `set=1\npublic_key=${'0'.repeat(4086)}\n\n`, 'errno=-5\n\n'],
    ['a line without end', `set=1\n${'0'.repeat(5000)}`, 'errno=-5\n\n'],
    ['an unknown request', 'hello\n', ''],
    ['a request of another version', 'set=2\nfwmark=1\n\n', ''],
    ['a request with a carriage return', 'get=1\r\n\r\n', ''],
    ['a request without end', `${'x'.repeat(5000)}`, ''],
    ['an empty line', '\n', ''],
    ['bytes that are no text', Buffer.of(0, 255, 10, 200, 0, 10).toString('latin1'), ''],
  ];
  for (const [what, request, answer] of refused) {
    it(`${what} ends that connection only, and changes nothing`, () =>
      withFake(async (_name, device, { path }) => {
        const other = new Client(path);
        assert.deepEqual(await ask(path, Buffer.from(request, 'latin1')), { text: answer, ended: true });
        assert.deepEqual(device.applied, []);
        assert.equal(await other.ask('get=1\n\n'), 'errno=0\n\n');
        other.close();
      }));
  }

  it('a bad line behind good ones changes nothing', () =>
    withFake(async (_name, device, { path }) => {
      const request = `set=1\nprivate_key=${KEY}\nlisten_port=7\npublic_key=${OTHER}\nallowed_ip=x\n\n`;
      assert.deepEqual(await ask(path, request), { text: 'errno=-22\n\n', ended: true });
      assert.deepEqual(device.applied, []);
    }));

  it('the answer comes at the bad line, before the request ends', () =>
    withFake(async (_name, _device, { path }) => {
      assert.deepEqual(await ask(path, 'set=1\nx=1\n'), { text: 'errno=-22\n\n', ended: true });
    }));

  it('a request that is cut off changes nothing', () =>
    withFake(async (_name, device, { path }) => {
      const client = new Client(path);
      client.socket.end('set=1\nfwmark=1\n');
      await until(() => client.ended, 'the end');
      assert.equal(client.text, 'errno=-71\n\n');
      assert.deepEqual(device.applied, []);
      client.close();
    }));

  it('what the device refuses has a negative errno in set, a positive one in get', () =>
    withFake(async (_name, device, { path }) => {
      const failures: [Error, number][] = [
        [Object.assign(new Error(), { code: 'EADDRINUSE', errno: -98 }), 98],
        [Object.assign(new Error(), { code: 'ERR_WG_ALLOWED_IP' }), 22],
        [new Error('whatever'), 5],
      ];
      for (const [failure, errno] of failures) {
        device.failure = failure;
        assert.equal((await ask(path, 'set=1\nlisten_port=1\n\n')).text, `errno=-${errno}\n\n`);
        device.failure = failure;
        assert.equal((await ask(path, 'get=1\n\n')).text, `errno=${errno}\n\n`);
      }
    }));

  it('one change at a time, those of a connection in their order; a get waits for the changes before it', () =>
    withFake(async (_name, device, { path }) => {
      let open = (): void => {};
      device.gate = new Promise((resolve) => {
        open = resolve;
      });
      const clients = Array.from({ length: 8 }, () => new Client(path));
      const answers = clients.map((client, i) => client.ask(`set=1\nfwmark=${i + 1}\n\nget=1\n\n`, 2));
      await sleep(50);
      assert.equal(device.applied.length, 0);
      open();
      for (const answer of await Promise.all(answers))
        assert.match(answer, /^errno=0\n\nfwmark=\d+\nerrno=0\n\n$/);
      assert.equal(device.applied.length, 8);
      for (const client of clients) client.close();
    }));

  it('a client that goes away while its change is under way harms nobody', () =>
    withFake(async (_name, device, { path }) => {
      let open = (): void => {};
      device.gate = new Promise((resolve) => {
        open = resolve;
      });
      const client = new Client(path);
      client.socket.write('set=1\nfwmark=5\n\nget=1\n\n');
      await until(() => device.busy, 'the change');
      client.close();
      open();
      assert.match((await ask(path, 'get=1\n\n')).text, /^fwmark=5\nerrno=0/);
    }));

  it('no more than 16 connections; others may come when one goes', () =>
    withFake(async (_name, _device, { path }) => {
      const clients = Array.from({ length: 16 }, () => new Client(path));
      for (const client of clients) assert.equal(await client.ask('get=1\n\n'), 'errno=0\n\n');
      assert.deepEqual(await ask(path, 'get=1\n\n'), { text: '', ended: true });
      clients[3].close();
      await until(async () => (await ask(path, 'get=1\n\n')).text === 'errno=0\n\n', 'a free place');
      for (const client of clients) client.close();
    }));

  it('a silent connection ends', () =>
    withFake(
      async (_name, _device, { path }) => {
        const silent = new Client(path);
        const half = new Client(path);
        half.socket.write('set=1\nfwmark=1\n');
        await until(() => silent.ended && half.ended, 'the end');
        silent.close();
        half.close();
      },
      { idleTimeoutMs: 100 },
    ));

  it('a client that does not read ends, and holds little memory', () =>
    withFake(
      async (_name, device, { path }) => {
        for (let i = 0; i < 100; i++) {
          const bytes = randomBytes(32);
          device.peers.set(bytes.toString('hex'), newPeer(bytes));
        }
        const before = process.memoryUsage().rss;
        const client = connect(path);
        client.on('error', () => {});
        await once(client, 'connect');
        client.pause();
        client.write('get=1\n\n'.repeat(100_000)); // answers of 3 GB
        await once(client, 'close', { signal: AbortSignal.timeout(10_000) }).catch(() => {});
        await until(async () => (await ask(path, 'get=1\n\n')).text.endsWith('errno=0\n\n'), 'an answer');
        assert.ok(process.memoryUsage().rss - before < 150 << 20);
        client.destroy();
      },
      { idleTimeoutMs: 300 },
    ));

  it('65,536 peers in one request, and not one more', async function () {
    this.timeout(60_000);
    await withFake(async (_name, device, { path }) => {
      const peers = (count: number): string =>
        Array.from({ length: count }, (_, i) => {
          const id = i.toString(16).padStart(64, '0');
          return `public_key=${id}\npreshared_key=${id}\nendpoint=192.0.2.1:${i % 60000}\nallowed_ip=10.${i >> 8}.${i & 255}.0/24\n`;
        }).join('');
      const client = new Client(path);
      assert.equal(await client.ask(`set=1\n${peers(65_537)}\n`), 'errno=-22\n\n');
      client.close();
      assert.equal(device.peers.size, 0);
      const good = new Client(path);
      assert.equal(await good.ask(`set=1\n${peers(65_536)}\n`), 'errno=0\n\n');
      assert.equal(device.peers.size, 65_536);
      const state = await readDevice(path.slice(SOCKETS.length + 1, -'.sock'.length));
      assert.equal(state.peers.length, 65_536);
      good.close();
    });
  });

  it('requests of 64 MB in all; what they held is free again afterwards', async function () {
    this.timeout(60_000);
    await withFake(async (_name, device, { path }) => {
      for (let round = 0; round < 2; round++) {
        const client = new Client(path);
        client.socket.write(`set=1\npublic_key=${KEY}\n`);
        const piece = `persistent_keepalive_interval=${'0'.repeat(4000)}\n`.repeat(100);
        for (let sent = 0; !client.ended && sent < 90 << 20; sent += piece.length) {
          await new Promise((resolve) => client.socket.write(piece, resolve));
        }
        await until(() => client.ended, 'the end');
        assert.equal(client.text, 'errno=-12\n\n');
        client.close();
        assert.equal((await ask(path, 'set=1\nfwmark=1\n\n')).text, 'errno=0\n\n');
      }
      assert.ok(device.applied.every(({ peers }) => peers.length === 0));
    });
  });

  it('any bytes: nothing is applied but valid requests, and the socket goes on', () =>
    withFake(async (_name, device, { path }) => {
      const words = [
        'set=1\nfwmark=1\n\n',
        'set=1\n',
        'get=1\n',
        '\n',
        'fwmark=',
        '1',
        `public_key=${KEY}\n`,
        'allowed_ip=',
        '10.0.0.0/8',
        '::/0',
        '\r',
        'remove=true\n',
        '\0',
      ];
      const text = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 8 })), {
        maxLength: 20,
      });
      await fc.assert(
        fc.asyncProperty(text, async (parts) => {
          const client = new Client(path);
          client.socket.end(Buffer.from(parts.join(''), 'latin1'));
          await until(() => client.ended, 'the end');
          assert.match(client.text, /^((?!errno).*\n)*?(((?!errno).*\n)*errno=-?\d+\n\n)*$/);
          client.close();
        }),
        { numRuns: 300 },
      );
      assert.ok(device.applied.length > 0);
      assert.match((await ask(path, 'get=1\n\n')).text, /errno=0\n\n$/);
    }));
});

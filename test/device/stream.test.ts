import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Duplex, PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { openTun, PacketBatch, type TunDevice } from 'tuntap-native';
import { ipv4Packet, replyToEcho, udpDatagram } from 'tuntap-native/packet';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { code, inNamespace, needs, run } from '../support.ts';
import { detach } from './traffic.ts';

const ADDRESS = { source: '192.0.2.2', destination: '192.0.2.1' };

function packet(payload: Uint8Array): Buffer {
  const datagram = udpDatagram({ ...ADDRESS, sourcePort: 5000, destinationPort: 6000, payload });
  return ipv4Packet({ ...ADDRESS, protocol: 17, payload: datagram });
}

async function answerByBatches(tun: TunDevice): Promise<void> {
  for await (const batch of tun.batches()) {
    for (const bytes of batch) {
      const reply = replyToEcho(bytes);
      if (reply) tun.write(reply);
    }
  }
}

// A transfer of memory that can't be transferred: DataCloneError, or V8's own in Deno.
const REFUSED = /^(DataCloneError|TypeError)$/;

describe('the packet stream', () => {
  before(function () {
    needs(this, 'ip', 'ping');
  });

  const options = { addresses: ['192.0.2.1/24', '2001:db8::1/64'], up: true };

  for (const target of ['192.0.2.2', '2001:db8::2']) {
    it(`answers ping ${target} by stream and by batches`, () =>
      inNamespace(async (namespace) => {
        const tun = openTun('tun0', { ...options, namespace });
        tun.on('data', (bytes: Buffer) => {
          const reply = replyToEcho(bytes);
          if (reply) tun.write(reply);
        });
        assert.equal((await run(namespace, 'ping', '-c3', '-i0.01', '-s1200', target)).status, 0);
        assert.ok(tun.counters.packetsRead >= 3 && tun.counters.packetsWritten >= 3);
        await tun.close();
        const second = openTun('tun0', { ...options, namespace });
        const answering = answerByBatches(second);
        assert.equal((await run(namespace, 'ping', '-c3', '-i0.01', '-s1200', target)).status, 0);
        await second.close();
        await answering;
      }));
  }

  it('goes on after a listener that throws, and loses no packet', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { ...options, namespace });
      await using socket = openUdp({ namespace, remote: new Endpoint('192.0.2.2', 6000) });
      const caught: unknown[] = [];
      const seen: number[] = [];
      tun.on('data', (bytes: Buffer) => {
        if (bytes[9] !== 17) return;
        seen.push(bytes[28]);
        if (bytes[28] % 2 === 0) throw bytes[28];
      });
      const arrived = async (count: number): Promise<void> => {
        for (let i = 0; seen.length < count && i < 2000; i++) await delay(10);
      };
      const others = process.rawListeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.on('uncaughtException', (error) => caught.push(error));
      try {
        for (let i = 0; i < 6; i++) socket.send(Uint8Array.of(i));
        await arrived(6);
        for (let i = 6; i < 10; i++) {
          socket.send(Uint8Array.of(i));
          await arrived(i + 1);
        }
      } finally {
        process.removeAllListeners('uncaughtException');
        for (const other of others)
          process.on('uncaughtException', other as NodeJS.UncaughtExceptionListener);
      }
      assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      assert.deepEqual(caught, [0, 2, 4, 6, 8]);
    }));

  it('reports a refused packet to its own write and goes on', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { ...options, namespace });
      const write = (bytes: Uint8Array) =>
        new Promise((resolve) =>
          tun.write(bytes, (error) => resolve((error as NodeJS.ErrnoException | null)?.code)),
        );
      assert.equal(await write(Buffer.alloc(0)), 'EINVAL');
      assert.equal(await write(Buffer.alloc(20, 0xff)), 'EINVAL');
      assert.equal(await write(Buffer.alloc(70_000, 0x45)), 'EMSGSIZE');
      assert.equal(await write(packet(Buffer.alloc(10))), undefined);
      tun.setDown();
      assert.equal(await write(packet(Buffer.alloc(10))), 'EIO');
      assert.deepEqual(tun.counters.refused, { EINVAL: 2, EMSGSIZE: 1, EIO: 1 });
      assert.equal(tun.counters.packetsWritten, 1);
      assert.equal(tun.destroyed, false);
      assert.equal(
        code(() => tun.write('text' as unknown as Buffer)),
        'ERR_INVALID_ARG_TYPE',
      );
    }));

  it('writes a batch, each packet with its status', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { ...options, namespace });
      const batch = new PacketBatch({ headroom: 16, tailroom: 16 });
      for (const bytes of [packet(Buffer.from('a')), Buffer.alloc(30, 0xff), packet(Buffer.from('b'))])
        batch.push(bytes);
      assert.equal(tun.writeBatch(batch), 2);
      assert.deepEqual([batch.status(0), batch.status(1), batch.status(2)], [0, -22, 0]);
      assert.equal(batch.firstUnsent, 3);
      batch.drop(0);
      assert.equal(tun.writeBatch(batch), 1);
      assert.equal(tun.counters.packetsWritten, 3);
      assert.equal(
        code(() => tun.writeBatch(batch, 4)),
        'ERR_OUT_OF_RANGE',
      );
      assert.equal(
        code(() => tun.writeBatch([] as unknown as PacketBatch)),
        'ERR_INVALID_ARG_TYPE',
      );
    }));

  it('pipes one device into another', () =>
    inNamespace(async (namespace) => {
      await using a = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
      await using b = openTun('tun1', { namespace, up: true });
      const controller = new AbortController();
      const piping = pipeline(a, b, { signal: controller.signal });
      await run(namespace, 'ping', '-c2', '-i0.01', '-W0.1', '192.0.2.2');
      controller.abort();
      await assert.rejects(piping, { name: 'AbortError' });
      assert.ok(b.counters.packetsWritten >= 2);
    }));

  it('a pipe between devices shares packets with listeners that come and go, and ends with unpipe', () =>
    inNamespace(async (namespace) => {
      await using a = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
      await using b = openTun('tun1', { namespace, up: true });
      const echoes: Buffer[] = [];
      const collect = (bytes: Buffer): void => {
        if (bytes[0] === 0x45 && bytes[9] === 1) echoes.push(bytes);
      };
      const sent = async (): Promise<{ heard: number; piped: number; read: number }> => {
        const [heard, read, piped] = [echoes.length, a.counters.packetsRead, b.counters.packetsWritten];
        await run(namespace, 'ping', '-c3', '-i0.01', '-W0.1', '192.0.2.2');
        const { packetsRead } = a.counters;
        assert.ok(packetsRead - read >= 3);
        return {
          heard: echoes.length - heard,
          piped: b.counters.packetsWritten - piped,
          read: packetsRead - read,
        };
      };
      a.pipe(b);
      const alone = await sent();
      assert.deepEqual([alone.heard, alone.piped], [0, alone.read]);
      a.on('data', collect);
      const beside = await sent();
      assert.deepEqual([beside.heard, beside.piped], [3, beside.read]);
      const kept = echoes.map((bytes) => Buffer.from(bytes));
      a.off('data', collect);
      const again = await sent();
      assert.deepEqual([again.heard, again.piped], [0, again.read]);
      assert.deepEqual(echoes, kept, 'what a listener was given stays as it was');
      a.removeAllListeners('data').on('data', collect);
      const instead = await sent();
      assert.deepEqual([instead.heard, instead.piped], [3, 0]);
      a.unpipe(b).resume();
      const without = await sent();
      assert.deepEqual([without.heard, without.piped], [3, 0]);
    }));

  const ways: [string, (memory: ArrayBuffer) => void][] = [
    ['structuredClone', (memory) => structuredClone(null, { transfer: [memory] })],
    [
      'postMessage',
      (memory) => {
        const { port1 } = new MessageChannel();
        try {
          port1.postMessage(memory, [memory]);
        } finally {
          port1.close();
        }
      },
    ],
    ['ArrayBuffer.prototype.transfer', detach],
  ];
  for (const [way, transfer] of ways) {
    it(`goes on after a listener that transfers a chunk's memory: ${way}`, () =>
      inNamespace(async (namespace) => {
        await using tun = openTun('tun0', { ...options, namespace });
        await using socket = openUdp({ namespace, remote: new Endpoint('192.0.2.2', 6000) });
        const seen: number[] = [];
        tun.on('data', (bytes: Buffer) => {
          if (bytes[9] !== 17) return;
          seen.push(bytes[28]);
          try {
            transfer(bytes.buffer as ArrayBuffer);
            // Node.js 20 copies what can't be transferred.
            assert.ok(way.startsWith('ArrayBuffer') || process.version.startsWith('v20.'));
          } catch (error) {
            assert.match((error as Error).name, REFUSED);
          }
          if (!way.startsWith('ArrayBuffer')) assert.equal(bytes[28], seen.at(-1));
        });
        for (let i = 0; i < 5; i++) {
          socket.send(Uint8Array.of(i));
          for (let wait = 0; seen.length <= i && wait < 1000; wait++) await delay(1);
        }
        assert.deepEqual(seen, [0, 1, 2, 3, 4]);
        assert.equal(tun.destroyed, false);
      }));
  }

  it('is ended by an error, and the process goes on, if a listener overwrites the table of the packets', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { ...options, namespace });
      await using socket = openUdp({ namespace, remote: new Endpoint('192.0.2.2', 6000) });
      tun.on('data', (bytes: Buffer) => new Uint8Array(bytes.buffer, 32, 1024).fill(0x7f));
      const failed = once(tun, 'error');
      for (let i = 0; i < 3; i++) socket.send(Uint8Array.of(i));
      assert.equal((await failed)[0].code, 'ERR_BUFFER_OUT_OF_BOUNDS');
      await tun.close();
    }));

  it("can't transfer the memory of a batch, of one's own and of a loop's", () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { ...options, namespace });
      await using socket = openUdp({ namespace, remote: new Endpoint('192.0.2.2', 6000) });
      socket.send(Buffer.from('a'));
      const own = new PacketBatch();
      own.push(packet(Buffer.from('b')));
      for await (const batch of tun.batches()) {
        for (const { buffer, length } of [own.at(0), batch.at(0)]) {
          try {
            structuredClone(null, { transfer: [buffer as ArrayBuffer] });
          } catch (error) {
            assert.match((error as Error).name, REFUSED);
          }
          assert.ok(length > 0 && buffer.byteLength > 0);
        }
        break;
      }
      assert.equal(tun.writeBatch(own), 1);
    }));

  it('has told the counters of a packet when its callback is called, with offloads and without', () =>
    inNamespace(async (namespace) => {
      for (const offload of [true, false]) {
        await using tun = openTun('tun0', { ...options, namespace, offload });
        const written = (bytes: Uint8Array): Promise<unknown> =>
          new Promise((resolve) => tun.write(bytes, resolve));
        await written(packet(Buffer.from('a')));
        assert.equal(tun.counters.packetsWritten, 1);
        tun.write(packet(Buffer.from('b')));
        tun.write(packet(Buffer.from('c')));
        await written(packet(Buffer.from('d')));
        assert.equal(tun.counters.packetsWritten, 4);
        tun.write(packet(Buffer.from('e')));
        // Without a callback: a microtask later, or at once.
        assert.equal(tun.counters.packetsWritten, offload ? 4 : 5);
        await undefined;
        assert.equal(tun.counters.packetsWritten, 5);
        await new Promise((resolve) => tun.end(packet(Buffer.from('f')), () => resolve(undefined)));
        assert.equal(tun.counters.packetsWritten, 6);
      }
    }));

  it('refuses text, and methods that make no sense for packets, saying what to do; packets stay as they are', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { ...options, namespace });
      const device = tun as unknown as Duplex;
      const wrong: [string, () => unknown, string, RegExp][] = [
        ['setEncoding', () => device.setEncoding('utf8'), 'ERR_TUNTAP_UNSUPPORTED', /toString/],
        [
          'setDefaultEncoding',
          () => device.setDefaultEncoding('hex'),
          'ERR_TUNTAP_UNSUPPORTED',
          /Buffer.from/,
        ],
        ['wrap', () => device.wrap(new PassThrough()), 'ERR_TUNTAP_UNSUPPORTED', /pipe/],
        ['write', () => device.write('text'), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
        ['write with encoding', () => device.write('00', 'hex'), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
        ['write null', () => device.write(null), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
        ['write object', () => device.write({ length: 20 }), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
        ['end', () => device.end('text'), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
        ['end with encoding', () => device.end('text', 'utf8'), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
        ['unshift', () => device.unshift('text'), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
        ['unshift null', () => device.unshift(null), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
        ['unshift empty', () => device.unshift(Buffer.alloc(0)), 'ERR_OUT_OF_RANGE', /packet.length/],
        ['unshift large', () => device.unshift(Buffer.alloc(70_000)), 'ERR_OUT_OF_RANGE', /packet.length/],
        ['push', () => device.push('text'), 'ERR_INVALID_ARG_TYPE', /Uint8Array/],
      ];
      for (const [what, call, code, message] of wrong) assert.throws(call, { code, message }, what);
      assert.deepEqual([tun.destroyed, tun.writable, tun.readable], [false, true, true]);
      const first = packet(Buffer.from('first'));
      tun.unshift(first);
      const [read] = (await once(tun, 'data')) as [Buffer];
      assert.deepEqual(read, first);
      assert.equal(tun.counters.packetsWritten, 0);
      tun.end();
      await once(tun, 'finish');
    }));
});

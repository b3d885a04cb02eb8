import assert from 'node:assert/strict';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { Worker } from 'node:worker_threads';
import { openTun, PacketBatch, type TunDevice } from 'tuntap-native';
import { ipv4Packet, replyToEcho, udpDatagram } from 'tuntap-native/packet';
import { code, inNamespace, ipLink, needs, openFds, run } from '../support.ts';

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

  it('reads by one reader at a time', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { ...options, namespace });
      const iterator = tun.batches();
      assert.equal(
        code(() => tun.batches()),
        'ERR_TUNTAP_READING',
      );
      await iterator.return?.();
      await tun.batches().return?.();
    }));

  it('is destroyed by its signal', () =>
    inNamespace(async (namespace) => {
      const controller = new AbortController();
      const tun = openTun('tun0', { namespace, signal: controller.signal });
      const failed = once(tun, 'error');
      controller.abort();
      assert.equal(((await failed)[0] as Error).name, 'AbortError');
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
    }));

  it('ends with an error when the device is deleted, read as a stream', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { ...options, namespace });
      const failed = once(tun.resume(), 'error');
      await run(namespace, 'ip', 'link', 'delete', 'tun0');
      const [error] = await failed;
      assert.equal(error.code, 'EBADFD');
      assert.match(error.message, /the device was deleted/);
      if (!tun.closed) await once(tun, 'close');
      assert.equal(tun.fd, -1);
    }));

  it('rejects the loop over batches when the device is deleted', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { ...options, namespace });
      const reading = assert.rejects(answerByBatches(tun), { code: 'EBADFD' });
      await run(namespace, 'ip', 'link', 'delete', 'tun0');
      await reading;
      assert.equal(tun.fd, -1);
    }));

  it('survives a worker that is terminated in mid-read', async function () {
    this.timeout(60_000);
    await inNamespace(async (namespace) => {
      const source = `
        import { parentPort, workerData } from 'node:worker_threads';
        const { openTun } = await import('tuntap-native');
        const tun = openTun(workerData.name, { namespace: workerData.path, addresses: ['192.0.2.1/24'], up: true });
        tun.batches().next();
        parentPort.postMessage(tun.name);`;
      const before = openFds();
      for (let i = 0; i < 20; i++) {
        const worker = new Worker(
          new URL(`data:text/javascript,${encodeURIComponent(moduleSource(source))}`),
          {
            workerData: { name: 'tun0', path: `/proc/${process.pid}/fd/${namespace.fd}` },
          },
        );
        await once(worker, 'message');
        await worker.terminate();
        assert.equal(await ipLink(namespace, 'tun0'), undefined);
      }
      assert.equal(openFds(), before);
    });
  });

  it('leaves nothing after 500 cycles of open and close', async function () {
    this.timeout(60_000);
    await inNamespace(async (namespace) => {
      const before = openFds();
      for (let i = 0; i < 500; i++) {
        const tun = openTun('tun0', { namespace, up: true });
        if (i % 2) tun.resume();
        await tun.close();
      }
      assert.equal(openFds(), before);
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
    });
  });
});

/** A data: URL resolves no bare names, so the package's is made absolute. */
function moduleSource(source: string): string {
  return source.replace("'tuntap-native'", `'${import.meta.resolve('tuntap-native')}'`);
}

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { openTun } from 'tuntap-native';
import { inNamespace, ipLink, needs, nodeProgram, run } from '../support.ts';

const FLOWS = 256;

describe('a multi-queue device', () => {
  before(function () {
    needs(this, 'ip');
  });

  it('spreads flows over a queue here and one in a worker: each packet is read once', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', {
        namespace,
        multiQueue: true,
        addresses: ['192.0.2.1/24'],
        up: true,
      });
      const source = `
        import { parentPort, workerData } from 'node:worker_threads';
        const { openTun } = await import('${import.meta.resolve('tuntap-native')}');
        const queue = openTun('tun0', { namespace: workerData, multiQueue: true });
        parentPort.once('message', () => queue.close().then(() => parentPort.close()));
        parentPort.postMessage(queue.index);
        for await (const batch of queue.batches()) {
          for (const packet of batch) if (packet[0] === 0x45) parentPort.postMessage(packet.readUInt16BE(22));
        }`;
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
        workerData: `/proc/${process.pid}/fd/${namespace.fd}`,
      });
      await using _ = { [Symbol.asyncDispose]: async () => void (await worker.terminate()) };
      assert.deepEqual(await once(worker, 'message'), [tun.index]);
      const here: number[] = [];
      const there: number[] = [];
      const all = new Promise<void>((resolve) => {
        const check = () => here.length + there.length === FLOWS && resolve();
        tun.on('data', (packet: Buffer) => {
          if (packet[0] === 0x45) here.push(packet.readUInt16BE(22));
          check();
        });
        worker.on('message', (port: number) => {
          there.push(port);
          check();
        });
      });
      // One datagram to each of these ports.
      const sender = nodeProgram(`
        import { createSocket } from 'node:dgram';
        const socket = createSocket('udp4');
        let left = ${FLOWS};
        for (let i = 0; i < ${FLOWS}; i++) socket.send('x', 6000 + i, '192.0.2.2', () => --left || socket.close());`);
      const { status, stderr } = await run(namespace, ...sender);
      assert.equal(status, 0, stderr);
      await all;
      assert.ok(here.length > 0 && there.length > 0, `${here.length} here, ${there.length} there`);
      const ports = [...here, ...there].sort((a, b) => a - b);
      assert.deepEqual(
        ports,
        Array.from({ length: FLOWS }, (_, i) => 6000 + i),
      );
      const exited = once(worker, 'exit');
      worker.postMessage('close');
      assert.deepEqual(await exited, [0]);
      // The device stays while one queue is open.
      assert.ok(await ipLink(namespace, 'tun0'));
      assert.equal(tun.mtu, 1500);
      await tun.close();
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
    }));
});

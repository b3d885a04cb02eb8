import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { code, fdsAtMost, moduleArguments, needs, openFds } from '../support.ts';
import { numbered, onLoopback, receive } from './sockets.ts';

const TUNNEL = import.meta.resolve('tuntap-native/tunnel');

describe('UdpBatchSocket: lifecycle', () => {
  before(function () {
    needs(this, 'ip');
  });

  it('ends the loop when it is closed while reading, and refuses everything after', async () => {
    const socket = openUdp({ address: '127.0.0.1' });
    const fd = socket.fd;
    assert.ok(fd >= 0);
    const reading = (async () => {
      for await (const _ of socket.batches()) assert.fail('nothing was sent');
      return 'ended';
    })();
    const closed = once(socket, 'close');
    await socket.close();
    await socket.close();
    await closed;
    assert.equal(await reading, 'ended');
    assert.equal(socket.fd, -1);
    for (const act of [
      () => socket.batches(),
      () => socket.send(Buffer.from('x'), new Endpoint('127.0.0.1', 9)),
      () => socket.writeBatch(numbered([1]), new Endpoint('127.0.0.1', 9)),
      () => socket.local,
      () => socket.receiveBuffer,
    ]) {
      assert.equal(code(act), 'ERR_TUNTAP_CLOSED');
    }
  });

  it('can be closed by a reader in the middle of its batch, and by a listener', async () => {
    const socket = openUdp({ address: '127.0.0.1' });
    socket.writeBatch(numbered([1, 2, 3]), socket.local);
    for await (const batch of socket.batches()) {
      await socket.close();
      assert.equal(batch.length, 3);
      assert.equal(batch.at(2).length, 3);
    }
    const other = openUdp({ address: '127.0.0.1' });
    other.on('icmpError', () => void other.close());
    const reading = other.batches().next();
    other.send(Buffer.from('x'), new Endpoint('127.0.0.1', 9));
    assert.equal((await reading).done, true);
  });

  it('has one reader at a time, and another after it left', async () => {
    await using socket = openUdp({ address: '127.0.0.1' });
    const first = socket.batches();
    assert.equal(
      code(() => socket.batches()),
      'ERR_TUNTAP_READING',
    );
    await first.return?.();
    socket.send(Buffer.from('kept'), socket.local);
    assert.equal(String((await receive(socket, 1))[0].bytes), 'kept');
    socket.send(Buffer.from('more'), socket.local);
    assert.equal(String((await receive(socket, 1))[0].bytes), 'more');
  });

  it('does not read behind the back of who holds a batch, when an error wakes it', () =>
    onLoopback(async (namespace) => {
      await using socket = openUdp({ namespace });
      await using peer = openUdp({ namespace });
      const to = new Endpoint('127.0.0.1', socket.local.port);
      peer.send(Buffer.from('first'), to);
      const seen: string[] = [];
      for await (const batch of socket.batches()) {
        seen.push(String(batch.at(0)));
        if (seen.length === 2) break;
        peer.send(Buffer.from('second'), to);
        socket.send(Buffer.from('x'), new Endpoint('127.0.0.1', 9));
        await new Promise((resolve) => setImmediate(resolve));
        assert.equal(batch.length, 1);
      }
      assert.deepEqual(seen, ['first', 'second']);
    }));

  it('rejects the loop with an AbortError when its signal aborts', async () => {
    const controller = new AbortController();
    const socket = openUdp({ address: '127.0.0.1', signal: controller.signal });
    const reading = socket.batches().next();
    const cause = new Error('enough');
    controller.abort(cause);
    await assert.rejects(reading, { name: 'AbortError', code: 'ABORT_ERR', cause });
    assert.equal(socket.fd, -1);
    const { signal } = controller;
    assert.throws(() => openUdp({ signal }), { name: 'AbortError', code: 'ABORT_ERR', cause });
  });

  it('lets go of its signal where it can not be opened', async () => {
    const { signal } = new AbortController();
    const before = openFds();
    // The broadcast address: SO_BROADCAST is not set.
    const remote = new Endpoint('255.255.255.255', 9);
    assert.throws(() => openUdp({ remote, signal }), { code: /^(EACCES|ENETUNREACH)$/, syscall: 'connect' });
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    await fdsAtMost(before);
  });

  it('lets the process end when it is unreferenced', () => {
    const program = `import { openUdp } from ${JSON.stringify(TUNNEL)};
      const socket = openUdp({ address: '127.0.0.1' }).unref();
      socket.batches().next();
      console.log('done');`;
    const output = execFileSync(process.execPath, moduleArguments(program), {
      timeout: 10_000,
    });
    assert.equal(String(output), 'done\n');
  });

  it('leaves nothing open after 300 sockets, read, written, aborted or left alone', async () => {
    const cycle = async (i: number): Promise<void> => {
      const controller = new AbortController();
      const socket = openUdp({ address: '127.0.0.1', signal: controller.signal });
      if (i % 2) socket.send(Buffer.from('x'), socket.local);
      const reading = i % 3 ? socket.batches().next() : undefined;
      if (i % 5) await socket.close();
      else controller.abort();
      await reading?.catch(() => {});
    };
    await cycle(0);
    const before = openFds();
    for (let i = 0; i < 300; i++) await cycle(i);
    await fdsAtMost(before);
  });

  it('survives workers that are terminated in mid-read', async () => {
    const program = `const { parentPort } = require('node:worker_threads');
      import(${JSON.stringify(TUNNEL)}).then(async ({ openUdp }) => {
        const socket = openUdp({ address: '127.0.0.1' });
        socket.send(Buffer.from('x'), socket.local);
        let turns = 0;
        for await (const batch of socket.batches()) {
          socket.writeBatch(batch, socket.received);
          if (turns++ === 3) parentPort.postMessage('reading');
        }
      });`;
    const cycle = async (): Promise<void> => {
      const worker = new Worker(program, { eval: true });
      await once(worker, 'message');
      await worker.terminate();
    };
    await cycle();
    const before = openFds();
    for (let i = 0; i < 8; i++) await cycle();
    await fdsAtMost(before);
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { NetworkNamespace, openMacvtap, openTap, openTun } from 'tuntap-native';
import {
  code,
  fdNumbers,
  fdsAtMost,
  inNamespace,
  ipLink,
  ipLinks,
  itAsRoot,
  linkGone,
  needs,
  nodeProgram,
  openFds,
  run,
} from '../support.ts';
import { numberedPacket, numbersUntil, slowWire, UdpPeer, write } from './traffic.ts';

const ADDRESSES = ['192.0.2.1/24'];

describe('a device and the life of its process', () => {
  before(function () {
    needs(this, 'ip');
  });

  const cases: [string, string, 'ends' | 'goes on'][] = [
    ['a device that nobody reads', '', 'ends'],
    ['a device that is read', 'tun.resume();', 'goes on'],
    ['a device that is read in batches', 'for await (const batch of tun.batches());', 'goes on'],
    [
      'a device whose loop over batches was left',
      'const loop = tun.batches(); loop.next(); await loop.return();',
      'ends',
    ],
    ['an unref()ed device that is read', 'tun.resume(); tun.unref();', 'ends'],
    ['a device that was unref()ed before it is read', 'tun.unref(); tun.resume();', 'ends'],
    ['an unref()ed device that is read in batches', 'tun.batches().next(); tun.unref();', 'ends'],
    ['a device after unref() and ref()', 'tun.unref(); tun.ref(); tun.resume();', 'goes on'],
    ['a closed device', 'tun.resume(); await tun.close();', 'ends'],
  ];
  for (const [what, statements, expected] of cases) {
    it(`${what}: the process ${expected}`, () =>
      inNamespace(async (namespace) => {
        // That it does not end is no event, so this waits; it does not hold the process.
        const wait = "setTimeout(() => { console.log('goes on'); process.exit(); }, 200).unref();";
        const [command, ...args] = nodeProgram(`
          const tun = openTun('tun0', { addresses: ${JSON.stringify(ADDRESSES)}, up: true });
          (async () => { ${statements} })();
          // Once: Node emits it again where something came up meanwhile.
          process.once('beforeExit', () => console.log('ends'));
          ${expected === 'goes on' ? wait : ''}`);
        const { status, stdout, stderr } = await run(namespace, command, ...args);
        assert.equal(stdout.trim(), expected, stderr);
        assert.equal(status, 0);
        assert.equal(await ipLink(namespace, 'tun0'), undefined);
      }));
  }
});

describe('closing a device', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  it('end() ends writing only', () =>
    inNamespace(async (namespace) => {
      await using sender = openTun('tun0', { namespace, up: true });
      await using tun = openTun('tun1', { namespace, up: true });
      await slowWire(namespace, sender, tun);
      const finished = once(tun, 'finish');
      tun.end(numberedPacket(0));
      await finished;
      assert.equal(tun.counters.packetsWritten, 1);
      const failed = once(tun, 'error');
      const arrived = numbersUntil(tun, 7);
      sender.write(numberedPacket(7));
      assert.deepEqual(await arrived, [7]);
      assert.equal(tun.destroyed, false);
      assert.equal(await write(tun, numberedPacket(1)), 'ERR_STREAM_WRITE_AFTER_END');
      assert.equal((await failed)[0].code, 'ERR_STREAM_WRITE_AFTER_END');
    }));

  it('destroy(error) gives the error to the stream and to the loop over batches', () =>
    inNamespace(async (namespace) => {
      const reason = new Error('enough');
      const streamed = openTun('tun0', { namespace }).resume();
      const failed = once(streamed, 'error');
      streamed.destroy(reason);
      assert.deepEqual(await failed, [reason]);
      const looped = openTun('tun1', { namespace });
      const turn = looped.batches().next();
      looped.destroy(reason);
      await assert.rejects(turn, reason);
      assert.deepEqual([streamed.fd, looped.fd], [-1, -1]);
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
      assert.equal(await ipLink(namespace, 'tun1'), undefined);
    }));

  it('an aborted signal destroys the device with its reason; after close it does nothing', () =>
    inNamespace(async (namespace) => {
      const controller = new AbortController();
      const tun = openTun('tun0', { namespace, signal: controller.signal });
      const failed = once(tun, 'error');
      const turn = assert.rejects(tun.batches().next(), { name: 'AbortError' });
      const closed = openTun('tun1', { namespace, signal: controller.signal });
      closed.on('error', assert.fail);
      await closed.close();
      controller.abort(new Error('no more'));
      const [error] = await failed;
      assert.equal(error.name, 'AbortError');
      assert.equal(error.cause.message, 'no more');
      await turn;
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
    }));

  it('a signal that aborted before gives an AbortError with its reason as cause, and opens nothing', () =>
    inNamespace(async (namespace) => {
      const cause = new Error('too late');
      const signal = AbortSignal.abort(cause);
      await using parent = openTap('tap0', { namespace });
      const fds = openFds();
      for (const open of [
        () => openTun('tun0', { namespace, signal }),
        () => openTap('tap1', { namespace, signal }),
        () => openMacvtap('mv0', { namespace, signal, parent: parent.name }),
      ]) {
        assert.throws(open, { name: 'AbortError', code: 'ABORT_ERR', cause });
      }
      await fdsAtMost(fds);
      assert.equal((await ipLinks(namespace)).length, 2);
    }));

  it('`await using` closes it, also when its block throws', () =>
    inNamespace(async (namespace) => {
      const fds = openFds();
      const block = async () => {
        await using tun = openTun('tun0', { namespace, up: true });
        tun.resume();
        throw new Error(tun.name);
      };
      await assert.rejects(block, { message: 'tun0' });
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
      await fdsAtMost(fds);
    }));

  it('close() twice at once resolves twice; the stream loop that still runs rejects', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { namespace });
      const loop = async () => {
        for await (const packet of tun) assert.ok(packet);
      };
      const looped = assert.rejects(loop, { code: 'ERR_STREAM_PREMATURE_CLOSE' });
      let closes = 0;
      tun.on('close', () => closes++);
      await Promise.all([tun.close(), tun.close()]);
      tun.destroy();
      await looped;
      assert.equal(closes, 1);
      for (const use of [
        () => tun.batches(),
        () => tun.mtu,
        () => tun.queue(),
        () => tun.capture('/dev/null'),
      ]) {
        assert.equal(code(use), 'ERR_TUNTAP_CLOSED');
      }
    }));

  it('may happen while its packets are given out, by stream and by batches', () =>
    inNamespace(async (namespace) => {
      await using peer = await UdpPeer.start(namespace);
      const datagrams = ['a', 'b', 'c'].map((text) => Buffer.from(text));
      for (const way of ['stream', 'batches']) {
        const tun = openTun('tun0', { namespace, addresses: ADDRESSES, up: true });
        await peer.bind('192.0.2.1');
        await peer.send('192.0.2.1', 9, '192.0.2.2', datagrams);
        let packets = 0;
        if (way === 'stream') {
          const closed = once(tun, 'close');
          tun.on('data', () => {
            packets++;
            tun.destroy();
          });
          await closed;
        } else {
          for await (const batch of tun.batches()) {
            packets++;
            await tun.close();
            assert.ok(batch.at(0).length > 0);
          }
        }
        assert.equal(packets, 1, way);
      }
    }));
});

describe('what a device leaves', () => {
  before(function () {
    needs(this, 'ip');
  });

  const O_CLOEXEC = 0o2000000;

  itAsRoot('to programs that are started: nothing, since every fd is O_CLOEXEC', async () => {
    const before = new Set(fdNumbers());
    await using namespace = await NetworkNamespace.create();
    await using tun = openTun('tun0', { namespace, multiQueue: true });
    await using queue = tun.queue();
    await using tap = openTap('tap0', { namespace, up: true });
    await using macvtap = openMacvtap('mv0', { namespace, parent: 'tap0' });
    const added = fdNumbers().filter((fd) => !before.has(fd));
    const known = [namespace, tun, queue, tap, macvtap].map(({ fd }) => fd);
    for (const fd of new Set([...known, ...added])) {
      const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
      assert.ok(Number.parseInt(flags ?? '', 8) & O_CLOEXEC, `fd ${fd} has flags ${flags}`);
    }
  });

  it('after 200 cycles of open and close: nothing', () =>
    inNamespace(async (namespace) => {
      const before = openFds();
      for (let i = 0; i < 200; i++) {
        const tun = openTun('tun0', { namespace, up: true });
        if (i % 3 === 1) tun.resume();
        if (i % 3 === 2) tun.batches().next();
        await tun.close();
      }
      await fdsAtMost(before);
      assert.equal(await ipLink(namespace, 'tun0'), undefined);
    }));

  it('after 20 workers that were terminated in mid-read: nothing', () =>
    inNamespace(async (namespace) => {
      const source = `
        import { parentPort, workerData } from 'node:worker_threads';
        const { openTun } = await import('${import.meta.resolve('tuntap-native')}');
        const tun = openTun('tun0', { namespace: workerData, addresses: ['192.0.2.1/24'], up: true });
        tun.batches().next();
        parentPort.postMessage(tun.name);`;
      let before = 0;
      for (let i = 0; i < 20; i++) {
        const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
          workerData: `/proc/${process.pid}/fd/${namespace.fd}`,
        });
        assert.deepEqual(await once(worker, 'message'), ['tun0']);
        await worker.terminate();
        await linkGone(namespace, 'tun0');
        if (i === 0) before = openFds(); // a runtime keeps fds of its first worker
      }
      await fdsAtMost(before);
    }));
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { NetworkNamespace, openTun, PacketBatch, type TunDevice } from 'tuntap-native';
import { code, inNamespace, ipLink, needs } from '../support.ts';
import { numberedPacket, numbersUntil, shell, slowWire, UdpPeer, write } from './traffic.ts';

const GONE = /the device was deleted, or its network namespace is gone/;

async function readInBatches(tun: TunDevice): Promise<void> {
  for await (const batch of tun.batches()) assert.ok(batch.length > 0);
}

describe('a device that is deleted by somebody else', () => {
  before(function () {
    needs(this, 'ip');
  });

  /** Opens tun0, lets `use` begin with it, and deletes it. */
  async function deleting(use: (tun: TunDevice) => Promise<unknown> | undefined): Promise<void> {
    await inNamespace(async (namespace) => {
      const tun = openTun('tun0', { namespace, up: true });
      const outcome = use(tun);
      await shell(namespace, 'ip link delete tun0');
      await outcome;
      // events.once() would reject with the error that comes before 'close'.
      if (!tun.closed) await new Promise((resolve) => tun.once('close', resolve));
      assert.equal(tun.fd, -1);
      // Its name is free again.
      await openTun('tun0', { namespace, exclusive: true }).close();
    });
  }

  it('ends the stream with EBADFD', () =>
    deleting(async (tun) => {
      const [error] = await once(tun.resume(), 'error');
      assert.deepEqual(
        [error.code, error.errno, error.syscall, error.device],
        ['EBADFD', -77, 'read', 'tun0'],
      );
      assert.match(error.message, GONE);
    }));

  it('rejects the loop over batches with EBADFD', () =>
    deleting((tun) =>
      assert.rejects(readInBatches(tun), { code: 'EBADFD', syscall: 'read', message: GONE }),
    ));

  it('gives EBADFD to the next write and the stream', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { namespace, up: true });
      await shell(namespace, 'ip link delete tun0');
      const failed = once(tun, 'error');
      assert.equal(await write(tun, numberedPacket(1)), 'EBADFD');
      const [error] = await failed;
      assert.deepEqual([error.code, error.syscall], ['EBADFD', 'write']);
      assert.match(error.message, GONE);
      assert.equal(tun.fd, -1);
      assert.deepEqual(tun.counters.refused, {});
    }));

  it('makes writeBatch throw EBADFD, and later ERR_TUNTAP_CLOSED', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { namespace, up: true });
      const failed = once(tun, 'error');
      const batch = new PacketBatch();
      batch.push(numberedPacket(1));
      batch.push(numberedPacket(2));
      assert.equal(tun.writeBatch(batch), 2);
      await shell(namespace, 'ip link delete tun0');
      assert.throws(() => tun.writeBatch(batch), { code: 'EBADFD', syscall: 'write', message: GONE });
      assert.deepEqual([batch.status(0), batch.status(1), batch.firstUnsent], [-77, -77, 2]);
      assert.equal((await failed)[0].code, 'EBADFD');
      assert.equal(
        code(() => tun.writeBatch(batch)),
        'ERR_TUNTAP_CLOSED',
      );
      assert.equal(tun.counters.packetsWritten, 2);
    }));

  it('makes the rest of its methods throw a system error', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace });
      await shell(namespace, 'ip link delete tun0');
      assert.equal(tun.name, 'tun0');
      for (const use of [
        () => tun.mtu,
        () => tun.setUp(),
        () => tun.setPersist(true),
        () => tun.setCarrier(true),
      ]) {
        assert.equal(code(use), 'EBADFD');
      }
    }));
});

describe("a device's namespace", () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  it('stays while the device is open, though its NetworkNamespace is closed', async () => {
    const namespace = await NetworkNamespace.create();
    await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
    await using far = openTun('tun1', { namespace, up: true });
    await slowWire(namespace, tun, far);
    await namespace.close();
    const arrived = numbersUntil(far, 7);
    assert.equal(await write(tun, numberedPacket(7)), undefined);
    assert.deepEqual(await arrived, [7]);
    tun.setMtu(1300);
    assert.equal(tun.mtu, 1300);
  });

  it('is the one that the device was moved to; when that is gone, the device is', () =>
    inNamespace(async (birthplace) => {
      const namespace = await NetworkNamespace.create();
      await using tun = openTun('tun0', { namespace: birthplace });
      const failed = once(tun.resume(), 'error');
      await shell(birthplace, 'ip link set tun0 netns $OTHER', namespace);
      tun.setMtu(1300);
      assert.equal((await ipLink(namespace, 'tun0'))?.mtu, 1300);
      await namespace.close();
      const [error] = await failed;
      assert.equal(error.code, 'EBADFD');
      assert.match(error.message, GONE);
    }));
});

describe('a link that goes down and up', () => {
  before(function () {
    needs(this, 'ip');
  });

  for (const way of ['stream', 'batches']) {
    it(`refuses writes with EIO meanwhile, and its reader by ${way} goes on`, () =>
      inNamespace(async (namespace) => {
        await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
        await using peer = await UdpPeer.start(namespace);
        const arrived: string[] = [];
        let wake = () => {};
        const take = (packet: Buffer) => {
          // IPv4, UDP: what else there is the kernel sends by itself.
          if (packet[0] === 0x45 && packet[9] === 17) arrived.push(packet.subarray(28).toString());
          wake();
        };
        const until = (text: string) =>
          new Promise<void>((resolve) => {
            wake = () => arrived.includes(text) && resolve();
            wake();
          });
        if (way === 'stream') tun.on('data', take);
        else
          (async () => {
            for await (const batch of tun.batches()) for (const packet of batch) take(packet);
          })();
        await peer.bind('192.0.2.1');
        const send = (text: string) => peer.send('192.0.2.1', 9, '192.0.2.2', [Buffer.from(text)]);
        await send('before');
        await until('before');
        await shell(namespace, 'ip link set tun0 down');
        assert.equal(await write(tun, numberedPacket(1)), 'EIO');
        const batch = new PacketBatch();
        batch.push(numberedPacket(2));
        assert.equal(tun.writeBatch(batch), 0);
        assert.equal(batch.status(0), -5);
        assert.deepEqual(tun.counters.refused, { EIO: 2 });
        await shell(namespace, 'ip link set tun0 up');
        assert.equal(await write(tun, numberedPacket(3)), undefined);
        await send('after');
        await until('after');
        assert.deepEqual(arrived, ['before', 'after']);
        assert.equal(tun.destroyed, false);
      }));
  }
});

import assert from 'node:assert/strict';
import { setImmediate as nextRound } from 'node:timers/promises';
import { openTun, type TunTapDevice } from 'tuntap-native';
import { fdNumbers, inNamespace, needs } from '../support.ts';
import {
  HEADER,
  hex,
  lastPacket,
  ordinaryPacket,
  packetsToLast,
  pattern,
  silence,
  unfinishedPacket,
  wire,
} from './super-packets.ts';

describe('several super-packets', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  for (const [what, segments, size, lengths] of [
    ['entries', 60, 100, [240, 240, 240, 240, 240]],
    ['bytes', 7, 9000, [63, 63, 14]],
  ] as const) {
    it(`are not cut where a batch has no ${what} for all of them`, () =>
      inNamespace(async (namespace) => {
        await silence(namespace);
        await using sender = openTun('tun0', { namespace, offload: 'raw', up: true, mtu: 9100 });
        await using device = openTun('tun1', { namespace, up: true, mtu: 9100 });
        await wire(namespace, sender, device);
        const payload = pattern(segments * size);
        for (let i = 0; i < 20; i++) sender.write(unfinishedPacket({ payload, gsoSize: size }));
        const found: number[] = [];
        for await (const batch of device.batches()) {
          found.push(batch.length);
          if (found.reduce((sum, length) => sum + length) >= 20 * segments) break;
        }
        assert.deepEqual(found, lengths);
      }));
  }
});

describe('a super-packet of more packets than a batch holds', () => {
  before(function () {
    needs(this, 'ip', 'tc');
  });

  const payload = pattern(1000 * 48);
  const expected = Array.from({ length: 1000 }, (_, i) =>
    ordinaryPacket({
      payload: payload.subarray(48 * i, 48 * (i + 1)),
      tcp: { sequenceNumber: 1000 + 48 * i },
      identification: i,
    }),
  );

  /** Runs `body` with a device for which such a packet waits. */
  function withOne(
    body: (device: TunTapDevice, sender: TunTapDevice) => Promise<void>,
    options: { headroom?: number; tailroom?: number } = {},
  ): Promise<void> {
    return inNamespace(async (namespace) => {
      await silence(namespace);
      await using sender = openTun('tun0', { namespace, offload: 'raw', up: true });
      await using device = openTun('tun1', { namespace, up: true, ...options });
      await wire(namespace, sender, device);
      sender.write(unfinishedPacket({ payload, gsoSize: 48 }));
      await body(device, sender);
    });
  }

  it('is carried on in the next ones', () =>
    withOne(async (device, sender) => {
      sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket('tun')]));
      const lengths: number[] = [];
      const packets: Buffer[] = [];
      for await (const batch of device.batches()) {
        lengths.push(batch.length);
        packets.push(...[...batch].map((packet) => Buffer.from(packet)));
        if (packets.length > 1000) break;
      }
      assert.deepEqual(hex(packets.slice(0, 1000)), hex(expected));
      assert.deepEqual(lengths.slice(0, 3), [256, 256, 256]);
    }));

  it('is carried on by the stream where a loop over batches was left', () =>
    withOne(async (device, sender) => {
      sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket('tun')]));
      const packets: Buffer[] = [];
      for await (const batch of device.batches()) {
        packets.push(...[...batch].map((packet) => Buffer.from(packet)));
        break;
      }
      packets.push(...(await packetsToLast(device)));
      assert.deepEqual(hex(packets), hex(expected));
    }));

  for (const [pauses, first] of [
    ['every turn', 0],
    ['the last turn', 3],
  ] as const) {
    it(`leaves the fd alone while the reader is busy in ${pauses}`, () =>
      withOne(async (device, sender) => {
        sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket('tun')]));
        const lengths: number[] = [];
        for await (const batch of device.batches()) {
          const { length } = batch;
          if (lengths.push(length) > first) for (let i = 0; i < 3; i++) await nextRound();
          assert.equal(batch.length, length);
          if (lengths.length === 5) break;
        }
        assert.deepEqual(lengths, [256, 256, 256, 232, 1]);
      }));
  }

  for (const way of ['stream', 'batches']) {
    it(`does not hinder a close in its midst, read by ${way}`, () =>
      inNamespace(async (namespace) => {
        const fds = fdNumbers();
        await silence(namespace);
        await using sender = openTun('tun0', { namespace, offload: 'raw', up: true });
        const device = openTun('tun1', { namespace, up: true });
        await wire(namespace, sender, device);
        sender.write(unfinishedPacket({ payload, gsoSize: 48 }));
        if (way === 'stream') {
          await new Promise((resolve) => device.once('data', resolve));
          await device.close();
        } else {
          const iterator = device.batches();
          assert.equal((await iterator.next()).value.length, 256);
          const waiting = iterator.next();
          await device.close();
          assert.equal((await waiting).done, true);
          assert.equal((await iterator.next()).done, true);
        }
        assert.equal(device.fd, -1);
        await sender.close();
        assert.deepEqual(fdNumbers(), fds);
      }));
  }

  it('passes through a forwarder that fills the room around each packet with 0xFF', () =>
    withOne(
      async (device, sender) =>
        inNamespace(async (namespace) => {
          await silence(namespace);
          const options = { namespace, up: true, txQueueLength: 5000 };
          await using out = openTun('tun0', options);
          await using oracle = openTun('tun1', { ...options, offload: false });
          await wire(namespace, out, oracle);
          const read = packetsToLast(oracle);
          sender.write(unfinishedPacket({ udp: true, payload, gsoSize: 1000 }));
          sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket('tun')]));
          const forwarded: Buffer[] = [];
          for await (const batch of device.batches()) {
            for (let i = 0; i < batch.length; i++) {
              forwarded.push(Buffer.from(batch.at(i)));
              batch.resize(i, 64, 16);
              const around = batch.at(i);
              around.fill(0xff, 0, 64);
              around.fill(0xff, around.length - 16);
              batch.resize(i, -64, -16);
            }
            assert.equal(out.writeBatch(batch), batch.length);
            if (forwarded.length === 1000 + 48 + 1) break;
          }
          assert.deepEqual(hex(forwarded.slice(0, 1000)), hex(expected));
          assert.deepEqual(hex(await read), hex(forwarded.slice(0, -1)));
        }),
      { headroom: 64, tailroom: 16 },
    ));
});

import assert from 'node:assert/strict';
import { openTap, openTun, PacketBatch, type PacketDevice } from 'tuntap-native';
import { replyToArp, replyToEcho } from 'tuntap-native/packet';
import { seededRandom } from '../packet/random.ts';
import { inNamespace, needs, run } from '../support.ts';
import { write } from './traffic.ts';

const COUNT = 2000;
const MAC = '02:00:00:00:00:02';
const address = '192.0.2.2';

/** Random packets, many of them of the smallest sizes. */
function garbage(seed: number): Buffer[] {
  const random = seededRandom(seed);
  return Array.from({ length: COUNT }, () => {
    const bytes = Buffer.alloc(1 + random(random(2) ? 20 : 2000));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random(256);
    return bytes;
  });
}

/** Answers ping and ARP for 192.0.2.2. */
function answer(device: PacketDevice): void {
  device.on('data', (bytes: Buffer) => {
    if (device.kind === 'tun') {
      const reply = replyToEcho(bytes);
      if (reply) device.write(reply);
      return;
    }
    const echo = replyToEcho(bytes.subarray(14));
    const header = [bytes.subarray(6, 12), bytes.subarray(0, 6), bytes.subarray(12, 14)];
    const reply = echo ? Buffer.concat([...header, echo]) : replyToArp(bytes, { mac: MAC, address });
    if (reply) device.write(reply);
  });
}

const kinds = [
  // What drivers/net/tun.c refuses: a TUN packet whose version is neither 4 nor 6, a TAP frame without a whole header.
  { kind: 'tun', open: openTun, seed: 1, isRefused: (bytes: Buffer) => ![4, 6].includes(bytes[0] >> 4) },
  { kind: 'tap', open: openTap, seed: 2, isRefused: (bytes: Buffer) => bytes.length < 14 },
] as const;

for (const { kind, open, seed, isRefused } of kinds) {
  describe(`garbage written to a ${kind} device`, () => {
    before(function () {
      needs(this, 'ip', 'ping');
    });

    const packets = garbage(seed);
    const EINVAL = packets.filter(isRefused).length;

    it('is refused by its own write or taken, counted, and the stream goes on', () =>
      inNamespace(async (namespace) => {
        await using device = open('dev0', { namespace, addresses: ['192.0.2.1/24'], up: true });
        answer(device);
        const codes = await Promise.all(packets.map((bytes) => write(device, bytes)));
        for (const [i, code] of codes.entries()) {
          assert.equal(code, isRefused(packets[i]) ? 'EINVAL' : undefined, packets[i].toString('hex'));
        }
        assert.equal(await write(device, Buffer.alloc(0)), 'EINVAL');
        assert.equal(await write(device, Buffer.alloc(65_558, 0x45)), 'EMSGSIZE');
        assert.equal(await write(device, Buffer.alloc(2 ** 20, 0x45)), 'EMSGSIZE');
        assert.deepEqual(device.counters.refused, { EINVAL: EINVAL + 1, EMSGSIZE: 2 });
        assert.equal((await run(namespace, 'ping', '-c1', '-W5', address)).status, 0);
      }));

    it('is refused in a batch, packet by packet, and the others are taken', () =>
      inNamespace(async (namespace) => {
        await using device = open('dev0', { namespace, addresses: ['192.0.2.1/24'], up: true });
        answer(device);
        const batch = new PacketBatch({ capacity: COUNT, size: 2 ** 22 });
        for (const bytes of packets) assert.ok(batch.push(bytes));
        assert.equal(device.writeBatch(batch), COUNT - EINVAL);
        for (const [i, bytes] of packets.entries()) {
          assert.equal(batch.status(i), isRefused(bytes) ? -22 : 0, bytes.toString('hex'));
        }
        assert.deepEqual(device.counters.refused, { EINVAL });
        assert.equal((await run(namespace, 'ping', '-c1', '-W5', address)).status, 0);
      }));
  });
}

import assert from 'node:assert/strict';
import { type OffloadOption, type Offloads, openTap, openTun, type TunTapDevice } from 'tuntap-native';
import { inNamespace, needs, nodeProgram, run } from '../support.ts';
import { features } from './offload-features.ts';
import { otherProgram } from './other-program.ts';
import { HEADER, pattern, silence, unfinishedPacket, wire } from './super-packets.ts';

/** What a device says of itself, without the mode. */
function told({ offloads: { mode: _, ...rest } }: TunTapDevice): Partial<Offloads> {
  return rest;
}

describe('the offload option', () => {
  before(function () {
    needs(this, 'ip', 'ethtool');
  });

  const table: [OffloadOption | undefined, Offloads['mode'], tcp: boolean, udp: boolean][] = [
    [undefined, 'split', true, true],
    [true, 'split', true, true],
    ['raw', 'raw', true, true],
    [false, 'off', false, false],
    [{}, 'split', true, true],
    [{ udp: false }, 'split', true, false],
    [{ tcp: false }, 'split', false, true],
    [{ tcp: false, udp: false }, 'off', false, false],
  ];
  for (const [kind, open] of [
    ['tun', openTun],
    ['tap', openTap],
  ] as const) {
    it(`gives a ${kind} device the offloads that ethtool -k shows`, () =>
      inNamespace(async (namespace) => {
        for (const [offload, mode, tcp, udp] of table) {
          await using device = open('dev0', { namespace, offload });
          const label = JSON.stringify(offload);
          assert.equal(device.offloads.mode, mode, label);
          assert.deepEqual(told(device), await features(namespace, 'dev0'), label);
          assert.deepEqual([device.offloads.tso4, device.offloads.uso4], [tcp, udp], label);
        }
      }));

    it(`leaves nothing on at a persistent ${kind} device that is opened again without`, () =>
      inNamespace(async (namespace) => {
        // Another program asked for checksums and TSO.
        await run(namespace, 'ip', 'tuntap', 'add', 'dev0', 'mode', kind);
        await run(namespace, otherProgram(), 'dev0', kind, 'vnet=12', 'offload=7', '--', 'true');
        assert.equal((await features(namespace, 'dev0')).tso4, true);
        await using device = open('dev0', { namespace, offload: false, persist: false });
        assert.equal(device.offloads.mode, 'off');
        assert.deepEqual(await features(namespace, 'dev0'), told(device));
      }));
  }

  it('of one more queue can be off: no queue gets super-packets then, and each reads its packets', () =>
    inNamespace(async (namespace) => {
      await silence(namespace);
      await using sender = openTun('tun0', { namespace, offload: 'raw', up: true });
      await using device = openTun('tun1', { namespace, multiQueue: true, up: true });
      await using queue = openTun('tun1', { namespace, multiQueue: true, offload: false });
      assert.equal((await features(namespace, 'tun1')).tso4, false);
      assert.deepEqual(told(queue), await features(namespace, 'tun1'));
      await wire(namespace, sender, device);
      const packets: Buffer[] = [];
      const all = new Promise<void>((resolve) => {
        for (const reader of [device, queue]) {
          reader.on('data', (packet: Buffer) => packets.push(packet) === 4 * 10 && resolve());
        }
      });
      for (let i = 0; i < 10; i++) {
        const payload = pattern(4000, i);
        sender.write(unfinishedPacket({ payload, gsoSize: 1000, sourcePort: 6000 + i }));
      }
      await all;
      for (const packet of packets) assert.equal(packet.length, 1040);
    }));
});

describe('an fd that is adopted', () => {
  before(function () {
    needs(this, 'ip', 'ping', 'ethtool');
  });

  for (const [opened, adopted, expected] of [
    ['raw', true, 'split'],
    ['raw', 'raw', 'raw'],
    ['raw', false, 'split'],
    [true, true, 'split'],
    [false, true, 'off'],
    [false, false, 'off'],
    [false, 'raw', 'ERR_INVALID_ARG_VALUE'],
  ] as const) {
    it(`opened with offload: ${opened}, adopted with ${adopted}: ${expected}`, () =>
      inNamespace(async (namespace) => {
        const parent = openTun('tun0', { namespace, offload: opened, addresses: ['192.0.2.1/24'], up: true });
        // Answers ping, whatever stands before each packet.
        const [program, ...args] = nodeProgram(`
          let tun;
          try {
            tun = openTun(undefined, { fd: 3, offload: ${JSON.stringify(adopted)} });
          } catch ({ code }) {
            await new Promise((sent) => process.send({ code }, sent));
            process.exit();
          }
          const prefix = tun.offloads.mode === 'raw' ? ${HEADER} : 0;
          tun.on('data', (packet) => {
            const reply = replyToEcho(packet.subarray(prefix));
            if (reply) tun.write(Buffer.concat([Buffer.alloc(prefix), reply]));
          });
          process.send({ offloads: tun.offloads });`);
        const child = namespace.spawn(program, args, {
          stdio: ['ignore', 'inherit', 'inherit', parent.fd, 'ipc'],
        });
        try {
          const message = await new Promise<{ offloads: Offloads; code?: string }>((resolve, reject) => {
            child.once('message', (value) => resolve(value as { offloads: Offloads }));
            child.once('disconnect', () => reject(new Error('ended without a message')));
          });
          await parent.close();
          if (message.code !== undefined) {
            assert.equal(message.code, expected);
            return;
          }
          const { mode, ...rest } = message.offloads;
          assert.equal(mode, expected);
          assert.deepEqual(rest, await features(namespace, 'tun0'));
          assert.equal(rest.tso4, adopted !== false && opened !== false);
          assert.equal((await run(namespace, 'ping', '-c1', '-W5', '192.0.2.2')).status, 0);
        } finally {
          child.kill('SIGKILL');
        }
      }));
  }
});

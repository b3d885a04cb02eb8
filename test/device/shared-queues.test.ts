import assert from 'node:assert/strict';
import { openTap, openTun, type TapOptions, type TunTapDevice } from 'tuntap-native';
import { code, inNamespace, needs } from '../support.ts';
import { features } from './offload-features.ts';
import { otherProgram, readWithOther } from './other-program.ts';
import { ordinaryPacket, pattern, silence, unfinishedPacket, wire } from './super-packets.ts';
import { packetsUntil, shell } from './traffic.ts';

const TUN_F_CSUM = 1;
const TUN_F_TSO4 = 2;
const OFF = { checksum: false, tso4: false, tso6: false, tsoEcn: false, uso4: false, uso6: false };
const FLOWS = 64;

describe('a queue of a device that another program has open', () => {
  before(function () {
    needs(this, 'ip', 'tc', 'ethtool', 'cc');
  });

  for (const [kind, open] of [
    ['tun', openTun as (name: string, options: TapOptions) => TunTapDevice],
    ['tap', openTap as (name: string, options: TapOptions) => TunTapDevice],
  ] as const) {
    for (const size of [10, 12, 20, 24, 64]) {
      it(`of a ${kind} device keeps its header of ${size} bytes, and both read and write right packets`, () =>
        inNamespace(async (namespace) => {
          await silence(namespace);
          await using other = await readWithOther(namespace, 'dev0', kind, 'multi', `vnet=${size}`);
          await using ours = open('dev0', { namespace, multiQueue: true, up: true });
          assert.equal(ours.offloads.mode, 'split');
          assert.equal(await other.headerSize(), size);

          await using far = open('far', { namespace, offload: 'raw', up: true });
          await wire(namespace, far, ours);
          const packets: Buffer[] = [];
          const read = new Promise<void>((resolve) => {
            const check = () => packets.length + other.packets.length === FLOWS && resolve();
            ours.on('data', (packet: Buffer) => packets.push(packet) && check());
            other.lines.on('line', check);
          });
          const sent = Array.from({ length: FLOWS }, (_, i) => ({
            kind,
            payload: pattern(100, i),
            sourcePort: 6000 + i,
          }));
          for (const parts of sent) far.write(unfinishedPacket(parts));
          await read;
          assert.ok(packets.length > 0 && other.packets.length > 0, `${packets.length} here`);
          const all = [...packets, ...other.packets.map(({ bytes }) => bytes)].map((bytes) =>
            bytes.toString('hex'),
          );
          assert.deepEqual(all.sort(), sent.map((parts) => ordinaryPacket(parts).toString('hex')).sort());

          // A run that is coalesced into one super-packet on its way into the kernel.
          await using near = open('near', { namespace, up: true });
          await wire(namespace, ours, near);
          const run = [0, 1, 2, 3].map((i) =>
            ordinaryPacket({
              kind,
              payload: pattern(1000, i),
              tcp: { sequenceNumber: 1000 + 1000 * i },
              identification: i,
            }),
          );
          const arrived = packetsUntil(near, (packet) => packet.equals(run[3]));
          for (const packet of run) ours.write(packet);
          assert.deepEqual(await arrived, run);
        }));
    }
  }

  it('leaves the header alone where it can not be right: an error', () =>
    inNamespace(async (namespace) => {
      for (const [size, offload] of [
        [12, 'raw'],
        [64, 'raw'],
        [100, 'raw'],
        [100, true],
        [100, false],
      ] as const) {
        await using other = await readWithOther(namespace, 'dev0', 'multi', `vnet=${size}`);
        assert.equal(
          code(() => openTun('dev0', { namespace, multiQueue: true, offload })),
          'ERR_INVALID_ARG_VALUE',
          `${size} ${offload}`,
        );
        assert.equal(await other.headerSize(), size);
      }
    }));

  it('passes its header of 10 bytes through', () =>
    inNamespace(async (namespace) => {
      await using _other = await readWithOther(namespace, 'dev0', 'multi', 'vnet=10');
      await using ours = openTun('dev0', { namespace, multiQueue: true, offload: 'raw' });
      assert.deepEqual(ours.offloads, { mode: 'raw', ...OFF });
    }));

  const asked: [string[], TapOptions['offload'], object][] = [
    [['vnet=12'], true, OFF],
    [['vnet=12', `offload=${TUN_F_CSUM}`], true, { ...OFF, checksum: true }],
    [['vnet=12', `offload=${TUN_F_CSUM | TUN_F_TSO4}`], true, { ...OFF, checksum: true, tso4: true }],
    [['vnet=10', `offload=${TUN_F_CSUM | TUN_F_TSO4}`], 'raw', { ...OFF, checksum: true, tso4: true }],
    [['vnet=12', `offload=${TUN_F_CSUM | TUN_F_TSO4}`], { tcp: false }, { ...OFF, checksum: true }],
    [[], true, OFF],
  ];
  for (const [how, offload, expected] of asked) {
    it(`switches nothing on: ${how.join(' ') || 'no header'}, ours with ${JSON.stringify(offload)}`, () =>
      inNamespace(async (namespace) => {
        await using _other = await readWithOther(namespace, 'dev0', 'multi', ...how);
        await using first = openTun('dev0', { namespace, multiQueue: true, offload });
        await using second = first.queue();
        for (const { mode: _, ...on } of [first.offloads, second.offloads]) assert.deepEqual(on, expected);
        assert.deepEqual(await features(namespace, 'dev0'), expected);
      }));
  }

  it('that fails later leaves the offloads as they were', () =>
    inNamespace(async (namespace) => {
      await using _other = await readWithOther(namespace, 'dev0', 'multi', 'vnet=12', 'offload=3');
      await shell(namespace, 'ip addr add 192.0.2.1 peer 192.0.2.2/24 dev dev0');
      const before = await features(namespace, 'dev0');
      const options = { namespace, multiQueue: true, offload: false, addresses: ['192.0.2.1/24'] };
      assert.equal(
        code(() => openTun('dev0', options)),
        'EEXIST',
      );
      assert.deepEqual(await features(namespace, 'dev0'), before);
    }));

  it('closes without a change to the device, though it is persistent', () =>
    inNamespace(async (namespace) => {
      await using other = await readWithOther(namespace, 'dev0', 'multi', 'vnet=12', 'offload=3');
      const before = await features(namespace, 'dev0');
      await openTun('dev0', { namespace, multiQueue: true, persist: true }).close();
      assert.deepEqual(await features(namespace, 'dev0'), before);
      assert.equal(await other.headerSize(), 12);
    }));
});

describe('a persistent device that another program left with a header of 12 bytes', () => {
  before(function () {
    needs(this, 'ip', 'cc');
  });

  for (const [offload, mode] of [
    [true, 'split'],
    ['raw', 'raw'],
    [false, 'off'],
  ] as const) {
    it(`opens with offload: ${offload}`, () =>
      inNamespace(async (namespace) => {
        await silence(namespace);
        await shell(
          namespace,
          `ip tuntap add dev0 mode tun
          ${otherProgram()} dev0 vnet=12 offload=3 -- true`,
        );
        await using sender = openTun('sender', { namespace, up: true });
        await using device = openTun('dev0', { namespace, up: true, offload });
        assert.equal(device.offloads.mode, mode);
        await wire(namespace, sender, device);
        const packet = ordinaryPacket({ payload: pattern(100) });
        const read = new Promise<Buffer>((resolve) => device.once('data', resolve));
        sender.write(packet);
        assert.deepEqual((await read).subarray(mode === 'raw' ? 10 : 0), packet);
      }));
  }
});

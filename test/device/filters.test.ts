import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { endianness } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { openTap, type TapDevice } from 'tuntap-native';
import { ethernetFrame } from 'tuntap-native/packet';
import { code, inNamespace, needs } from '../support.ts';
import { bridge, frame, packetsUntil, shell, UdpPeer, udpPacket, write } from './traffic.ts';

type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, k: number];

// linux/bpf_common.h
const BPF_LD_H_ABS = 0x28;
const BPF_JEQ_K = 0x15;
const BPF_RET_K = 0x06;
const WHOLE_PACKET = 0x40000;

/** struct sock_filter of linux/filter.h, in the machine's byte order. */
function program(...instructions: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(8 * instructions.length);
  const little = endianness() === 'LE';
  instructions.forEach(([operation, jumpTrue, jumpFalse, k], i) => {
    little ? bytes.writeUInt16LE(operation, 8 * i) : bytes.writeUInt16BE(operation, 8 * i);
    bytes[8 * i + 2] = jumpTrue;
    bytes[8 * i + 3] = jumpFalse;
    little ? bytes.writeUInt32LE(k, 8 * i + 4) : bytes.writeUInt32BE(k, 8 * i + 4);
  });
  return bytes;
}

/** A program that tcpdump compiled. */
function compiled(expression: string): Buffer {
  const [, ...lines] = execFileSync('tcpdump', ['-ddd', '-y', 'EN10MB', expression], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return program(...lines.map((line) => line.split(' ').map(Number) as unknown as Instruction));
}

function udpFrame(destinationPort: number, payload: string): Buffer {
  const macs = { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:77' };
  return ethernetFrame({
    ...macs,
    etherType: 0x0800,
    payload: udpPacket(Buffer.from(payload), destinationPort),
  });
}

/** Which of `frames`, sent one after the other into the bridge, are read from `reader`; the last has to be. */
async function passing(sender: TapDevice, reader: TapDevice, frames: readonly Buffer[]): Promise<Buffer[]> {
  const sent = (packet: Buffer) => frames.some((one) => one.equals(packet));
  const last = frames[frames.length - 1];
  const read = packetsUntil(reader, (packet) => packet.equals(last), sent);
  for (const one of frames) assert.equal(await write(sender, one), undefined);
  return read;
}

describe('attachFilter', () => {
  before(function () {
    needs(this, 'ip', 'tcpdump');
  });

  it('lets only what the program accepts be read, until detachFilter', () =>
    inNamespace(async (namespace) => {
      await using reader = openTap('tap0', { namespace, up: true });
      await using sender = openTap('tap1', { namespace, up: true });
      await bridge(namespace, reader, sender);
      const frames = [5999, 6000, 6001, 6000].map((port, i) => udpFrame(port, `${i}`));
      assert.deepEqual(await passing(sender, reader, frames), frames);
      reader.attachFilter(compiled('udp dst port 6000'));
      assert.deepEqual(await passing(sender, reader, frames), [frames[1], frames[3]]);
      reader.attachFilter(compiled('udp and not dst port 6001'));
      assert.deepEqual(await passing(sender, reader, frames), [frames[0], frames[1], frames[3]]);
      reader.detachFilter();
      assert.deepEqual(await passing(sender, reader, frames), frames);
      reader.detachFilter();
    }));

  it('lets through what a kernel socket sends to the accepted port alone', () =>
    inNamespace(async (namespace) => {
      await using tap = openTap('tap0', { namespace, addresses: ['192.0.2.1/24'], up: true });
      await shell(namespace, 'ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev tap0');
      tap.attachFilter(compiled('udp dst port 6000'));
      await using peer = await UdpPeer.start(namespace);
      await peer.bind('192.0.2.1');
      // Before the filter there may have been what the kernel sends by itself.
      const read = packetsUntil(
        tap,
        (packet) => packet.subarray(42).toString() === 'last',
        (packet) => packet.readUInt16BE(12) === 0x0800,
      );
      await peer.send('192.0.2.1', 7000, '192.0.2.2', [Buffer.from('no')]);
      await peer.send('192.0.2.1', 6000, '192.0.2.2', [Buffer.from('yes'), Buffer.from('last')]);
      assert.deepEqual(
        (await read).map((packet) => packet.subarray(42).toString()),
        ['yes', 'last'],
      );
    }));

  it('cuts a frame to the length that the program returns', () =>
    inNamespace(async (namespace) => {
      await using reader = openTap('tap0', { namespace, up: true });
      await using sender = openTap('tap1', { namespace, up: true });
      await bridge(namespace, reader, sender);
      reader.attachFilter(program([BPF_RET_K, 0, 0, 20]));
      const whole = frame('02:00:00:00:00:02', 'x'.repeat(100));
      const cut = whole.subarray(0, 20);
      const read = packetsUntil(reader, (packet) => packet.equals(cut));
      sender.write(whole);
      assert.deepEqual((await read).at(-1), cut);
    }));

  it('holds for every queue that is open; one opened later takes part once it is attached again', () =>
    inNamespace(async (namespace) => {
      await using reader = openTap('tap0', { namespace, multiQueue: true, up: true });
      await using early = reader.queue();
      await using sender = openTap('tap1', { namespace, up: true });
      await bridge(namespace, reader, sender);
      const arpOnly = program(
        [BPF_LD_H_ABS, 0, 0, 12],
        [BPF_JEQ_K, 0, 1, 0x0806],
        [BPF_RET_K, 0, 0, WHOLE_PACKET],
        [BPF_RET_K, 0, 0, 0],
      );
      const arp = frame('02:00:00:00:00:02', 'accepted');
      arp.writeUInt16BE(0x0806, 12);
      const readsOnlyArp = async (...queues: readonly TapDevice[]) => {
        const seen: Buffer[] = [];
        const onData = (packet: Buffer) => packet.readUInt16BE(12) !== 0x86dd && seen.push(packet);
        for (const queue of queues) queue.on('data', onData);
        // Many flows, so that every queue would get some.
        for (let i = 0; i < 64; i++) await write(sender, udpFrame(6000 + i, 'dropped'));
        const arrived = queues.map((queue) => packetsUntil(queue, (packet) => packet.equals(arp)));
        await write(sender, arp);
        await Promise.race(arrived);
        await setImmediate(); // every queue that had a frame has been read by then
        for (const queue of queues) queue.off('data', onData);
        assert.deepEqual(seen, [arp]);
      };
      reader.attachFilter(arpOnly);
      await readsOnlyArp(reader, early);
      await using late = reader.queue();
      reader.attachFilter(arpOnly);
      await readsOnlyArp(reader, early, late);
    }));

  it('gives EINVAL for a program that the kernel finds wrong, and keeps the one before', () =>
    inNamespace(async (namespace) => {
      await using reader = openTap('tap0', { namespace, up: true });
      await using sender = openTap('tap1', { namespace, up: true });
      await bridge(namespace, reader, sender);
      reader.attachFilter(compiled('udp dst port 6000'));
      const wrong = {
        'an unknown operation': program([0xffff, 0, 0, 0]),
        'a jump behind the end': program([BPF_JEQ_K, 9, 9, 0], [BPF_RET_K, 0, 0, 0]),
        'no return at the end': program([BPF_LD_H_ABS, 0, 0, 12]),
      };
      for (const [reason, instructions] of Object.entries(wrong)) {
        assert.throws(
          () => reader.attachFilter(instructions),
          { code: 'EINVAL', errno: -22, syscall: 'ioctl TUNATTACHFILTER', device: 'tap0' },
          reason,
        );
      }
      const frames = [udpFrame(1, 'no'), udpFrame(6000, 'yes')];
      assert.deepEqual(await passing(sender, reader, frames), [frames[1]]);
    }));

  it('refuses what is no program, and a device that is closed', () =>
    inNamespace(async (namespace) => {
      const tap = openTap('tap0', { namespace });
      const misuses: [unknown, string][] = [
        ['udp', 'ERR_INVALID_ARG_TYPE'],
        [undefined, 'ERR_INVALID_ARG_TYPE'],
        [[6, 0, 0, 0], 'ERR_INVALID_ARG_TYPE'],
        [Buffer.alloc(0), 'ERR_INVALID_ARG_VALUE'],
        [Buffer.alloc(7), 'ERR_INVALID_ARG_VALUE'],
        [Buffer.alloc(8 * 4097), 'ERR_INVALID_ARG_VALUE'],
      ];
      for (const [wrong, expected] of misuses) {
        assert.equal(
          code(() => tap.attachFilter(wrong as Buffer)),
          expected,
        );
      }
      await tap.close();
      assert.equal(
        code(() => tap.attachFilter(program([BPF_RET_K, 0, 0, 0]))),
        'ERR_TUNTAP_CLOSED',
      );
      assert.equal(
        code(() => tap.detachFilter()),
        'ERR_TUNTAP_CLOSED',
      );
    }));
});

describe('setTxFilter', () => {
  before(function () {
    needs(this, 'ip');
  });

  const own = '02:00:00:00:00:02';
  const other = '02:00:00:00:00:03';
  const third = '02:00:00:00:00:04';
  const multicast = '01:00:5e:00:00:05';
  const broadcast = 'ff:ff:ff:ff:ff:ff';
  const everything = [own, other, third, multicast, broadcast];
  const cases: [string, readonly string[], { allMulticast?: boolean } | undefined, readonly string[]][] = [
    ['one unicast address', [own], undefined, [own]],
    ['two unicast addresses', [own, third], {}, [own, third]],
    ['a unicast address and all multicast', [own], { allMulticast: true }, [own, multicast, broadcast]],
    ['a multicast address among them', [own, multicast], { allMulticast: false }, [own, multicast]],
    ['the broadcast address among them', [own, broadcast], undefined, [own, broadcast]],
    ['no address', [], undefined, everything],
  ];
  for (const [what, addresses, options, expected] of cases) {
    it(`with ${what} lets ${expected.length === 5 ? 'all' : 'only these'} frames be read`, () =>
      inNamespace(async (namespace) => {
        await using reader = openTap('tap0', { namespace, up: true });
        await using sender = openTap('tap1', { namespace, up: true });
        await bridge(namespace, reader, sender);
        reader.setTxFilter([other]);
        reader.setTxFilter(addresses, options);
        // The last one is to an address that passes every case.
        const frames = [...everything, own].map((destination, i) => frame(destination, `${i}`));
        const read = await passing(sender, reader, frames);
        assert.deepEqual(
          read.slice(0, -1),
          frames.slice(0, -1).filter((_, i) => expected.includes(everything[i])),
        );
      }));
  }

  it('takes eight unicast addresses and any number of multicast ones, in any order', () =>
    inNamespace(async (namespace) => {
      await using reader = openTap('tap0', { namespace, up: true });
      await using sender = openTap('tap1', { namespace, up: true });
      await bridge(namespace, reader, sender);
      const groups = Array.from({ length: 20 }, (_, i) => `01:00:5e:00:01:${(16 + i).toString(16)}`);
      const unicast = Array.from({ length: 8 }, (_, i) => `02:00:00:00:01:0${i}`);
      reader.setTxFilter([...groups, ...unicast]);
      const frames = [own, ...groups, ...unicast].map((destination) => frame(destination, destination));
      assert.deepEqual(await passing(sender, reader, frames), frames.slice(1));
      assert.equal(
        code(() => reader.setTxFilter([...unicast, own])),
        'ERR_OUT_OF_RANGE',
      );
    }));

  it('refuses what is no list of addresses', () =>
    inNamespace(async (namespace) => {
      await using tap = openTap('tap0', { namespace });
      const misuses: [unknown, string][] = [
        ['02:00:00:00:00:02', 'ERR_INVALID_ARG_TYPE'],
        [undefined, 'ERR_INVALID_ARG_TYPE'],
        [['02:00:00:00:00'], 'ERR_INVALID_ARG_VALUE'],
        [[7], 'ERR_INVALID_ARG_TYPE'],
      ];
      for (const [wrong, expected] of misuses) {
        assert.equal(
          code(() => tap.setTxFilter(wrong as string[])),
          expected,
        );
      }
    }));
});

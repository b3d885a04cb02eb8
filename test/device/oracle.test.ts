import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type NetworkNamespace, openTap, openTun, type PacketDevice } from 'tuntap-native';
import { ethernetFrame } from 'tuntap-native/packet';
import { inNamespace, ipLink, needs, run } from '../support.ts';
import { pattern } from './super-packets.ts';
import { bridge, listening, packetsUntil, shell, UdpPeer, udpPacket, write } from './traffic.ts';

/** The packets of a classic pcap file, see pcap-savefile(5), written on this machine. */
function packetsOf(capture: Buffer): Buffer[] {
  const little = capture.readUInt32LE(0) === 0xa1b2c3d4;
  const packets: Buffer[] = [];
  for (let at = 24; at < capture.length; ) {
    const length = little ? capture.readUInt32LE(at + 8) : capture.readUInt32BE(at + 8);
    packets.push(capture.subarray(at + 16, at + 16 + length));
    at += 16 + length;
  }
  return packets;
}

/** What tcpdump sees on a link while `traffic` makes `count` packets that its expression picks. */
async function tcpdump(
  namespace: NetworkNamespace,
  link: string,
  direction: 'in' | 'out',
  expression: string,
  count: number,
  traffic: () => Promise<unknown>,
): Promise<Buffer[]> {
  const options = [
    '-i',
    link,
    '-Q',
    direction,
    '-c',
    `${count}`,
    '-s0',
    '-B8192',
    '--immediate-mode',
    '-U',
    '-w',
    '-',
  ];
  const child = namespace.spawn('tcpdump', [...options, expression], { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    const parts: Buffer[] = [];
    child.stdout?.on('data', (part) => parts.push(part));
    const closed = once(child, 'close');
    const messages = await listening(child);
    await traffic();
    assert.equal((await closed)[0], 0, messages());
    return packetsOf(Buffer.concat(parts));
  } finally {
    child.kill('SIGKILL');
  }
}

const SIZES = [28, 29, 64, 576, 1279, 1280, 1500, 1501, 4096, 9000, 16_385, 32_768, 65_534, 65_535];
const isUdp = (packet: Buffer) => packet[0] === 0x45 && packet[9] === 17;

describe('packets, byte for byte as tcpdump shows them', () => {
  before(function () {
    needs(this, 'ip', 'tcpdump');
  });

  for (const way of ['stream', 'batches']) {
    it(`from the kernel by ${way}, from 28 to 65,535 bytes`, () =>
      inNamespace(async (namespace) => {
        // With offloads tcpdump shows packets whose checksum is left to the reader.
        const options = { namespace, addresses: ['192.0.2.1/24'], mtu: 65_535, up: true, offload: false };
        await using tun = openTun('tun0', options);
        await using peer = await UdpPeer.start(namespace);
        await peer.bind('192.0.2.1');
        const last = (packet: Buffer) => isUdp(packet) && packet.length === SIZES[SIZES.length - 1];
        const read = way === 'stream' ? packetsUntil(tun, last, isUdp) : batchesUntil(tun, last, isUdp);
        const shown = await tcpdump(namespace, 'tun0', 'out', 'udp', SIZES.length, () =>
          peer.send(
            '192.0.2.1',
            9,
            '192.0.2.2',
            SIZES.map((size) => pattern(size - 28)),
          ),
        );
        const packets = await read;
        assert.deepEqual(
          packets.map(({ length }) => length),
          SIZES,
        );
        for (const [i, packet] of packets.entries()) assert.ok(packet.equals(shown[i]), `${SIZES[i]} bytes`);
        for (const packet of packets) assert.ok(packet.subarray(28).equals(pattern(packet.length - 28)));
      }));
  }

  it('into the kernel, from 28 to 65,535 bytes, and its socket gets the payload', () =>
    inNamespace(async (namespace) => {
      await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], mtu: 65_535, up: true });
      await using peer = await UdpPeer.start(namespace);
      const port = await peer.bind('192.0.2.1');
      const packets = SIZES.map((size) => udpPacket(pattern(size - 28), port));
      const shown = await tcpdump(namespace, 'tun0', 'in', 'udp', SIZES.length, async () => {
        for (const packet of packets) {
          // One at a time, since all of them are more than a socket holds by default.
          assert.equal(await write(tun, packet), undefined);
          assert.ok((await peer.receive(1))[0].equals(packet.subarray(28)), `${packet.length} bytes`);
        }
      });
      for (const [i, packet] of packets.entries()) assert.ok(packet.equals(shown[i]), `${SIZES[i]} bytes`);
    }));

  it('frames with and without VLAN tags, both ways through a bridge', () =>
    inNamespace(async (namespace) => {
      await using sender = openTap('tap0', { namespace, mtu: 9000, up: true });
      await using reader = openTap('tap1', { namespace, mtu: 9000, up: true });
      await bridge(namespace, sender, reader);
      const source = '02:00:00:00:00:77';
      const frames = [
        '88b5',
        '8100006488b5',
        '81000fff0800',
        '88a800c88100006488b5',
        '81006000 88b5',
      ].flatMap((types) =>
        [46, 1500, 8000].map((length) => {
          const frame = ethernetFrame({
            destination: '02:00:00:00:00:02',
            source,
            etherType: 0,
            payload: Buffer.alloc(0),
          });
          const tags = Buffer.from(types.replace(' ', ''), 'hex');
          return Buffer.concat([frame.subarray(0, 12), tags, pattern(length)]);
        }),
      );
      const isOurs = (frame: Buffer) => frame.subarray(6, 12).toString('hex') === source.replaceAll(':', '');
      const read = packetsUntil(reader, (frame) => frame.equals(frames[frames.length - 1]), isOurs);
      const capture = (link: string, direction: 'in' | 'out', traffic: () => Promise<unknown>) =>
        tcpdump(namespace, link, direction, `ether src ${source}`, frames.length, traffic);
      let sent: Buffer[] = [];
      const received = await capture('tap1', 'out', async () => {
        sent = await capture('tap0', 'in', async () => {
          for (const frame of frames) assert.equal(await write(sender, frame), undefined);
        });
      });
      assert.deepEqual(await read, frames);
      assert.deepEqual(sent, frames);
      assert.deepEqual(received, frames);
    }));
});

async function batchesUntil(
  device: PacketDevice,
  last: (packet: Buffer) => boolean,
  wanted: (packet: Buffer) => boolean,
): Promise<Buffer[]> {
  const packets: Buffer[] = [];
  for await (const batch of device.batches()) {
    packets.push(...[...batch].filter(wanted).map((packet) => Buffer.from(packet)));
    if ([...batch].some(last)) break;
  }
  return packets;
}

describe('what ethtool and ip say of a device', () => {
  before(function () {
    needs(this, 'ip', 'ethtool');
  });

  for (const [kind, open] of [
    ['tun', openTun],
    ['tap', openTap],
  ] as const) {
    it(`ethtool -i: the driver is tun, on the bus ${kind}`, () =>
      inNamespace(async (namespace) => {
        await using _device = open('dev0', { namespace });
        const { stdout } = await run(namespace, 'ethtool', '-i', 'dev0');
        assert.match(stdout, /^driver: tun$/m);
        assert.match(stdout, new RegExp(`^bus-info: ${kind}$`, 'm'));
      }));

    it(`ip: what the ${kind} device tells of itself, also after others changed it`, () =>
      inNamespace(async (namespace) => {
        await using device = open('dev0', {
          namespace,
          addresses: ['192.0.2.1/24', '2001:db8::1/64'],
          txQueueLength: 77,
        });
        const changes = [
          'true',
          'ip link set dev0 up mtu 1400',
          'ip link set dev0 multicast off',
          'ip link set dev0 down',
        ];
        for (const change of changes) {
          await shell(namespace, change);
          const link = await ipLink(namespace, 'dev0');
          assert.ok(link);
          // netdevice(7)
          const flags = {
            UP: 1,
            BROADCAST: 2,
            POINTOPOINT: 0x10,
            NOARP: 0x80,
            MULTICAST: 0x1000,
            LOWER_UP: 0x10000,
          };
          for (const [name, bit] of Object.entries(flags)) {
            assert.equal((device.flags & bit) !== 0, link.flags.includes(name), `${name} after ${change}`);
          }
          assert.deepEqual(
            { index: device.index, mtu: device.mtu, isUp: device.isUp, length: 77 },
            { index: link.ifindex, mtu: link.mtu, isUp: link.flags.includes('UP'), length: link.txqlen },
          );
          assert.equal(link.linkinfo?.info_kind, 'tun');
          assert.equal(link.linkinfo?.info_data.type, kind);
          const addresses = (link.addr_info ?? []).map(({ local }) => local);
          assert.ok(addresses.includes('192.0.2.1'));
        }
      }));
  }

  it('sysfs: the flags that TUNSETIFF set', () =>
    inNamespace(async (namespace) => {
      await using _single = openTun('dev0', { namespace });
      await using _multi = openTap('dev1', { namespace, multiQueue: true });
      const [single, multi] = (
        await shell(namespace, 'cat /sys/class/net/dev0/tun_flags /sys/class/net/dev1/tun_flags')
      )
        .trim()
        .split('\n');
      // IFF_TUN | IFF_NO_PI, and IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE, of linux/if_tun.h.
      assert.deepEqual([Number(single) & 0x1103, Number(multi) & 0x1103], [0x1001, 0x1102]);
    }));
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type NetworkNamespace, openTap, openTun, type TapOptions, type TunTapDevice } from 'tuntap-native';
import { IpProtocol, Ipv4Packet, TcpSegment, UdpDatagram } from 'tuntap-native/packet';
import { code, inNamespace, ipLink, needs, nodeProgram, run } from '../support.ts';
import { features } from './offload-features.ts';
import { readWithOther } from './other-program.ts';
import { pattern, silence, unfinishedPacket, wire } from './super-packets.ts';
import { shell } from './traffic.ts';

const OFF = { checksum: false, tso4: false, tso6: false, tsoEcn: false, uso4: false, uso6: false };

/** Shows that a program without any offload gets ordinary packets from tun0: small ones, with valid checksums. */
async function givesOrdinaryPackets(namespace: NetworkNamespace, ...how: string[]): Promise<void> {
  assert.deepEqual(await features(namespace, 'tun0'), OFF);
  await silence(namespace);
  await using sender = openTun('sender', { namespace, offload: 'raw', up: true });
  await using reader = await readWithOther(namespace, 'tun0', ...how);
  // Switched on last: a link that was on before passes nothing until the kernel has heard of its carrier.
  await shell(namespace, 'ip link set tun0 down; ip link set tun0 up');
  await wire(namespace, sender, { name: 'tun0' });
  for (const udp of [false, true]) {
    sender.write(unfinishedPacket({ udp, payload: pattern(4000), gsoSize: 1000 }));
    sender.write(unfinishedPacket({ udp, payload: pattern(100) }));
  }
  await reader.count(10);
  const sizes = reader.packets.map(({ bytes }) => bytes.length);
  assert.deepEqual(sizes, [1040, 1040, 1040, 1040, 140, 1028, 1028, 1028, 1028, 128]);
  for (const { flags, gsoType, bytes } of reader.packets) {
    const packet = Ipv4Packet.parse(bytes);
    assert.ok(packet);
    const transport = packet.protocol === IpProtocol.UDP ? UdpDatagram : TcpSegment;
    const valid = transport.parse(packet.payload)?.verifyChecksum(packet);
    assert.deepEqual([flags & 1, gsoType, valid], [0, 0, true]);
  }
}

describe('a persistent device', () => {
  before(function () {
    needs(this, 'ip', 'tc', 'ethtool', 'cc');
  });

  const opened: [string, TapOptions][] = [
    ['the usual way', {}],
    ["with offload: 'raw'", { offload: 'raw' }],
    ['with several queues', { multiQueue: true }],
  ];
  for (const [how, options] of opened) {
    it(`opened ${how} gives a plain program ordinary packets after it was closed`, () =>
      inNamespace(async (namespace) => {
        await openTun('tun0', { namespace, persist: true, ...options }).close();
        await givesOrdinaryPackets(namespace, options.multiQueue ? 'multi' : '');
      }));
  }

  it('gives a program with its own virtio_net_hdr ordinary packets, too', () =>
    inNamespace(async (namespace) => {
      await openTun('tun0', { namespace, persist: true }).close();
      await givesOrdinaryPackets(namespace, 'vnet=10');
    }));

  it('that `ip tuntap` made does so after it was used once', () =>
    inNamespace(async (namespace) => {
      await run(namespace, 'ip', 'tuntap', 'add', 'tun0', 'mode', 'tun');
      await openTun('tun0', { namespace, up: true }).close();
      await givesOrdinaryPackets(namespace);
    }));

  it('that became persistent while it was open does so', () =>
    inNamespace(async (namespace) => {
      const tun = openTun('tun0', { namespace });
      tun.setPersist(true);
      await tun.close();
      await givesOrdinaryPackets(namespace);
    }));

  it('keeps its offloads until the last of its queues closes', () =>
    inNamespace(async (namespace) => {
      const first = openTun('tun0', { namespace, persist: true, multiQueue: true });
      const second = first.queue();
      const third = openTun('tun0', { namespace, multiQueue: true });
      for (const queue of [first, second]) {
        await queue.close();
        assert.equal((await features(namespace, 'tun0')).tso4, true);
      }
      await third.close();
      await givesOrdinaryPackets(namespace, 'multi');
    }));

  it('does so after all of its queues closed at once', () =>
    inNamespace(async (namespace) => {
      const first = openTun('tun0', { namespace, persist: true, multiQueue: true });
      const queues = [first, first.queue(), first.queue(), first.queue()];
      await Promise.all(queues.map((queue) => queue.close()));
      await givesOrdinaryPackets(namespace, 'multi');
    }));

  for (const [end, ending] of [
    ['process.exit()', 'process.exit()'],
    ['an uncaught error', 'throw new Error()'],
    ['the end of its work, the device still open', ''],
  ]) {
    it(`does so after a process ended by ${end}`, () =>
      inNamespace(async (namespace) => {
        const program = nodeProgram(`
          for (let i = 0; i < 2; i++) openTun('tun0', { multiQueue: true, persist: true }).unref().resume();
          setTimeout(() => { ${ending} }, 10);`);
        await run(namespace, ...program);
        await givesOrdinaryPackets(namespace, 'multi');
      }));
  }

  it('does so after its worker was terminated', () =>
    inNamespace(async (namespace) => {
      const source = `
        import { parentPort, workerData } from 'node:worker_threads';
        const { openTun } = await import('${import.meta.resolve('tuntap-native')}');
        const tun = openTun('tun0', { namespace: workerData, persist: true, up: true });
        tun.on('data', () => {});
        parentPort.postMessage('opened');`;
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
        workerData: `/proc/${process.pid}/fd/${namespace.fd}`,
      });
      await once(worker, 'message');
      assert.equal((await features(namespace, 'tun0')).tso4, true);
      await worker.terminate();
      // Deno's worker may end a little later.
      while ((await features(namespace, 'tun0')).tso4) await delay(5);
      await givesOrdinaryPackets(namespace);
    }));
});

describe('opening again with the same options', () => {
  before(function () {
    needs(this, 'ip');
  });

  const options: TapOptions = {
    persist: true,
    multiQueue: true,
    addresses: ['192.0.2.1/24', '198.51.100.1/32', '203.0.113.1/31', '2001:db8::1/64', '2001:db8:1::1/128'],
    mtu: 1400,
    txQueueLength: 900,
    owner: 1234,
    group: 4321,
    carrier: true,
    sendBuffer: 100_000,
    up: true,
  };
  const state = async (namespace: NetworkNamespace) => {
    const link = await ipLink(namespace, 'dev0');
    assert.ok(link);
    const addresses = link.addr_info?.filter(({ local }) => !local.startsWith('fe80'));
    const data = { ...link.linkinfo?.info_data, numqueues: 0 };
    const { ifindex, mtu, txqlen, flags } = link;
    const routes = (await shell(namespace, 'ip -j route; ip -j -6 route')).split('\n');
    return { ifindex, mtu, txqlen, flags, addresses, data, routes };
  };
  const cases: [string, (options: TapOptions) => TunTapDevice, TapOptions][] = [
    ['TUN device', (all) => openTun('dev0', all), options],
    ['TAP device', (all) => openTap('dev0', all), { ...options, mac: '02:00:00:00:00:01' }],
    ['TAP device of one queue', (all) => openTap('dev0', all), { ...options, multiQueue: false }],
    ['device that is not persistent', (all) => openTun('dev0', all), { ...options, persist: undefined }],
  ];
  for (const [what, open, all] of cases) {
    it(`gives a ${what} the same, any number of times`, () =>
      inNamespace(async (namespace) => {
        const seen: unknown[] = [];
        for (let i = 0; i < 3; i++) {
          const device = open({ ...all, namespace });
          seen.push(await state(namespace));
          if (all.multiQueue) {
            await using _second = open({ ...all, namespace });
            assert.deepEqual(await state(namespace), seen[i]);
          }
          await device.close();
        }
        if (all.persist) assert.deepEqual(seen[1], seen[0]);
        assert.deepEqual({ ...(seen[2] as object), ifindex: 0 }, { ...(seen[0] as object), ifindex: 0 });
      }));
  }

  it('makes an address permanent that had a lifetime', () =>
    inNamespace(async (namespace) => {
      await openTun('dev0', { namespace, persist: true, up: true }).close();
      await shell(
        namespace,
        `ip addr add 192.0.2.1/24 valid_lft 100 preferred_lft 100 dev dev0
        ip addr add 2001:db8::1/64 valid_lft 100 preferred_lft 100 nodad dev dev0`,
      );
      const addresses = ['192.0.2.1/24', '2001:db8::1/64'];
      await using _ = openTun('dev0', { namespace, addresses });
      assert.doesNotMatch(await shell(namespace, 'ip addr show dev0'), /valid_lft \d+sec/);
    }));

  it('fails where an address is there with another prefix length or a peer', () =>
    inNamespace(async (namespace) => {
      await openTun('dev0', { namespace, persist: true, up: true }).close();
      await shell(
        namespace,
        `ip addr add 192.0.2.1 peer 192.0.2.2/24 dev dev0
        ip addr add 2001:db8::1/64 nodad dev dev0`,
      );
      for (const address of ['192.0.2.1/24', '2001:db8::1/65']) {
        assert.equal(
          code(() => openTun('dev0', { namespace, addresses: [address] })),
          'EEXIST',
        );
      }
    }));

  it('fails with `exclusive`, and while the only queue is open: EBUSY', () =>
    inNamespace(async (namespace) => {
      await openTun('dev0', { namespace, persist: true }).close();
      assert.equal(
        code(() => openTun('dev0', { namespace, persist: true, exclusive: true })),
        'EBUSY',
      );
      await using _ = openTun('dev0', { namespace });
      assert.equal(
        code(() => openTun('dev0', { namespace })),
        'EBUSY',
      );
    }));
});

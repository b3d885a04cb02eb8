import assert from 'node:assert/strict';
import { openTun, PacketBatch } from 'tuntap-native';
import { ipv4Packet, udpDatagram } from 'tuntap-native/packet';
import { DatagramTable, Endpoint, openUdp, type UdpOptions } from 'tuntap-native/tunnel';
import { shell, UdpPeer } from '../device/traffic.ts';
import { seededRandom } from '../packet/random.ts';
import { needs } from '../support.ts';
import { numbered, onLoopback, onVeth, receive, sendAll } from './sockets.ts';

// Runs, a short last one, empty ones, single ones, more than 64 of a size, more bytes than a super-packet has.
const LENGTHS = [
  0,
  ...Array<number>(70).fill(100),
  50,
  0,
  0,
  ...Array<number>(50).fill(1400),
  1399,
  1400,
  0,
  1400,
  1,
  2,
  3,
  9000,
  9000,
  ...Array<number>(60).fill(1200),
];
const OFFLOADS: readonly UdpOptions[] = [
  { gso: true, gro: true },
  { gso: false, gro: true },
  { gso: true, gro: false },
  { gso: false, gro: false },
];

describe('UdpBatchSocket: traffic', () => {
  before(function () {
    needs(this, 'ip');
  });

  for (const offloads of OFFLOADS) {
    for (const [local, to] of [
      ['127.0.0.1', '127.0.0.1'],
      ['::1', '::1'],
      ['::', '127.0.0.1'],
      ['::', '::1'],
    ]) {
      it(`delivers every datagram once and in order to ${to} on ${local}, ${JSON.stringify(offloads)}`, () =>
        onLoopback(async (namespace) => {
          await using from = openUdp({ address: local, namespace, ...offloads });
          await using at = openUdp({ address: local, namespace, ...offloads, receiveBuffer: 4 << 20 });
          const batch = numbered(LENGTHS);
          await sendAll(from, batch, new Endpoint(to, at.local.port));
          const got = await receive(at, batch.length);
          assert.deepEqual(
            got.map(({ bytes }) => bytes),
            [...batch].map((bytes) => Buffer.from(bytes)),
          );
          const source = new Endpoint(to, from.local.port);
          assert.deepEqual(new Set(got.map((datagram) => datagram.from)), new Set([String(source)]));
          assert.equal(from.counters.segmentedSends > 0, offloads.gso);
          assert.equal(at.counters.coalescedReads > 0, offloads.gso && offloads.gro);
          assert.equal(at.counters.packetsRead, LENGTHS.length);
          assert.equal(at.counters.bytesRead, from.counters.bytesWritten);
        }));
    }
  }

  it('exchanges datagrams with node:dgram over IPv4 and IPv6 by one dual-stack socket', () =>
    onVeth(1500, async (a, b) => {
      await using peer = await UdpPeer.start(b);
      await using socket = openUdp({ namespace: a, port: 5000 });
      for (const [here, there] of [
        ['192.0.2.1', '192.0.2.2'],
        ['2001:db8::1', '2001:db8::2'],
      ]) {
        const port = await peer.bind(there);
        const batch = numbered([10, 10, 10, 4]);
        assert.equal(socket.writeBatch(batch, new Endpoint(there, port)), 4);
        assert.deepEqual(
          await peer.receive(4),
          [...batch].map((bytes) => Buffer.from(bytes)),
        );
        await peer.send(there, 5000, here, [Buffer.from('one'), Buffer.alloc(0), Buffer.from('three')]);
        const got = await receive(socket, 3);
        assert.deepEqual(
          got.map(({ bytes }) => String(bytes)),
          ['one', '', 'three'],
        );
        assert.equal(got[0].from, String(new Endpoint(there, port)));
      }
    }));

  it('sends each packet to its own remote, and runs only of one remote', () =>
    onLoopback(async (namespace) => {
      await using from = openUdp({ namespace });
      const sockets = [1, 2, 3].map((host) => openUdp({ namespace, address: `127.0.0.${host}`, port: 7000 }));
      try {
        const batch = numbered([5, 5, 5, 5, 5, 5]);
        const table = new DatagramTable(batch.length);
        [0, 0, 1, 2, 1, 1].forEach((at, i) => {
          table.setRemote(i, sockets[at].local);
        });
        batch.drop(4);
        assert.equal(from.writeBatch(batch, table), 5);
        assert.equal(from.counters.segmentedSends, 1);
        const got = await Promise.all(sockets.map((socket, i) => receive(socket, [2, 2, 1][i])));
        assert.deepEqual(
          got.map((datagrams) => datagrams.map(({ bytes }) => bytes[0])),
          [[1, 2], [3, 6], [4]],
        );
      } finally {
        await Promise.all(sockets.map((socket) => socket.close()));
      }
    }));

  it('echoes a batch to where each of its datagrams came from, by the address that it came to', () =>
    onLoopback(async (namespace) => {
      await using echo = openUdp({ namespace, port: 7000, packetInfo: true });
      await using one = openUdp({ namespace, remote: new Endpoint('127.0.0.7', 7000) });
      await using two = openUdp({ namespace, remote: new Endpoint('::1', 7000) });
      one.send(Buffer.from('1'));
      two.send(Buffer.from('2'));
      let echoed = 0;
      for await (const batch of echo.batches()) {
        echoed += echo.writeBatch(batch, echo.received);
        if (echoed === 2) break;
      }
      // Connected sockets take nothing from another address.
      assert.equal(String((await receive(one, 1))[0].bytes), '1');
      assert.equal(String((await receive(two, 1))[0].bytes), '2');
    }));

  it('keeps headroom and tailroom around each packet, coalesced or not', () =>
    onLoopback(async (namespace) => {
      await using from = openUdp({ namespace });
      await using at = openUdp({ namespace, headroom: 37, tailroom: 19 });
      const to = new Endpoint('127.0.0.1', at.local.port);
      // Twice: the second read expects super-packets.
      for (const lengths of [LENGTHS, [700, 700, 700, 20, 9000, 9000, 9000]]) {
        const sent = numbered(lengths);
        for (let round = 0; round < 2; round++) {
          await sendAll(from, sent, to);
          let next = 0;
          for await (const batch of at.batches()) {
            for (let i = 0; i < batch.length; i++) {
              batch.resize(i, 37, 19);
              batch.at(i).fill(0xff, 0, 37);
              batch.at(i).fill(0xff, batch.at(i).length - 19);
            }
            for (let i = 0; i < batch.length; i++, next++) {
              batch.resize(i, -37, -19);
              assert.deepEqual(batch.at(i), sent.at(next));
            }
            if (next === sent.length) break;
          }
        }
      }
    }));

  it('has room for as many of the largest super-packets as it asks for at once', () =>
    onLoopback(async (namespace) => {
      await using from = openUdp({ namespace, sendBuffer: 16 << 20 });
      await using at = openUdp({ namespace, headroom: 16, receiveBuffer: 16 << 20 });
      const to = new Endpoint('127.0.0.1', at.local.port);
      const run = new PacketBatch();
      run.push(Buffer.alloc(40_000, 1));
      run.push(Buffer.alloc(20_000, 2));
      // The second read expects pieces of 40,000 bytes, of which two are more than the largest super-packet.
      for (const runs of [1, 60]) {
        for (let i = 0; i < runs; i++) await sendAll(from, run, to);
        let next = 0;
        for await (const batch of at.batches()) {
          for (let i = 0; i < batch.length; i++, next++) {
            const { byteOffset, buffer } = batch.at(i);
            assert.ok(byteOffset + run.at(next % 2).length <= buffer.byteLength);
            assert.ok(batch.at(i).equals(run.at(next % 2)), `datagram ${next}`);
          }
          if (next === 2 * runs) break;
        }
      }
      assert.ok(at.counters.coalescedReads > 0);
    }));

  it('delivers runs of random sizes into random rooms, and touches nothing around them', () =>
    onLoopback(async (namespace) => {
      const random = seededRandom(8285);
      for (let round = 0; round < 60; round++) {
        const [headroom, tailroom] = [random(4) * random(300), random(3) * random(40)];
        await using from = openUdp({ namespace, sendBuffer: 64 << 20 });
        await using at = openUdp({ namespace, headroom, tailroom, receiveBuffer: 64 << 20 });
        const to = new Endpoint('127.0.0.1', at.local.port);
        const around = [new Uint8Array(1 << 18).fill(0xaa)];
        const reader = at.batches();
        around.push(new Uint8Array(1 << 18).fill(0xaa));
        for (let turn = 0; turn < 3; turn++) {
          const sent: Buffer[] = [];
          for (let runs = random(40); runs >= 0; runs--) {
            const segment = 1 + random([100, 1500, 9000, 33_000, 60_000][random(5)]);
            const count = 1 + random(Math.min(64, Math.ceil(65_000 / segment)));
            const lengths = Array.from({ length: count }, (_, i) =>
              i < count - 1 ? segment : 1 + random(segment),
            );
            const run = numbered(lengths);
            await sendAll(from, run, to);
            sent.push(...run);
          }
          let next = 0;
          while (next < sent.length) {
            const batch: PacketBatch = (await reader.next()).value;
            for (let i = 0; i < batch.length; i++, next++) {
              batch.resize(i, headroom, tailroom);
              batch.resize(i, -headroom, -tailroom);
              assert.ok(batch.at(i).equals(sent[next]), `round ${round}, datagram ${next}`);
            }
          }
        }
        assert.ok(around.every((memory) => memory.every((byte) => byte === 0xaa)));
      }
    }));

  it('takes the largest datagram, and tells of a longer one', () =>
    onLoopback(async (namespace) => {
      await using from = openUdp({ namespace });
      await using at = openUdp({ namespace, receiveBuffer: 1 << 20 });
      for (const [address, largest] of [
        ['127.0.0.1', 65507],
        ['::1', 65527],
      ] as const) {
        const batch = new PacketBatch();
        batch.push(Buffer.alloc(largest, 7));
        batch.push(Buffer.alloc(largest + 1, 8));
        batch.push(Buffer.alloc(20, 9));
        assert.equal(from.writeBatch(batch, new Endpoint(address, at.local.port)), 2);
        assert.deepEqual(
          [0, 1, 2].map((i) => batch.status(i)),
          [0, -90, 0],
        );
        const got = await receive(at, 2);
        assert.deepEqual(
          got.map(({ bytes }) => [bytes.length, bytes[0], bytes.at(-1)]),
          [
            [largest, 7, 7],
            [20, 9, 9],
          ],
        );
      }
      assert.deepEqual(from.counters.refused, { EMSGSIZE: 2 });
    }));

  it('carries a batch from a TUN device to a TUN device without touching it', () =>
    onVeth(1500, async (a, b) => {
      await using tunA = openTun('tun0', { namespace: a, addresses: ['10.0.0.1/24'], up: true });
      await using tunB = openTun('tun0', { namespace: b, addresses: ['10.0.0.2/24'], up: true });
      await using here = openUdp({ namespace: a, port: 8285 });
      await using there = openUdp({ namespace: b, port: 8285 });
      const forward = async (): Promise<void> => {
        for await (const batch of tunA.batches()) here.writeBatch(batch, new Endpoint('192.0.2.2', 8285));
      };
      const back = async (): Promise<void> => {
        for await (const batch of there.batches()) tunB.writeBatch(batch);
      };
      void forward();
      void back();
      await using peer = await UdpPeer.start(b);
      const port = await peer.bind('10.0.0.2');
      await shell(a, `bash -c 'echo -n through > /dev/udp/10.0.0.2/${port}'`);
      assert.deepEqual(await peer.receive(1), [Buffer.from('through')]);
    }));

  it('writes what it received to a device as it is', () =>
    onLoopback(async (namespace) => {
      await using tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
      await using from = openUdp({ namespace });
      await using at = openUdp({ namespace });
      await using peer = await UdpPeer.start(namespace);
      const port = await peer.bind('192.0.2.1');
      const addresses = { source: '192.0.2.2', destination: '192.0.2.1' };
      const inner = (text: string) =>
        ipv4Packet({
          ...addresses,
          protocol: 17,
          payload: udpDatagram({
            ...addresses,
            sourcePort: 5000,
            destinationPort: port,
            payload: Buffer.from(text),
          }),
        });
      const sent = new PacketBatch();
      for (const text of ['a', 'b', 'c']) sent.push(inner(text));
      from.writeBatch(sent, new Endpoint('127.0.0.1', at.local.port));
      let written = 0;
      for await (const batch of at.batches()) {
        written += tun.writeBatch(batch);
        if (written === 3) break;
      }
      assert.deepEqual((await peer.receive(3)).map(String), ['a', 'b', 'c']);
    }));
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:os';
import { join } from 'node:path';
import { PacketBatch } from 'tuntap-native';
import { Endpoint, type IcmpError, openUdp } from 'tuntap-native/tunnel';
import { shell } from '../device/traffic.ts';
import { runPreloaded } from '../preload.ts';
import { needs } from '../support.ts';
import { numbered, onLoopback, onVeth, receive } from './sockets.ts';

// A single one, a run with a short last one, a single one.
const LENGTHS = [100, 200, 200, 200, 50, 60];

function sendWithRefusedRuns(errno: 'EIO' | 'EINVAL' | 'EMSGSIZE' | 'ENOBUFS'): {
  sent: number;
  got: number[];
  statuses: number[];
  gso: boolean;
  segmentedSends: number;
} {
  const program = [join(import.meta.dirname, 'refused-runs.js'), ...LENGTHS.map(String)];
  const output = runPreloaded('socket/fail-sends', program, { FAIL_SENDS: String(constants.errno[errno]) });
  return JSON.parse(output);
}

describe('UdpBatchSocket: errors, drops and backpressure', () => {
  before(function () {
    needs(this, 'ip', 'cc');
  });

  for (const [address, origin, type, icmpCode] of [
    ['127.0.0.1', 'icmp', 3, 3],
    ['::1', 'icmp6', 1, 4],
  ] as const) {
    it(`reports ICMP port unreachable from ${address}, and goes on reading`, () =>
      onLoopback(async (namespace) => {
        await using socket = openUdp({ namespace, packetInfo: true });
        await using peer = openUdp({ namespace });
        const errors: IcmpError[] = [];
        socket.on('icmpError', (error) => errors.push(error));
        const reading = receive(socket, 3);
        const closed = new Endpoint(address, 9);
        for (let i = 0; i < 3; i++) {
          // The pending error of the one before does not hinder this one.
          assert.equal(socket.writeBatch(numbered([5]), closed), 1);
          peer.send(Buffer.from(`${i}`), new Endpoint(address, socket.local.port));
        }
        assert.deepEqual(
          (await reading).map(({ bytes }) => String(bytes)),
          ['0', '1', '2'],
        );
        while (errors.length < 3) await once(socket, 'icmpError');
        for (const error of errors) {
          assert.deepEqual(
            [error.code, error.origin, error.type, error.icmpCode, String(error.remote), error.offender],
            ['ECONNREFUSED', origin, type, icmpCode, String(closed), address],
          );
        }
        assert.deepEqual(socket.counters.refused, {});
      }));
  }

  it('loses no datagram to the pending error of a connected socket', () =>
    onLoopback(async (namespace) => {
      const port = 7777;
      await using socket = openUdp({ namespace, remote: new Endpoint('127.0.0.1', port) });
      let reported = 0;
      socket.on('icmpError', () => reported++);
      assert.equal(socket.send(Buffer.from('lost')), true);
      await using peer = openUdp({ namespace, address: '127.0.0.1', port });
      assert.equal(socket.writeBatch(numbered([3, 3, 2])), 3);
      assert.equal((await receive(peer, 3)).length, 3);
      assert.equal(socket.send(Buffer.from('x')), true);
      while (reported < 1) await once(socket, 'icmpError');
      assert.equal(reported, 1);
    }));

  it('goes on where the kernel had no memory to tell more of an error than its number', () =>
    onLoopback(async (namespace) => {
      await using at = openUdp({ namespace, address: '127.0.0.1', receiveBuffer: 4096 });
      await using other = openUdp({ namespace, address: '127.0.0.1' });
      const nobody = new Endpoint('127.0.0.1', 9);
      const errors: IcmpError[] = [];
      at.on('icmpError', (error) => errors.push(error));
      for (let i = 0; i < 200; i++) other.send(Buffer.alloc(200), at.local);
      // Its error, for which the receive buffer has no room, is told in place of sending what follows.
      at.send(Buffer.from('x'), nobody);
      assert.equal(at.writeBatch(numbered([100, 100, 50]), other.local), 3);
      at.send(Buffer.from('x'), nobody);
      assert.equal(at.send(Buffer.from('y'), other.local), true);
      assert.deepEqual(at.counters.refused, {});
      assert.equal((await receive(other, 4)).length, 4);
      // And in place of what there is to read, where it comes between epoll_wait(2) and that.
      const reading = (async () => {
        for await (const _ of at.batches()) if (at.counters.packetsRead > 1) break;
      })();
      const answering = (async () => {
        for await (const _ of other.batches()) {
          at.send(Buffer.from('x'), nobody);
          break;
        }
      })();
      other.send(Buffer.from('now'), other.local);
      await Promise.all([reading, answering]);
      assert.ok(at.fd >= 0);
      for (const { code } of errors) assert.equal(code, 'ECONNREFUSED');
    }));

  it('does not spin while errors come that nobody listens for', () =>
    onLoopback(async (namespace) => {
      await using socket = openUdp({ namespace });
      const waiting = socket.batches().next();
      for (let i = 0; i < 200; i++) socket.send(Buffer.from('x'), new Endpoint('127.0.0.1', 9));
      await new Promise((resolve) => setImmediate(resolve));
      await new Promise((resolve) => setImmediate(resolve));
      const { user, system } = process.cpuUsage();
      await new Promise((resolve) => setTimeout(resolve, 200));
      const used = process.cpuUsage({ user, system });
      assert.ok(used.user + used.system < 100_000, `${used.user + used.system} us of 200 ms`);
      await socket.close();
      await waiting;
    }));

  it('counts what the kernel dropped since nobody read', () =>
    onLoopback(async (namespace) => {
      await using at = openUdp({ namespace, receiveBuffer: 20_000, gro: false });
      await using from = openUdp({ namespace });
      const to = new Endpoint('127.0.0.1', at.local.port);
      const sent = from.writeBatch(numbered(Array<number>(200).fill(1000)), to);
      assert.equal(sent, 200);
      const reader = at.batches();
      await reader.next();
      // The count comes with the next datagram that is queued.
      from.send(Buffer.from('last'), to);
      await reader.next();
      const { packetsRead, dropped } = at.counters;
      assert.ok(dropped > 0);
      assert.equal(packetsRead + dropped, 201);
    }));

  for (const gso of [true, false]) {
    it(`stops where the queue is full, and goes on after drain with nothing lost or doubled, gso ${gso}`, () =>
      onVeth(1500, async (a, b) => {
        await shell(b, 'ip addr add 192.0.2.3/32 dev veth0; ip link set veth0 arp off');
        await using socket = openUdp({ namespace: a, sendBuffer: 10_000, gso });
        await using at = openUdp({ namespace: b, port: 7000, receiveBuffer: 4 << 20 });
        const batch = numbered(Array.from({ length: 200 }, (_, i) => 1000 + (i % 7 === 0 ? 1 : 0)));
        const to = new Endpoint('192.0.2.3', 7000);
        // Until its link-layer address is known, what is for the host waits, and counts against the socket.
        let taken = socket.writeBatch(batch, to);
        assert.ok(taken < batch.length);
        assert.equal(batch.firstUnsent, taken);
        assert.equal(batch.status(taken), -11);
        assert.equal(socket.send(Buffer.from('x'), to), false);
        const reading = receive(at, batch.length);
        const drained = once(socket, 'drain');
        await shell(b, 'ip link set veth0 arp on');
        const mac = JSON.parse(await shell(b, 'ip -j link show veth0'))[0].address;
        await shell(a, `ip neigh replace 192.0.2.3 lladdr ${mac} dev veth0 nud permanent`);
        await drained;
        while (taken < batch.length) {
          const more = socket.writeBatch(batch, to, batch.firstUnsent);
          taken += more;
          if (taken < batch.length) await once(socket, 'drain');
        }
        assert.deepEqual(
          (await reading).map(({ bytes }) => bytes[0]),
          Array.from({ length: 200 }, (_, i) => i + 1),
        );
        assert.equal(socket.counters.packetsWritten, 200);
        assert.deepEqual(socket.counters.refused, {});
      }));
  }

  for (const errno of ['EIO', 'EINVAL', 'EMSGSIZE'] as const) {
    it(`sends packet by packet, none lost or doubled, where a run is refused with ${errno}`, () => {
      const { sent, got, segmentedSends, ...rest } = sendWithRefusedRuns(errno);
      assert.equal(sent, LENGTHS.length);
      assert.deepEqual(
        got,
        LENGTHS.map((_, i) => i + 1),
      );
      assert.deepEqual(rest.statuses, Array(LENGTHS.length).fill(0));
      assert.deepEqual([rest.gso, segmentedSends], [true, 0]);
    });
  }

  it('tells each packet of a run that is refused for another reason', () => {
    const { got, statuses, gso } = sendWithRefusedRuns('ENOBUFS');
    assert.deepEqual(got, [1, 6]);
    assert.deepEqual(statuses, [0, -105, -105, -105, -105, 0]);
    assert.equal(gso, true);
  });

  it('tells a filter’s refusal for each packet', () =>
    onLoopback(async (namespace) => {
      await shell(namespace, 'ip route add prohibit 198.51.100.0/24; ip route add blackhole 203.0.113.0/24');
      await using socket = openUdp({ namespace });
      const batch = new PacketBatch();
      for (let i = 0; i < 4; i++) batch.push(Buffer.from('x'));
      assert.equal(socket.writeBatch(batch, new Endpoint('198.51.100.1', 9)), 0);
      assert.deepEqual(
        [0, 1, 2, 3].map((i) => batch.status(i)),
        Array(4).fill(-13),
      );
      assert.equal(batch.firstUnsent, 4);
      assert.deepEqual(socket.counters.refused, { EACCES: 4 });
    }));
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PacketBatch } from 'tuntap-native';
import { DatagramTable, Endpoint, openUdp, type UdpOptions } from 'tuntap-native/tunnel';
import { shell } from '../device/traffic.ts';
import { code, fdsAtMost, itAsRoot, needs, openFds } from '../support.ts';
import { numbered, onLoopback, onVeth, receive } from './sockets.ts';

describe('UdpBatchSocket: options', () => {
  before(function () {
    needs(this, 'ip', 'ss', 'tcpdump');
  });

  for (const [address, filter] of [
    ['192.0.2.2', 'ip and udp'],
    ['2001:db8::2', 'ip6 and udp'],
  ]) {
    it(`sends TOS and ECN as tcpdump sees them, and tells those received: to ${address}`, () =>
      onVeth(1500, async (a, b) => {
        await using socket = openUdp({ namespace: a, tos: 0xb8 });
        await using at = openUdp({ namespace: b, receiveTos: true, port: 9000 });
        const dump = b.spawn('tcpdump', ['-i', 'veth0', '-nvl', '-c', '3', filter], {
          stdio: ['ignore', 'pipe', 'pipe'],
        });
        let shown = '';
        dump.stdout?.on('data', (data) => {
          shown += data;
        });
        await once(dump.stderr as NodeJS.EventEmitter, 'data');
        const table = new DatagramTable(3);
        for (let i = 0; i < 3; i++) table.setRemote(i, new Endpoint(address, 9000));
        table.setTos(1, 0x03);
        table.setTos(2, 0x03);
        table.setTos(2, -1);
        assert.equal(socket.writeBatch(numbered([4, 4, 4]), table), 3);
        const seen: number[] = [];
        for await (const batch of at.batches()) {
          for (let i = 0; i < batch.length; i++) seen.push(at.received.tos(i));
          if (seen.length === 3) break;
        }
        assert.deepEqual(seen, [0xb8, 0x03, 0xb8]);
        await once(dump, 'close');
        const marks = [...shown.matchAll(/(?:tos|class) (0x[0-9a-f]+)/g)].map(([, tos]) => Number(tos));
        assert.deepEqual(marks, [0xb8, 0x03, 0xb8]);
      }));
  }

  it('tells which address and link a datagram came to, and sends from the address that is asked for', () =>
    onLoopback(async (namespace) => {
      await shell(namespace, 'ip addr add 2001:db8::5/128 dev lo nodad');
      await using at = openUdp({ namespace, packetInfo: true });
      await using from = openUdp({ namespace });
      for (const [to, source] of [
        ['127.0.0.9', '127.0.0.4'],
        ['2001:db8::5', '2001:db8::5'],
      ]) {
        const table = new DatagramTable(1);
        table.setRemote(0, new Endpoint(to, at.local.port));
        table.setLocalAddress(0, source);
        assert.equal(from.writeBatch(numbered([1]), table), 1);
        for await (const _ of at.batches()) break;
        assert.equal(at.received.localAddress(0), to);
        assert.equal(at.received.interfaceIndex(0), 1);
        assert.equal(at.received.remote(0)?.address, source);
      }
      const table = new DatagramTable(1);
      table.setRemote(0, new Endpoint('127.0.0.1', 9));
      table.setLocalAddress(0, '192.0.2.77');
      const batch = numbered([1]);
      assert.equal(from.writeBatch(batch, table), 0);
      assert.notEqual(batch.status(0), 0);
    }));

  itAsRoot('changes the mark of an open socket as ss shows it', () =>
    onLoopback(async (namespace) => {
      await using socket = openUdp({ namespace, address: '127.0.0.1', port: 4321 });
      for (const mark of [0xbeef, 0xffffffff, 0]) {
        socket.setMark(mark);
        const [, shown = '0'] =
          /fwmark:(0x[0-9a-f]+)/.exec(await shell(namespace, 'ss -nuaem sport = 4321')) ?? [];
        assert.equal(Number(shown), mark);
      }
      for (const mark of [-1, 0x100000000])
        assert.throws(() => socket.setMark(mark), { code: 'ERR_OUT_OF_RANGE' });
    }),
  );

  itAsRoot('sets mark, device, buffers and the fd as ss shows them', () =>
    onLoopback(async (namespace) => {
      const options = { mark: 0xbeef, device: 'lo', receiveBuffer: 9_000_000, sendBuffer: 8_000_000 };
      await using socket = openUdp({ namespace, address: '127.0.0.1', port: 4321, ...options });
      const shown = await shell(namespace, 'ss -nuaem sport = 4321');
      assert.match(shown, /fwmark:0xbeef/);
      assert.match(shown, /127\.0\.0\.1%lo:4321/);
      // Beyond rmem_max and wmem_max; the kernel doubles both.
      assert.match(shown, /rb18000000/);
      assert.match(shown, /tb16000000/);
      assert.equal(socket.receiveBuffer, 18_000_000);
      assert.equal(socket.sendBuffer, 16_000_000);
    }),
  );

  it('never fragments with dontFragment, and learns the path MTU', () =>
    onVeth(1500, async (a, b) => {
      // The way to 198.51.100.1 leads through b, whose own link is narrower.
      await shell(
        b,
        'ip link add narrow mtu 1300 type veth peer name far mtu 1300; ip link set narrow up; ip link set far up; ip addr add 198.51.100.2/24 dev narrow; sysctl -qw net.ipv4.ip_forward=1',
      );
      await shell(a, 'ip route add 198.51.100.0/24 via 192.0.2.2');
      await using socket = openUdp({
        namespace: a,
        dontFragment: true,
        remote: new Endpoint('198.51.100.1', 9),
      });
      assert.equal(socket.pathMtu, 1500);
      const reported = once(socket, 'icmpError');
      assert.equal(socket.writeBatch(numbered([1400])), 1);
      // Somebody must listen, or nothing learns of readiness.
      const waiting = socket.batches().next();
      const [error] = await reported;
      assert.deepEqual(
        [error.code, error.origin, error.offender, error.mtu, String(error.remote)],
        ['EMSGSIZE', 'icmp', '192.0.2.2', 1300, '198.51.100.1:9'],
      );
      assert.equal(socket.pathMtu, 1300);
      const batch = numbered([1400, 1272, 1273, 20]);
      assert.equal(socket.writeBatch(batch), 2);
      assert.deepEqual(
        [0, 1, 2, 3].map((i) => batch.status(i)),
        [-90, 0, -90, 0],
      );
      assert.equal(
        code(() => socket.send(Buffer.alloc(1400))),
        'EMSGSIZE',
      );
      await socket.close();
      await waiting;
    }));

  it('fragments without dontFragment, packet by packet where a run exceeds the MTU', () =>
    onVeth(1280, async (a, b) => {
      for (const address of ['192.0.2.2', '2001:db8::2']) {
        await using socket = openUdp({ namespace: a });
        await using at = openUdp({ namespace: b, gro: false });
        const batch = numbered([...Array<number>(20).fill(1400), 30, 1000, 1000]);
        assert.equal(socket.writeBatch(batch, new Endpoint(address, at.local.port)), 23);
        const got = await receive(at, 23);
        assert.deepEqual(
          got.map(({ bytes }) => bytes),
          [...batch].map((bytes) => Buffer.from(bytes)),
        );
        assert.deepEqual([socket.counters.segmentedSends, socket.offloads.gso], [1, true]);
      }
    }));

  it('sends with dontFragment "probe" what the link takes though the path MTU be smaller', () =>
    onVeth(1500, async (a) => {
      await shell(a, 'ip route add 198.51.100.0/24 via 192.0.2.2 mtu 1300');
      const remote = new Endpoint('198.51.100.1', 9);
      await using strict = openUdp({ namespace: a, dontFragment: true });
      await using probing = openUdp({ namespace: a, dontFragment: 'probe' });
      assert.equal(
        code(() => strict.send(Buffer.alloc(1400), remote)),
        'EMSGSIZE',
      );
      assert.equal(probing.send(Buffer.alloc(1472), remote), true);
      assert.equal(
        code(() => probing.send(Buffer.alloc(1473), remote)),
        'EMSGSIZE',
      );
    }));

  it('leaves IPv4 alone with ipv6Only, and shares a port with reusePort', () =>
    onLoopback(async (namespace) => {
      await using six = openUdp({ namespace, address: '::', ipv6Only: true, port: 7000, reusePort: true });
      await using four = openUdp({ namespace, address: '0.0.0.0', port: 7000 });
      await using shared = openUdp({ namespace, address: '::', ipv6Only: true, port: 7000, reusePort: true });
      assert.deepEqual(
        [six, four, shared].map(({ family }) => family),
        [6, 4, 6],
      );
      assert.equal(
        code(() => openUdp({ namespace, address: '127.0.0.1', port: 7000 })),
        'EADDRINUSE',
      );
      assert.equal(
        code(() => six.send(Buffer.from('x'), new Endpoint('127.0.0.1', 9))),
        'ERR_INVALID_ARG_VALUE',
      );
      assert.equal(
        code(() => four.send(Buffer.from('x'), new Endpoint('::1', 9))),
        'ERR_INVALID_ARG_VALUE',
      );
    }));

  it('cuts datagrams longer than maxDatagramSize and flags them, coalesced or not', () =>
    onLoopback(async (namespace) => {
      await using at = openUdp({ namespace, maxDatagramSize: 100 });
      await using from = openUdp({ namespace });
      const lengths = [99, 100, 101, 5000, 3, ...Array<number>(8).fill(200)];
      from.writeBatch(numbered(lengths), new Endpoint('127.0.0.1', at.local.port));
      const seen: [number, boolean][] = [];
      for await (const batch of at.batches()) {
        for (let i = 0; i < batch.length; i++) {
          seen.push([batch.at(i).length, at.received.truncated(i)]);
          assert.ok(batch.at(i).every((byte) => byte === seen.length));
        }
        if (seen.length === lengths.length) break;
      }
      assert.deepEqual(
        seen,
        lengths.map((length) => [Math.min(length, 100), length > 100]),
      );
    }));

  it('opens in the namespace asked for, and leaves no fd behind when it fails', () =>
    onLoopback(async (namespace) => {
      await using here = openUdp({ namespace, address: '127.0.0.1', port: 6543 });
      assert.match(await shell(namespace, 'ss -nua'), /127\.0\.0\.1:6543/);
      assert.equal(String(here.local), '127.0.0.1:6543');
      const before = openFds();
      assert.equal(
        code(() => openUdp({ namespace, address: '192.0.2.99' })),
        'EADDRNOTAVAIL',
      );
      assert.equal(
        code(() => openUdp({ namespace, device: 'nothere' })),
        'ENODEV',
      );
      assert.equal(
        code(() => openUdp({ namespace, remote: new Endpoint('198.51.100.1', 1) })),
        'ENETUNREACH',
      );
      await fdsAtMost(before);
    }));

  it('refuses bad options and arguments before anything is opened or sent', () =>
    onLoopback(async (namespace) => {
      const before = openFds();
      const bad: [unknown, string][] = [
        [null, 'ERR_INVALID_ARG_TYPE'],
        [{ address: 'localhost' }, 'ERR_INVALID_ARG_VALUE'],
        [{ address: 'fe80::1%eth0' }, 'ERR_INVALID_ARG_VALUE'],
        [{ port: 65536 }, 'ERR_OUT_OF_RANGE'],
        [{ port: '80' }, 'ERR_INVALID_ARG_TYPE'],
        [{ remote: { address: '127.0.0.1', port: 1 } }, 'ERR_INVALID_ARG_TYPE'],
        [{ tos: 256 }, 'ERR_OUT_OF_RANGE'],
        [{ mark: -1 }, 'ERR_OUT_OF_RANGE'],
        [{ gso: 1 }, 'ERR_INVALID_ARG_TYPE'],
        [{ dontFragment: 'maybe' }, 'ERR_INVALID_ARG_TYPE'],
        [{ device: 'a name that is too long' }, 'ERR_INVALID_ARG_VALUE'],
        [{ maxDatagramSize: 0 }, 'ERR_OUT_OF_RANGE'],
        [{ receiveBuffer: 2 ** 31 }, 'ERR_OUT_OF_RANGE'],
        [{ headroom: 4097 }, 'ERR_OUT_OF_RANGE'],
        [{ tailroom: Number.NaN }, 'ERR_OUT_OF_RANGE'],
        [{ signal: {} }, 'ERR_INVALID_ARG_TYPE'],
      ];
      for (const [options, expected] of bad) {
        assert.equal(
          code(() => openUdp(options as UdpOptions)),
          expected,
          JSON.stringify(options),
        );
      }
      await fdsAtMost(before);
      await using socket = openUdp({ namespace });
      const batch = numbered([1, 2]);
      const to = new Endpoint('127.0.0.1', 9);
      for (const [act, expected] of [
        [() => socket.writeBatch(batch), 'ERR_INVALID_ARG_TYPE'],
        [() => socket.writeBatch([] as unknown as PacketBatch, to), 'ERR_INVALID_ARG_TYPE'],
        [() => socket.writeBatch(batch, to, 3), 'ERR_OUT_OF_RANGE'],
        [() => socket.writeBatch(numbered([1, 2, 3]), new DatagramTable(2)), 'ERR_OUT_OF_RANGE'],
        [() => socket.writeBatch(batch, new Endpoint('127.0.0.1', 0)), 'ERR_OUT_OF_RANGE'],
        [() => socket.send('x' as unknown as Buffer, to), 'ERR_INVALID_ARG_TYPE'],
        [() => socket.send(Buffer.from('x')), 'ERR_INVALID_ARG_TYPE'],
        [() => socket.pathMtu, 'ENOTCONN'],
      ] as const) {
        assert.equal(code(act), expected);
      }
      // An entry without a remote is that packet's affair.
      const table = new DatagramTable(2);
      table.setRemote(1, to);
      assert.equal(socket.writeBatch(batch, table), 1);
      assert.equal(batch.status(0), -89);
      assert.equal(socket.counters.packetsWritten, 1);
    }));

  it('ignores what a batch’s memory was made to say', () =>
    onLoopback(async (namespace) => {
      await using socket = openUdp({ namespace });
      const batch = new PacketBatch({ capacity: 4 });
      batch.push(Buffer.from('ab'));
      batch.push(Buffer.from('cd'));
      const words = new Int32Array(batch.at(0).buffer, 0, 8 + 4 * 4);
      words[8] = 0x7fffffff;
      words[12 + 1] = -1;
      assert.equal(socket.writeBatch(batch, new Endpoint('127.0.0.1', 9)), 0);
      assert.deepEqual([batch.status(0), batch.status(1)], [-14, -14]);
    }));
});

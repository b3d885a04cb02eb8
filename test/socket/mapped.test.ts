import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { NetworkNamespace } from 'tuntap-native';
import { DatagramTable, Endpoint, openUdp, type UdpBatchSocket, type UdpOptions } from 'tuntap-native/tunnel';
import { shell } from '../device/traffic.ts';
import { code, needs, nodeProgram } from '../support.ts';
import { numbered, onLoopback, onVeth } from './sockets.ts';

// RFC 4291, 2.5.5.2.
const SPELLINGS = [
  '::ffff:127.0.0.1',
  '::FFFF:127.0.0.1',
  '::ffff:7f00:1',
  '::FfFf:7F00:0001',
  '0:0:0:0:0:ffff:127.0.0.1',
  '0000:0000:0000:0000:0000:ffff:7f00:0001',
  '0::ffff:127.0.0.1',
];

describe('an IPv4-mapped address', () => {
  before(function () {
    needs(this, 'ip');
  });

  for (const spelling of SPELLINGS) {
    it(`${spelling} is the IPv4 address`, () => {
      const plain = new Endpoint('127.0.0.1', 5000);
      const mapped = new Endpoint(spelling, 5000);
      assert.deepEqual([mapped.family, mapped.address, String(mapped)], [4, '127.0.0.1', '127.0.0.1:5000']);
      assert.ok(mapped.equals(plain) && plain.equals(mapped));
      const table = new DatagramTable(2);
      table.setRemote(0, mapped);
      table.setRemote(1, plain);
      assert.deepEqual([table.family(0), table.port(0), table.addressWord(0)], [4, 5000, 0x7f000001]);
      assert.ok(table.isRemote(0, plain) && table.isRemote(1, mapped) && table.sameRemote(0, 1));
      assert.equal(String(table.remote(0)), '127.0.0.1:5000');
      table.setLocalAddress(0, spelling);
      assert.equal(table.localAddress(0), '127.0.0.1');
    });
  }

  it('with a zone is refused, as an IPv4 address with one is; addresses beside them are IPv6', () => {
    for (const address of ['::ffff:192.0.2.1%3', '192.0.2.1%3']) {
      assert.equal(
        code(() => new Endpoint(address, 1)),
        'ERR_INVALID_ARG_VALUE',
      );
    }
    for (const address of ['::192.0.2.1', '::fffe:192.0.2.1', '64:ff9b::192.0.2.1', '1::ffff:192.0.2.1']) {
      assert.equal(new Endpoint(address, 1).family, 6);
    }
  });

  for (const local of [undefined, '0.0.0.0', '::ffff:0.0.0.0', '::']) {
    it(`is sent to with TOS and from a local address, and is whom datagrams come from: ${local}`, () =>
      onLoopback(async (namespace) => {
        await using at = openUdp({ namespace, address: local, receiveTos: true });
        await using from = openUdp({ namespace, address: local });
        const remote = new Endpoint('::ffff:127.0.0.1', at.local.port);
        const table = new DatagramTable(1);
        table.setRemote(0, remote);
        table.setTos(0, 0xb9);
        table.setLocalAddress(0, '::ffff:127.0.0.5');
        assert.equal(from.writeBatch(numbered([1]), table), 1);
        for await (const _ of at.batches()) break;
        const { received } = at;
        assert.equal(received.tos(0), 0xb9);
        assert.ok(received.isRemote(0, new Endpoint('::ffff:127.0.0.5', from.local.port)));
        assert.ok(received.remote(0)?.equals(new Endpoint('127.0.0.5', from.local.port)));
      }));

    it(`that a socket is connected to gets TOS, local address and link of an entry without remote: ${local}`, () =>
      onLoopback(async (namespace) => {
        await using at = openUdp({ namespace, receiveTos: true, packetInfo: true });
        for (const address of ['::ffff:127.0.0.1', '127.0.0.1']) {
          const remote = new Endpoint(address, at.local.port);
          await using from = openUdp({ namespace, address: local, remote });
          assert.ok(from.remote?.equals(new Endpoint('127.0.0.1', at.local.port)));
          for (const [tos, source, link] of [
            [0xb9, undefined, 0],
            [0x03, undefined, 1],
            [0x03, '127.0.0.6', 0],
            [-1, '::ffff:127.0.0.7', 1],
          ] as const) {
            const table = new DatagramTable(1);
            table.setTos(0, tos);
            table.setLocalAddress(0, source);
            table.setInterfaceIndex(0, link);
            const batch = numbered([1]);
            assert.equal(from.writeBatch(batch, table), 1, `status ${batch.status(0)}`);
            for await (const _ of at.batches()) break;
            assert.equal(at.received.tos(0), Math.max(tos, 0));
          }
        }
      }));
  }

  it('an IPv6 peer gets those of an entry without remote, too', () =>
    onVeth(1500, async (a, b) => {
      await using at = openUdp({ namespace: b, receiveTos: true });
      await using from = openUdp({ namespace: a });
      // Connected to one family after the other.
      for (const address of ['2001:db8::2', '192.0.2.2', '2001:db8::2']) {
        from.connect(new Endpoint(address, at.local.port));
        const table = new DatagramTable(1);
        table.setTos(0, 0x2e);
        table.setInterfaceIndex(0, 2);
        const batch = numbered([1]);
        assert.equal(from.writeBatch(batch, table), 1, `status ${batch.status(0)}`);
        for await (const _ of at.batches()) break;
        assert.equal(at.received.tos(0), 0x2e);
      }
    }));

  it('opens an IPv4 socket, as local address and as remote', () =>
    onLoopback(async (namespace) => {
      const options: [UdpOptions, string][] = [
        [{ address: '::ffff:127.0.0.1' }, '127.0.0.1'],
        [{ address: '::ffff:7f00:0002' }, '127.0.0.2'],
        [{ remote: new Endpoint('::ffff:127.0.0.1', 9) }, '127.0.0.1'],
      ];
      for (const [option, address] of options) {
        await using socket = openUdp({ namespace, ...option });
        assert.deepEqual([socket.family, socket.local.family, socket.local.address], [4, 4, address]);
      }
    }));

  it('is refused by a socket for IPv6 alone', () =>
    onLoopback(async (namespace) => {
      await using socket = openUdp({ namespace, ipv6Only: true });
      const remote = new Endpoint('::ffff:127.0.0.1', 9);
      for (const act of [
        () => socket.writeBatch(numbered([1]), remote),
        () => socket.send(Buffer.of(1), remote),
        () => socket.connect(remote),
      ]) {
        assert.equal(code(act), 'ERR_INVALID_ARG_VALUE');
      }
    }));

  it('is whom an ICMP error is about', () =>
    onLoopback(async (namespace) => {
      await using socket = openUdp({ namespace });
      const remote = new Endpoint('::ffff:127.0.0.1', 9);
      const error = once(socket, 'icmpError');
      socket
        .batches()
        .next()
        .catch(() => {});
      socket.send(Buffer.of(1), remote);
      const [{ remote: about, offender }] = await error;
      assert.ok(about.equals(remote));
      assert.equal(offender, '127.0.0.1');
    }));
});

describe('a datagram to a group', () => {
  before(function () {
    needs(this, 'ip');
  });

  /** Sends a datagram to a broadcast or multicast address from a process in the namespace, and waits for an echo. */
  async function echoOf(namespace: NetworkNamespace, to: string, port: number): Promise<string> {
    const [program, ...args] = nodeProgram(`
      import { createSocket } from 'node:dgram';
      const socket = createSocket('${to.includes(':') ? 'udp6' : 'udp4'}');
      socket.bind(0, () => {
        socket.setBroadcast(true);
        ${to.startsWith('239') ? "socket.setMulticastInterface('127.0.0.1');" : ''}
        socket.send('hello', ${port}, '${to}');
      });
      socket.on('message', (message, { address }) => {
        console.log(message + ' from ' + address);
        socket.close();
      });`);
    const child = namespace.spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const [text] = await once(child.stdout as NodeJS.ReadableStream, 'data');
    return String(text).trim();
  }

  /** Makes a socket a member of an IPv4 group: an IPv6 socket gets no other groups. */
  async function join(
    namespace: NetworkNamespace,
    { fd, family }: UdpBatchSocket,
    group: string,
  ): Promise<void> {
    const [program, ...args] = nodeProgram(`
      import { createSocket } from 'node:dgram';
      const socket = createSocket('udp${family}');
      socket.bind({ fd: 3 }, () => {
        socket.addMembership('${group}', '127.0.0.1');
        process.exit();
      });`);
    const child = namespace.spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', fd] });
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  }

  /** Echoes one datagram; returns the local address that it came with. */
  async function echo(socket: UdpBatchSocket): Promise<string | undefined> {
    for await (const batch of socket.batches()) {
      assert.equal(socket.writeBatch(batch, socket.received), 1, `status ${batch.status(0)}`);
      break;
    }
    return socket.received.localAddress(0);
  }

  for (const to of ['127.255.255.255', '127.0.0.1', '239.1.2.3']) {
    for (const address of ['0.0.0.0', '::', undefined]) {
      it(`to ${to} has a local address on ${address} that an echo can leave from`, () =>
        onLoopback(async (namespace) => {
          await using socket = openUdp({ namespace, address, packetInfo: true });
          if (to.startsWith('239')) await join(namespace, socket, to);
          const answer = echoOf(namespace, to, socket.local.port);
          assert.equal(await echo(socket), '127.0.0.1');
          assert.equal(socket.received.interfaceIndex(0), 1);
          assert.equal(await answer, 'hello from 127.0.0.1');
        }));
    }
  }

  for (const to of ['192.0.2.255', '255.255.255.255', 'ff02::1%veth0', '2001:db8::1']) {
    it(`to ${to} over a link has one, or none, that an echo can leave from`, () =>
      onVeth(1500, async (a, b) => {
        for (const [namespace, host] of [
          [a, 1],
          [b, 2],
        ] as const) {
          await shell(
            namespace,
            `ip addr change 192.0.2.${host}/24 broadcast + dev veth0; ip route add 255.255.255.255 dev veth0`,
          );
        }
        await using socket = openUdp({ namespace: a, packetInfo: true });
        const answer = echoOf(b, to, socket.local.port);
        assert.equal(
          await echo(socket),
          to.includes('.') ? '192.0.2.1' : to.startsWith('ff') ? undefined : to,
        );
        assert.match(await answer, /^hello from /);
      }));
  }
});

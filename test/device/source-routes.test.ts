import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { NetworkNamespace, openTun, type TunDevice } from 'tuntap-native';
import { itAsRoot, needs, runFor } from '../support.ts';
import { startServer } from './routed-path.ts';
import { shell } from './traffic.ts';

const BYTES = 300_000;
const PORT = 7000;

// Both print what they did; Node has no sockets with IP options.
const SERVER = `
import hashlib, socket, sys
server = socket.create_server((sys.argv[1], ${PORT}), family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)
print('listening', flush=True)
connection, _ = server.accept()
received = b''
while True:
    part = connection.recv(1 << 20)
    if not part: break
    received += part
connection.sendall(hashlib.sha256(received).hexdigest().encode())
connection.close()
`;
const CLIENT = `
import random, socket, sys
address, level, option, value = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), bytes.fromhex(sys.argv[4])
client = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
client.settimeout(15)
client.setsockopt(level, option, value)
client.connect((address, ${PORT}))
client.sendall(bytes(i * 7 % 251 for i in range(${BYTES})))
client.shutdown(socket.SHUT_WR)
print(client.recv(100).decode())
`;
const IPPROTO_IP = 0;
const IP_OPTIONS = 4;
const IPPROTO_IPV6 = 41;
const IPV6_RTHDR = 57;

const expected = createHash('sha256')
  .update(Uint8Array.from({ length: BYTES }, (_, i) => (i * 7) % 251))
  .digest('hex');

// RFC 8754: two segments, the last one first; one is left. The kernel puts the socket's destination in its place.
const SEGMENTS = `000404010100000020010db8000900000000000000000009${'20010db8000000000000000000000002'}`;

const SYSCTLS = `
  nstat -n
  for i in all default; do
    echo 1 > /proc/sys/net/ipv4/conf/$i/accept_source_route
    echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter
    echo 1 > /proc/sys/net/ipv6/conf/$i/seg6_enabled
    echo 0 > /proc/sys/net/ipv6/conf/$i/accept_dad
  done
  echo 1 > /proc/sys/net/ipv4/ip_forward
  echo 1 > /proc/sys/net/ipv6/conf/all/forwarding`;

async function forward(from: TunDevice, to: TunDevice): Promise<void> {
  for await (const batch of from.batches()) to.writeBatch(batch);
}

describe('TCP with source routes through two TUN devices', () => {
  before(function () {
    needs(this, 'ip', 'nstat', 'python3');
  });

  // client == veth == left == the devices == right, which has 10.0.0.2, and 10.0.9.9 and 2001:db8:9::9 on top.
  for (const [name, address, level, option, value] of [
    ['loose, still to go', '10.0.9.9', IPPROTO_IP, IP_OPTIONS, '8307040a00000201'],
    ['loose, two still to go', '10.0.9.9', IPPROTO_IP, IP_OPTIONS, '830b040a0000020a00090801'],
    ['loose, at its end', '10.0.9.9', IPPROTO_IP, IP_OPTIONS, '8307040a00080101'],
    ['strict, half way', '10.0.9.9', IPPROTO_IP, IP_OPTIONS, '890b040a0008010a00000201'],
    ['segments', '2001:db8:9::9', IPPROTO_IPV6, IPV6_RTHDR, SEGMENTS],
  ] as const) {
    itAsRoot(`delivers what a socket sends on a route that is ${name}`, async () => {
      await using client = await NetworkNamespace.create();
      await using left = await NetworkNamespace.create();
      await using right = await NetworkNamespace.create();
      for (const namespace of [client, left, right]) await shell(namespace, SYSCTLS);
      await shell(
        client,
        `ip link add veth0 type veth peer name veth0 netns $OTHER
        ip addr add 10.0.8.2/24 dev veth0
        ip addr add 2001:db8:8::2/64 dev veth0
        ip link set veth0 up`,
        left,
      );
      await shell(
        left,
        `ip addr add 10.0.8.1/24 dev veth0
        ip addr add 2001:db8:8::1/64 dev veth0
        ip link set veth0 up`,
      );
      const options = { namespace: left, up: true, addresses: ['10.0.0.1/24', '2001:db8::1/64'] };
      await using a = openTun('dev0', options);
      await using b = openTun('dev0', {
        ...options,
        namespace: right,
        addresses: ['10.0.0.2/24', '2001:db8::2/64'],
      });
      await shell(client, 'ip route add default via 10.0.8.1; ip -6 route add default via 2001:db8:8::1');
      await shell(
        left,
        'ip route add 10.0.9.0/24 via 10.0.0.2; ip -6 route add 2001:db8:9::/64 via 2001:db8::2',
      );
      await shell(
        right,
        `ip route add 10.0.8.0/24 via 10.0.0.1; ip -6 route add 2001:db8:8::/64 via 2001:db8::1; ip link set lo up
        for i in 10.0.9.8/32 10.0.9.9/32 2001:db8:9::9/128; do ip addr add $i dev lo; done`,
      );
      void forward(a, b);
      void forward(b, a);
      await using _server = await startServer(right, 'python3', '-c', SERVER, address);
      const args = ['-c', CLIENT, address, `${level}`, `${option}`, value];
      const outcome = await runFor(20_000, client, 'python3', ...args);
      assert.equal(outcome.stdout.trim(), expected, outcome.stderr);
      const { kernel } = JSON.parse(await shell(right, 'nstat -asz --json'));
      assert.equal(kernel.TcpInCsumErrors, 0);
      assert.deepEqual([a.counters.malformed, b.counters.refused], [0, {}]);
      // The kernel gave super-packets, which were split.
      const [{ stats64 }] = JSON.parse(await shell(left, 'ip -j -s link show dev dev0'));
      assert.ok(stats64.tx.packets < a.counters.packetsRead);
    });
  }
});

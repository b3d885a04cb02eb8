/**
 * A path on which every checksum that the package made, or left to the kernel, is seen complete by somebody else:
 *
 *   client -- veth -- left [device] == this process == [device] right -- veth -- server
 *
 * tcpdump on the devices themselves would show sums that are not yet complete: what a device is read, and the
 * super-packets that are written to one, have theirs left to the receiver (CHECKSUM_PARTIAL). So the middle namespaces
 * forward, and the captures are behind them: the veth links have no offloads for what they send, so the kernel
 * segments there, and completes each checksum from what the package wrote into the virtio_net_hdr and the packet. What
 * the middle receives from them it merges (GRO), so that the devices are read super-packets that were forwarded; the
 * ends do not, since tcpdump would show the merged ones.
 *
 * With 802.1Q, a VLAN trunk lies between the devices.
 */

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { NetworkNamespace, type OffloadOption, PacketBatch, type TunTapDevice } from 'tuntap-native';
import { openUdp } from 'tuntap-native/tunnel';
import { sendAll } from '../socket/sockets.ts';
import { runFor } from '../support.ts';
import { KINDS, type Kind } from './super-packets.ts';
import { shell } from './traffic.ts';
import { openVlanTrunk, popTags, pushTags, TAG_LENGTH, type VlanTrunk } from './vlan-trunk.ts';

/** Of no protocol that tcpdump knows. */
export const PORT = 40_007;
export const SERVER = { 4: '198.51.100.2', 6: '2001:db8:3::2' } as const;
export const CLIENT = { 4: '192.0.2.2', 6: '2001:db8:1::2' } as const;

const UDP_TIMEOUT_MS = 10_000;

export interface RoutedPath extends AsyncDisposable {
  readonly client: NetworkNamespace;
  readonly server: NetworkNamespace;
  /** Where the left device is. */
  readonly leftNamespace: NetworkNamespace;
  readonly left: TunTapDevice;
  readonly right: TunTapDevice;
  readonly trunk: VlanTrunk | undefined;
  /** What the kernel itself found wrong since the path is open, by nstat and ip, in all namespaces. */
  errors(): Promise<Record<string, number>>;
}

// net/ipv4/proc.c, net/ipv6/proc.c
const ERRORS =
  /^(Ip|Ip6)(InHdrErrors|InTruncatedPkts|InDiscards|ReasmFails|FragFails)$|^(Tcp|Udp|Udp6|Icmp|Icmp6)(InCsumErrors|InErrs)$|RcvbufErrors$/;

export async function routedPath(kind: Kind, offload: OffloadOption = true): Promise<RoutedPath> {
  const [client, left, right, server] = await Promise.all(
    Array.from({ length: 4 }, () => NetworkNamespace.create()),
  );
  const trunk = kind === 'tap with 802.1Q' ? await openVlanTrunk(offload) : undefined;
  const namespaces = { client, left, right, server, ...(trunk && { trunk: trunk.namespace }) };
  // Duplicate address detection would hold back what is sent by IPv6 in the first second.
  for (const namespace of Object.values(namespaces)) {
    await shell(namespace, 'for i in all default; do echo 0 > /proc/sys/net/ipv6/conf/$i/accept_dad; done');
  }
  const open = KINDS[kind];
  const options = { up: true, txQueueLength: 10_000, offload, headroom: TAG_LENGTH };
  const a = open('dev0', { ...options, namespace: left });
  const b = open('dev0', { ...options, namespace: right });
  const close = async () => {
    await trunk?.[Symbol.asyncDispose]();
    await Promise.all([a, b, client, left, right, server].map((part) => part.close()));
  };
  const forward = async (from: TunTapDevice, to: TunTapDevice, change?: (batch: PacketBatch) => void) => {
    for await (const batch of from.batches()) {
      change?.(batch);
      // What a device has no room for is lost to it, and counted below.
      to.writeBatch(batch);
    }
  };
  if (trunk) {
    for (const [i, device] of [a, b].entries()) {
      void forward(device, trunk.ends[i], pushTags);
      void forward(trunk.ends[i], device, popTags);
    }
  } else {
    void forward(a, b);
    void forward(b, a);
  }

  const veth = 'tx off tso off gso off';
  const middle = (host: number, other: number, edge: number, far: number) => `
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    ethtool -K veth0 ${veth} gro on rx-udp-gro-forwarding on >/dev/null
    ip addr add ${edge === 1 ? '192.0.2' : '198.51.100'}.1/24 dev veth0
    ip addr add 2001:db8:${edge}::1/64 dev veth0 nodad
    ip addr add 203.0.113.${host}/24 dev dev0
    ip addr add 2001:db8:2::${host}/64 dev dev0 nodad
    ip link set veth0 up
    ip route add ${edge === 1 ? '198.51.100' : '192.0.2'}.0/24 via 203.0.113.${other}
    ip route add 2001:db8:${far}::/64 via 2001:db8:2::${other}`;
  const end = (version4: string, edge: number) => `
    ethtool -K veth0 ${veth} gro off >/dev/null
    ip addr add ${version4}.2/24 dev veth0
    ip addr add 2001:db8:${edge}::2/64 dev veth0 nodad
    ip link set veth0 up
    ip route add default via ${version4}.1
    ip route add default via 2001:db8:${edge}::1`;
  const errors = async () => {
    const found: Record<string, number> = {};
    for (const [name, namespace] of Object.entries(namespaces)) {
      const { kernel } = JSON.parse(await shell(namespace, 'nstat -asz --json'));
      for (const [counter, value] of Object.entries<number>(kernel)) {
        if (ERRORS.test(counter) && value !== 0) found[`${name}: ${counter}`] = value;
      }
      const links = JSON.parse(await shell(namespace, 'ip -j -s link')) as {
        ifname: string;
        stats64: Record<'rx' | 'tx', { errors: number; dropped: number }>;
      }[];
      for (const { ifname, stats64 } of links) {
        for (const way of ['rx', 'tx'] as const) {
          const { errors, dropped } = stats64[way];
          if (errors + dropped > 0) found[`${name}: ${ifname} ${way}`] = errors + dropped;
        }
      }
    }
    return found;
  };
  // The carrier comes before an end of a veth pair is up: what IPv6 sends to it by itself in between is dropped.
  let before: Record<string, number>;
  try {
    await shell(client, 'ip link add veth0 type veth peer name veth0 netns $OTHER', left);
    await shell(server, 'ip link add veth0 type veth peer name veth0 netns $OTHER', right);
    // One after the other: where routes are set, the way must be up.
    await shell(left, middle(1, 2, 1, 3));
    await shell(right, middle(2, 1, 3, 1));
    await shell(client, end('192.0.2', 1));
    await shell(server, end('198.51.100', 3));
    before = await errors();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    client,
    server,
    leftNamespace: left,
    left: a,
    right: b,
    trunk,
    async errors() {
      const now = Object.entries(await errors());
      return Object.fromEntries(now.filter(([name, count]) => count !== before[name]));
    },
    [Symbol.asyncDispose]: close,
  };
}

/** All packets that were read of one device were written to the other; the last ones, such as an ICMP error, a little later. */
export async function assertNothingLost({ left, right, trunk }: RoutedPath): Promise<void> {
  for (const { counters } of trunk?.ends ?? []) {
    assert.deepEqual([counters.refused, counters.malformed], [{}, 0]);
  }
  const ways = [
    [left, right],
    [right, left],
  ];
  const read = () => ways.map(([from]) => [from.counters.packetsRead, from.counters.bytesRead]);
  const written = () => ways.map(([, to]) => [to.counters.packetsWritten, to.counters.bytesWritten]);
  for (let i = 0; i < 100 && `${read()}` !== `${written()}`; i++) await delay(10);
  assert.deepEqual(written(), read());
  for (const { counters } of [left, right]) assert.deepEqual([counters.refused, counters.malformed], [{}, 0]);
}

/** A program of this folder that runs in a namespace, once it has printed something. */
export async function startServer(
  namespace: NetworkNamespace,
  command: string,
  ...args: string[]
): Promise<ChildProcess & AsyncDisposable> {
  const child = namespace.spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve, reject) => {
    child.stdout?.once('data', resolve);
    child.once('error', reject).once('close', () => reject(new Error(`${command} ended`)));
  });
  return Object.assign(child, {
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, 'close');
      child.kill();
      await closed;
    },
  });
}

/** Sends `bytes` by TCP in writes of each size to a server that gives them back. */
export async function tcpEcho(
  path: RoutedPath,
  version: 4 | 6,
  bytes: number,
  sizes: readonly number[],
): Promise<void> {
  const program = `${import.meta.dirname}/echo-peer.js`;
  await using _server = await startServer(path.server, process.execPath, program, SERVER[version]);
  const outcome = await runFor(
    20_000 + bytes / 10_000,
    path.client,
    process.execPath,
    program,
    SERVER[version],
    `${bytes}`,
    ...sizes.map(String),
  );
  assert.equal(outcome.status, 0, outcome.stderr);
  const echoed = outcome.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    echoed.map(({ size, equal }) => ({ size, equal })),
    sizes.map((size) => ({ size, equal: true })),
  );
}

/**
 * Sends runs of equal datagrams of each size to a socket that gives them back, and waits for them all: with a limit,
 * since one that the kernel drops for its checksum never comes.
 */
export async function udpEcho(
  path: RoutedPath,
  version: 4 | 6,
  rounds: number,
  sizes: readonly number[],
): Promise<void> {
  const buffers = { receiveBuffer: 8 << 20, sendBuffer: 8 << 20 };
  await using server = openUdp({ namespace: path.server, address: SERVER[version], port: PORT, ...buffers });
  await using client = openUdp({ namespace: path.client, address: CLIENT[version], ...buffers });
  const echo = (async () => {
    for await (const batch of server.batches()) await sendAll(server, batch, server.received);
  })();
  for (const size of sizes) {
    const count = Math.max(2, Math.min(60, Math.floor(200_000 / size)));
    for (let round = 0; round < rounds; round++) {
      const batch = new PacketBatch();
      for (let i = 0; i < count; i++) {
        const datagram = Buffer.alloc(size, i);
        if (size >= 4) datagram.writeUInt32BE(round);
        assert.ok(batch.push(datagram));
      }
      const expected = [...batch].map((datagram) => Buffer.from(datagram));
      await sendAll(client, batch, server.local);
      const received: Buffer[] = [];
      const late = setTimeout(() => client.close(), UDP_TIMEOUT_MS);
      for await (const back of client.batches()) {
        received.push(...[...back].map((datagram) => Buffer.from(datagram)));
        if (received.length >= count) break;
      }
      clearTimeout(late);
      assert.equal(received.length, count, `datagrams of ${size} bytes that came back`);
      // Each namespace forwards on whatever core is free, so order is nobody's promise.
      const sorted = (datagrams: Buffer[]) => datagrams.sort(Buffer.compare);
      assert.ok(Buffer.concat(sorted(received)).equals(Buffer.concat(sorted(expected))), `${size} bytes`);
    }
  }
  await server.close();
  await echo;
}

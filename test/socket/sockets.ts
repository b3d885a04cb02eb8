/** What the socket tests share. */

import { once } from 'node:events';
import { NetworkNamespace, PacketBatch } from 'tuntap-native';
import type { UdpBatchSocket } from 'tuntap-native/tunnel';
import { shell } from '../device/traffic.ts';

/** Runs a test's body in a namespace whose loopback is up. */
export async function onLoopback(body: (namespace: NetworkNamespace) => Promise<void>): Promise<void> {
  await using namespace = await NetworkNamespace.create();
  await shell(namespace, 'ip link set lo up');
  await body(namespace);
}

/** Runs a test's body with two namespaces joined by a veth pair: 192.0.2.1 and .2, 2001:db8::1 and ::2. */
export async function onVeth(
  mtu: number,
  body: (a: NetworkNamespace, b: NetworkNamespace) => Promise<void>,
): Promise<void> {
  await using a = await NetworkNamespace.create();
  await using b = await NetworkNamespace.create();
  await shell(a, `ip link add veth0 mtu ${mtu} type veth peer name veth0 mtu ${mtu} netns $OTHER`, b);
  for (const [namespace, host] of [
    [a, 1],
    [b, 2],
  ] as const) {
    await shell(
      namespace,
      `ip addr add 192.0.2.${host}/24 dev veth0
       ip addr add 2001:db8::${host}/64 dev veth0 nodad
       ip link set lo up
       ip link set veth0 up`,
    );
  }
  // Until the kernel has heard of its carrier, a link that is up drops what it is given.
  for (const namespace of [a, b]) {
    await shell(namespace, "until ip link show veth0 | grep -q 'state UP'; do sleep 0.01; done");
  }
  await body(a, b);
}

/** A batch of packets, each filled with its number, of these lengths. */
export function numbered(lengths: readonly number[], batch = new PacketBatch()): PacketBatch {
  lengths.forEach((length, i) => {
    if (!batch.push(Buffer.alloc(length, i + 1))) throw new Error('the batch is full');
  });
  return batch;
}

/** What a socket received: copies. */
export interface Received {
  readonly bytes: Buffer;
  readonly from: string;
}

/** Reads a socket until it has `count` datagrams. */
export async function receive(socket: UdpBatchSocket, count: number): Promise<Received[]> {
  const received: Received[] = [];
  for await (const batch of socket.batches()) {
    for (let i = 0; i < batch.length; i++) {
      received.push({ bytes: Buffer.from(batch.at(i)), from: String(socket.received.remote(i)) });
    }
    if (received.length >= count) break;
  }
  return received;
}

/** Sends a whole batch, however often the kernel's queue is full. */
export async function sendAll(
  socket: UdpBatchSocket,
  batch: PacketBatch,
  remote?: Parameters<UdpBatchSocket['writeBatch']>[1],
): Promise<void> {
  for (let start = 0; ; start = batch.firstUnsent) {
    socket.writeBatch(batch, remote, start);
    if (batch.firstUnsent === batch.length) return;
    await once(socket, 'drain');
  }
}

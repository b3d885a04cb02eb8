/**
 * Run by offload-faults.test.ts with faulty-kernel.c preloaded: writes two batches of 60 packets of TCP, then 60 of
 * UDP, over a wire into a device without offloads and one that splits, and tells what became of them.
 */

import { NetworkNamespace, openTun, PacketBatch } from 'tuntap-native';
import { hex, lastPacket, ordinaryPacket, packetsToLast, pattern, silence, wire } from './super-packets.ts';
import { shell } from './traffic.ts';

const packets = Array.from({ length: 120 }, (_, i) =>
  ordinaryPacket({
    udp: i >= 60,
    payload: pattern(1000, i),
    tcp: { sequenceNumber: 1000 * (i + 1) },
    identification: i,
  }),
);

const namespace = await NetworkNamespace.create();
try {
  await silence(namespace);
  const options = { namespace, up: true, txQueueLength: 5000 };
  await using sender = openTun('tun0', options);
  await using device = openTun('tun1', { ...options, offload: false });
  await using splitting = openTun('tun2', options);
  await wire(namespace, sender, device, splitting);
  const read = Promise.all([packetsToLast(device), packetsToLast(splitting)]);
  const sent: number[] = [];
  const statuses: number[] = [];
  for (const half of [packets.slice(0, 30), packets.slice(30, 90), packets.slice(90)]) {
    const batch = new PacketBatch();
    for (const packet of half) batch.push(packet);
    sent.push(sender.writeBatch(batch));
    statuses.push(...half.map((_, i) => batch.status(i)));
  }
  const [{ stats64 }] = JSON.parse(await shell(namespace, 'ip -j -s link show dev tun0'));
  // The kernel can't be asked to refuse this one: it is no super-packet, and comes when FAIL_COUNT is used up.
  sender.write(lastPacket('tun'));
  const [arrived, split] = await read;
  const written = hex(packets);
  console.log(
    JSON.stringify({
      sent,
      refused: sender.counters.refused,
      statuses: [...new Set(statuses)],
      lost: written.filter((packet) => !hex(arrived).includes(packet)).length,
      inOrder: hex(arrived).join() === written.filter((_, i) => statuses[i] === 0).join(),
      writes: stats64.rx.packets,
      split: split.length,
      malformed: splitting.counters.malformed,
    }),
  );
} finally {
  await namespace.close();
}

/**
 * Run by resumed-writes.test.ts with faulty-kernel.c preloaded: writes segments of a few TCP flows, in a random order,
 * into a device that has no offloads, and tells how often each arrived and what became of its write.
 */

import { once } from 'node:events';
import { NetworkNamespace, openTun, PacketBatch } from 'tuntap-native';
import { seededRandom } from '../packet/random.ts';
import { hex, lastPacket, ordinaryPacket, packetsToLast, pattern, silence, wire } from './super-packets.ts';
import { write } from './traffic.ts';

const [, , how, seed, flows, count, order] = process.argv;

const packets = Array.from({ length: Number(count) }, (_, i) => {
  const flow = i % Number(flows);
  const segment = Math.floor(i / Number(flows));
  return ordinaryPacket({
    payload: pattern(500, i),
    sourcePort: 5000 + flow,
    tcp: { sequenceNumber: 1000 + 500 * segment },
    identification: segment,
  });
});
if (order === 'reversed') packets.reverse();
if (order === 'random') {
  const random = seededRandom(Number(seed));
  for (let i = packets.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [packets[i], packets[j]] = [packets[j], packets[i]];
  }
}

const namespace = await NetworkNamespace.create();
try {
  await silence(namespace);
  const options = { namespace, up: true, txQueueLength: 5000 };
  await using sender = openTun('tun0', options);
  await using other = openTun('tun1', options);
  await using device = openTun('tun2', { ...options, offload: false });
  await wire(namespace, sender, device);
  await wire(namespace, other, device);
  const read = packetsToLast(device);
  const statuses: number[] = [];
  if (how === 'stream') {
    for (const packet of packets) if (!sender.write(packet)) await once(sender, 'drain');
    await new Promise((resolve) => sender.write(packets[0], resolve));
  } else if (how === 'listener') {
    // Another device reads them, and its listener writes them as they come.
    await using origin = openTun('tun3', { ...options, offload: false });
    await using reader = openTun('tun4', options);
    await wire(namespace, origin, reader);
    const all = new Promise<void>((resolve) => {
      let left = packets.length;
      reader.on('data', (packet: Buffer) => {
        sender.write(packet);
        if (--left === 0) resolve();
      });
    });
    for (const packet of packets) origin.write(packet);
    await all;
    // Behind what waits.
    await new Promise((resolve) => sender.write(packets[0], resolve));
  } else {
    const batch = new PacketBatch();
    for (const packet of packets) batch.push(packet);
    sender.writeBatch(batch);
    if (how === 'other') {
      // Another device knows nothing of what the first one has sent, and takes the same packets.
      other.writeBatch(batch, 1);
    } else {
      for (let start = batch.firstUnsent; start < batch.length; start = batch.firstUnsent) {
        await once(sender, 'drain');
        sender.writeBatch(batch, start);
      }
      if (how === 'twice') sender.writeBatch(batch);
    }
    statuses.push(...packets.map((_, i) => batch.status(i)));
  }
  while (await write(other, lastPacket('tun'))) {
    // What is left of the plan may refuse it.
  }
  const arrived = hex(await read);
  console.log(
    JSON.stringify({
      statuses,
      arrivals: hex(packets).map((packet) => arrived.filter((other) => other === packet).length),
      strangers: arrived.filter((packet) => !hex(packets).includes(packet)).length,
      refused: sender.counters.refused,
    }),
  );
} finally {
  await namespace.close();
}

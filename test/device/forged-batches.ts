/**
 * Run by forged-batches.test.ts: overwrites a word of a batch's header while packets of a super-packet wait that the
 * batch had no room for, and tells what the reader got. A process of its own, since the thread may hang.
 */

import { once } from 'node:events';
import { setImmediate as nextRound } from 'node:timers/promises';
import { NetworkNamespace, openTun, type TunDevice } from 'tuntap-native';
import { HEADER, lastPacket, pattern, silence, unfinishedPacket, wire } from './super-packets.ts';

const [, , how, word, value] = process.argv;

function forge(bytes: Uint8Array): void {
  new Uint32Array(bytes.buffer, 0, 8)[Number(word)] = Number(value);
}

const PACKETS = 3000;

/** Reads until all packets are there, or an error. */
async function readBatches(device: TunDevice): Promise<number> {
  let packets = 0;
  const iterator = device.batches();
  while (packets < PACKETS) {
    const turn = iterator.next();
    if (how === 'waiting' && packets > 0) forge(last);
    const { value: batch } = await turn;
    packets += batch.length;
    last = batch.at(0);
    if (how === 'batches') forge(last);
  }
  return packets;
}
let last: Uint8Array = new Uint8Array();

/** Reads a small packet, whose batch has room for more, and then all. */
async function readStream(device: TunDevice): Promise<number> {
  let packets = 0;
  device.on('data', (packet: Buffer) => {
    forge(packet);
    if (packets++ === 0) sender.write(superPacket);
    if (packets > PACKETS) device.emit('enough');
  });
  sender.write(Buffer.concat([Buffer.alloc(HEADER), lastPacket('tun')]));
  await once(device, 'enough');
  return packets;
}

const superPacket = unfinishedPacket({ payload: pattern(20 * PACKETS), gsoSize: 20 });
const namespace = await NetworkNamespace.create();
await silence(namespace);
const sender = openTun('tun0', { namespace, offload: 'raw', up: true });
const device = openTun('tun1', { namespace, up: true });
await wire(namespace, sender, device);
if (how !== 'stream') sender.write(superPacket);
const got = await (how === 'stream' ? readStream(device) : readBatches(device)).catch((error) => error.code);
await nextRound();
console.log(JSON.stringify(got));
await Promise.all([sender.close(), device.close()]);
await namespace.close();

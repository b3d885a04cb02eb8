/**
 * The man in the middle of bench/abuse.ts, between the VPN's client and its server: `abuse-relay.js SERVER PORT`, as a
 * process in the namespace between theirs. Of what it carries both ways, so many of a thousand datagrams are changed in
 * one bit, cut, sent again later, or accompanied by an oversized one. It prints what it did when SIGTERM ends it.
 */

import type { PacketBatch } from 'tuntap-native';
import { Endpoint, openUdp, type UdpBatchSocket } from 'tuntap-native/tunnel';

const [server = '', port = ''] = process.argv.slice(2);
const CORRUPTED = 0.01;
const TRUNCATED = 0.001;
const REPLAYED = 0.002;
const OVERSIZED = 0.0005;
// Kept for a replay; a replay comes at once or much later, from any place in here.
const MEMORY = 1024;
const BUFFER = 7 * 1024 * 1024;

/** What was done to the datagrams. */
export interface Abuse {
  carried: number;
  corrupted: number;
  truncated: number;
  replayed: number;
  oversized: number;
}

const abuse: Abuse = { carried: 0, corrupted: 0, truncated: 0, replayed: 0, oversized: 0 };
const options = { receiveBuffer: BUFFER, sendBuffer: BUFFER, address: '0.0.0.0' };
const front = openUdp({ ...options, port: Number(port) });
const back = openUdp(options);
const serverEndpoint = new Endpoint(server, Number(port));
let client: Endpoint | undefined;
const garbage = new Uint8Array(65_000).fill(4);

const chance = (probability: number): boolean => Math.random() < probability;
const below = (limit: number): number => Math.floor(Math.random() * limit);

/** Changes packets of a batch; gives those to be sent again. */
function mistreat(batch: PacketBatch, kept: Uint8Array[]): readonly Uint8Array[] {
  const again: Uint8Array[] = [];
  for (let i = 0; i < batch.length; i++) {
    const length = batch.lengthOf(i);
    if (length === 0) continue;
    abuse.carried++;
    if (chance(REPLAYED)) {
      const copy = Uint8Array.from(batch.at(i));
      const place = below(MEMORY);
      again.push(chance(0.5) ? copy : (kept[place] ?? copy));
      kept[place] = copy;
      abuse.replayed++;
    }
    if (chance(CORRUPTED)) {
      batch.at(i)[below(length)] ^= 1 << below(8);
      abuse.corrupted++;
    } else if (length > 1 && chance(TRUNCATED)) {
      batch.resize(i, 0, -1 - below(length - 1));
      abuse.truncated++;
    }
    if (chance(OVERSIZED)) {
      again.push(garbage.subarray(0, 1500 + below(garbage.length - 1500)));
      abuse.oversized++;
    }
  }
  return again;
}

async function carry(
  from: UdpBatchSocket,
  to: UdpBatchSocket,
  target: (socket: UdpBatchSocket) => Endpoint | undefined,
): Promise<void> {
  const kept: Uint8Array[] = [];
  for await (const batch of from.batches()) {
    const remote = target(from);
    const again = mistreat(batch, kept);
    if (remote === undefined) continue;
    to.writeBatch(batch, remote);
    for (const datagram of again) {
      try {
        to.send(datagram, remote);
      } catch {
        // The link is down, for one.
      }
    }
  }
}

process.once('SIGTERM', () => {
  void front.close();
  void back.close();
});
console.log('carrying');
await Promise.all([
  carry(front, back, (socket) => {
    client = socket.received.remote(0);
    return serverEndpoint;
  }),
  carry(back, front, () => client),
]);
console.log(JSON.stringify(abuse));

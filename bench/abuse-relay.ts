/**
 * The man in the middle of bench/abuse.ts, between a tunnel's client and its server: `abuse-relay.js SERVER PORT SERVERKEY
 * CLIENTKEY`, as a process in the namespace between theirs. Of what it carries both ways, so many of a thousand datagrams
 * are lost, delayed past others, doubled, changed in one bit, cut, sent again much later, or accompanied by an oversized
 * one. A line `flood KIND MILLISECONDS` on its standard input makes it flood both ends, which it confirms by the number of
 * datagrams. It prints what it did when SIGTERM ends it.
 */

import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { PacketBatch } from 'tuntap-native';
import { Endpoint, openUdp, type UdpBatchSocket } from 'tuntap-native/tunnel';
import { CookieStore } from '#dist/wireguard/cookie.js';
import { ENVIRONMENT } from '#dist/wireguard/environment.js';

const [server = '', port = '', ...keys] = process.argv.slice(2);
const [serverMacs, clientMacs] = keys.map((key) => new CookieStore(Buffer.from(key, 'base64'), ENVIRONMENT));
const LOST = 0.01;
const DELAYED = 0.01;
const DOUBLED = 0.005;
const CORRUPTED = 0.01;
const TRUNCATED = 0.001;
const REPLAYED = 0.002;
const OVERSIZED = 0.0005;
// Kept for a replay, which comes from any place in here: at once or much later.
const MEMORY = 1024;
// So many batches later comes what is delayed.
const DELAY = 4;
const BUFFER = 7 * 1024 * 1024;
const BURST_MS = 5;
/** Of one flood, in a second, to each end. */
const FLOOD_RATE = 20_000;

/** What was done to the datagrams. */
const abuse = {
  carried: 0,
  lost: 0,
  delayed: 0,
  doubled: 0,
  corrupted: 0,
  truncated: 0,
  replayed: 0,
  oversized: 0,
  flood: 0,
};
const options = { receiveBuffer: BUFFER, sendBuffer: BUFFER, address: '0.0.0.0' };
const serverEndpoint = new Endpoint(server, Number(port));
const garbage = new Uint8Array(65_000).fill(4);

const chance = (probability: number): boolean => Math.random() < probability;
const below = (limit: number): number => Math.floor(Math.random() * limit);

/** One way through the relay. */
interface Way {
  readonly from: UdpBatchSocket;
  readonly to: UdpBatchSocket;
  /** Puts mac1 on a message for whom this way leads to, as everybody can who knows the public key. */
  readonly macs: CookieStore;
  remote: Endpoint | undefined;
  /** Of each type, the last message that passed. */
  readonly last: Map<number, Buffer>;
  readonly kept: Uint8Array[];
  /** What is delayed, by batch. */
  readonly delayed: Uint8Array[][];
}

/** Changes packets of a batch; returns what is to be sent besides. */
function mistreat(batch: PacketBatch, { last, kept, delayed }: Way): readonly Uint8Array[] {
  const extra: Uint8Array[] = [];
  const later: Uint8Array[] = [];
  for (let i = 0; i < batch.length; i++) {
    const length = batch.lengthOf(i);
    if (length === 0) continue;
    abuse.carried++;
    const type = batch.at(i)[0];
    if (type < 4 || !last.has(type)) last.set(type, Buffer.from(batch.at(i)));
    if (chance(REPLAYED)) {
      const place = below(MEMORY);
      extra.push(kept[place] ?? Uint8Array.from(batch.at(i)));
      kept[place] = Uint8Array.from(batch.at(i));
      abuse.replayed++;
    }
    if (chance(DOUBLED)) {
      extra.push(Uint8Array.from(batch.at(i)));
      abuse.doubled++;
    }
    if (chance(OVERSIZED)) {
      extra.push(garbage.subarray(0, 1500 + below(garbage.length - 1500)));
      abuse.oversized++;
    }
    if (chance(LOST)) {
      batch.drop(i);
      abuse.lost++;
    } else if (chance(DELAYED)) {
      later.push(Uint8Array.from(batch.at(i)));
      batch.drop(i);
      abuse.delayed++;
    } else if (chance(CORRUPTED)) {
      batch.at(i)[below(length)] ^= 1 << below(8);
      abuse.corrupted++;
    } else if (length > 1 && chance(TRUNCATED)) {
      batch.resize(i, 0, -1 - below(length - 1));
      abuse.truncated++;
    }
  }
  delayed.push(later);
  if (delayed.length > DELAY) extra.push(...(delayed.shift() ?? []));
  return extra;
}

function send(way: Way, datagram: Uint8Array): void {
  if (!way.remote) return;
  try {
    way.to.send(datagram, way.remote);
  } catch {
    // The link is down, for one.
  }
}

async function carry(way: Way, opposite: Way): Promise<void> {
  for await (const batch of way.from.batches()) {
    if (opposite.remote !== serverEndpoint) opposite.remote = way.from.received.remote(0) ?? opposite.remote;
    const extra = mistreat(batch, way);
    if (way.remote === undefined) continue;
    way.to.writeBatch(batch, way.remote);
    for (const datagram of extra) send(way, datagram);
  }
}

/** A message of a type that nobody sent. */
function forged(type: number, length: number, receiverOf: Buffer | undefined): Buffer {
  const message = randomBytes(length);
  message.writeUInt32LE(type, 0);
  // The index that a message names is right, so that it is looked at.
  receiverOf?.copy(message, 4, 4, 8);
  return message;
}

/** What a flood consists of: a new message each time. */
const FLOODS: Readonly<Record<string, (way: Way, opposite: Way) => Buffer>> = {
  'initiations-replayed': ({ last }) => last.get(1) ?? forged(1, 148, undefined),
  'initiations-forged': () => forged(1, 148, undefined),
  'initiations-with-mac1': ({ macs }) => {
    const message = forged(1, 148, undefined);
    macs.addMacs(message, performance.now());
    return message;
  },
  'responses-replayed': ({ last }) => last.get(2) ?? forged(2, 92, undefined),
  'responses-forged': (_, opposite) => {
    // Its receiver is whoever sent the initiation that came the other way.
    const message = forged(2, 92, undefined);
    opposite.last.get(1)?.copy(message, 8, 4, 8);
    return message;
  },
  cookies: (_, opposite) => forged(3, 64, opposite.last.get(1) ?? opposite.last.get(2)),
  'data-replayed': ({ last }) => last.get(4) ?? forged(4, 1332, undefined),
  'data-forged': ({ last }) => forged(4, 32 + below(1300), last.get(4)),
  garbage: () => forged(below(256), 4 + below(1400), undefined),
};

async function flood(kind: string, ms: number): Promise<number> {
  const make = FLOODS[kind];
  let sent = 0;
  const batch = new PacketBatch({ capacity: 1024, size: 1 << 21 });
  const began = performance.now();
  for (let passed = 0; passed < ms; passed = performance.now() - began) {
    const due = Math.min((passed / 1000) * FLOOD_RATE - sent, 1000);
    for (const [way, opposite] of [
      [forward, backward],
      [backward, forward],
    ] as const) {
      batch.clear();
      for (let i = 0; i < due; i++) batch.push(make(way, opposite));
      if (way.remote) way.to.writeBatch(batch, way.remote);
    }
    sent += Math.max(0, Math.ceil(due));
    await setTimeout(BURST_MS);
  }
  abuse.flood += 2 * sent;
  return 2 * sent;
}

const [front, rear] = [openUdp({ ...options, port: Number(port) }), openUdp(options)];
const newWay = (from: UdpBatchSocket, to: UdpBatchSocket, macs: CookieStore, remote?: Endpoint): Way => ({
  from,
  to,
  macs,
  remote,
  last: new Map(),
  kept: [],
  delayed: [],
});
const forward = newWay(front, rear, serverMacs, serverEndpoint);
const backward = newWay(rear, front, clientMacs);

const commands = createInterface({ input: process.stdin }).on('line', async (line) => {
  const [, kind, ms] = line.split(' ');
  console.log(`flooded ${await flood(kind, Number(ms))}`);
});
process.once('SIGTERM', () => {
  commands.close();
  void front.close();
  void rear.close();
});
console.log('carrying');
await Promise.all([carry(forward, backward), carry(backward, forward)]);
console.log(JSON.stringify(abuse));

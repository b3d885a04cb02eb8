/**
 * The traffic of bench/abuse.ts through the tunnel: `abuse-traffic.js send ADDRESS KEY RATE` and `… receive KEY`.
 *
 * Each datagram is sealed with a key that the VPN does not have, so that the receiver can tell what it did not send. The
 * receiver prints, twice a second, how many came so far, how many were forged, and how many came again.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { PacketBatch } from 'tuntap-native';
import { Aead, Endpoint, openUdp, ReplayWindow } from 'tuntap-native/tunnel';

const PORT = 9000;
const HEADER = 8;
const SIZE = 1300;
const BURST_MS = 2;
const REPORT_MS = 500;
// As far back as the VPN's window goes and further: what is older can't be told from new.
const WINDOW = 2 ** 20;

/** A line of the receiver's. */
export interface Received {
  readonly authentic: number;
  readonly forged: number;
  readonly repeated: number;
}

const newAead = (key: string): Aead =>
  new Aead('aes-128-gcm', Buffer.from(key, 'hex'), { headerLength: HEADER });

async function send(address: string, key: string, rate: number): Promise<never> {
  const socket = openUdp({ address: '0.0.0.0' });
  const aead = newAead(key);
  const to = new Endpoint(address, PORT);
  const batch = new PacketBatch({
    headroom: HEADER,
    tailroom: Aead.tagLength,
    capacity: 1024,
    size: 2 ** 21,
  });
  const plain = new Uint8Array(SIZE);
  const began = performance.now();
  let sent = 0;
  for (;;) {
    await delay(BURST_MS);
    const due = Math.min(batch.capacity, Math.floor(((performance.now() - began) / 1000) * rate) - sent);
    sent += Math.max(due, 0);
    batch.clear();
    for (let i = 0; i < due; i++) batch.push(plain);
    aead.sealBatch(batch);
    socket.writeBatch(batch, to);
  }
}

async function receive(key: string): Promise<void> {
  const socket = openUdp({ address: '0.0.0.0', port: PORT, receiveBuffer: 7 * 1024 * 1024 });
  const aead = newAead(key);
  const window = new ReplayWindow(WINDOW);
  let authentic = 0;
  let forged = 0;
  let repeated = 0;
  setInterval(
    () => console.log(JSON.stringify({ authentic, forged, repeated } satisfies Received)),
    REPORT_MS,
  );
  console.log('receiving');
  for await (const batch of socket.batches()) {
    const opened = aead.openBatch(batch);
    forged += batch.length - opened;
    const fresh = window.checkBatch(batch, -HEADER);
    repeated += opened - fresh;
    authentic += fresh;
  }
}

const [command, ...args] = process.argv.slice(2);
if (command === 'send') await send(args[0], args[1], Number(args[2]));
else await receive(args[0]);

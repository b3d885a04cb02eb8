/**
 * One end of bench/udp.ts, by this package or by node:dgram. Usage as of bench/udp-batch.c:
 * udp-end.js batch|dgram send ADDRESS PORT SIZE DATAGRAMS MICROSECONDS BATCH, udp-end.js batch|dgram receive ADDRESS PORT DATAGRAMS MICROSECONDS
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { PacketBatch } from 'tuntap-native';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';

const [how, direction, address, portText, ...rest] = process.argv.slice(2);
const port = Number(portText);
const [sizeOrWanted, datagrams = 0, microseconds = 0, batchSize = 0] = rest.map(Number);
// usleep(3), as in the C program: what the event loop's timers cost is not the socket's.
const clock = new Int32Array(new SharedArrayBuffer(4));
const pause = (us: number): unknown => us > 0 && Atomics.wait(clock, 0, 0, us / 1000);
const BURST = 1472;
const BUFFER = 16 << 20;

const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
const report = (began: number, count: number): void => console.log(`${(cpu() - began) / 1e6} ${count}`);

if (direction === 'send') await send();
else receive();

async function send(): Promise<void> {
  const payload = Buffer.alloc(sizeOrWanted);
  const burst = how === 'batch' ? batchBurst(payload) : await dgramBurst(payload);
  for await (const _ of createInterface({ input: process.stdin })) {
    const began = cpu();
    let sent = 0;
    for (; sent < datagrams; sent += BURST) {
      await burst();
      pause(microseconds);
    }
    report(began, sent);
  }
  process.exit();
}

function batchBurst(payload: Uint8Array): () => Promise<void> {
  const socket = openUdp({ remote: new Endpoint(address, port), sendBuffer: BUFFER });
  const batch = new PacketBatch({ capacity: batchSize, size: batchSize * (payload.length + 8) });
  while (batch.push(payload)) {}
  return async () => {
    for (let i = 0; i < BURST; i += batchSize) {
      for (let start = 0; start < batchSize; start = batch.firstUnsent) {
        if (start > 0) await once(socket, 'drain');
        socket.writeBatch(batch, undefined, start);
      }
    }
  };
}

async function dgramBurst(payload: Uint8Array): Promise<() => Promise<void>> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.connect(port, address, resolve));
  socket.setSendBufferSize(BUFFER);
  return async () => {
    for (let i = 0; i < BURST; i += batchSize) {
      await new Promise<void>((resolve) => {
        for (let i = 1; i < batchSize; i++) socket.send(payload);
        socket.send(payload, () => resolve());
      });
    }
  };
}

function receive(): void {
  let count = 0;
  let began = 0;
  let seen = 0;
  const endTurn = (): void => {
    report(began, count);
    count = 0;
  };
  // As the C program, it ends a turn when nothing came for half a second.
  setInterval(() => {
    if (count > 0 && seen === count) endTurn();
    seen = count;
  }, 500);
  const arrived = (packets: number): void => {
    if (count === 0) began = cpu();
    count += packets;
    if (count >= sizeOrWanted) endTurn();
  };
  if (how === 'batch') {
    const socket = openUdp({ address, port, receiveBuffer: BUFFER });
    void (async () => {
      for await (const batch of socket.batches()) {
        arrived(batch.length);
        if (batch.length < 256) pause(datagrams);
      }
    })();
    console.log('ready');
  } else {
    const socket = createSocket({ type: 'udp4' });
    socket.on('message', () => arrived(1));
    socket.bind(port, address, () => {
      socket.setRecvBufferSize(BUFFER);
      console.log('ready');
    });
  }
}

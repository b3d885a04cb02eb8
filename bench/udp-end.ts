/**
 * One end of bench/udp.ts, by this package or by node:dgram. Usage as of bench/udp-batch.c:
 * udp-end.js batch|dgram send ADDRESS PORT SIZE DATAGRAMS MICROSECONDS, udp-end.js batch|dgram receive ADDRESS PORT DATAGRAMS MICROSECONDS
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { PacketBatch } from 'tuntap-native';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';

const [how, direction, address, portText, ...rest] = process.argv.slice(2);
const port = Number(portText);
const [sizeOrWanted, datagrams = 0, microseconds = 0] = rest.map(Number);
// usleep(3), as in the C program: what the event loop's timers cost is not the socket's.
const clock = new Int32Array(new SharedArrayBuffer(4));
const pause = (us: number): unknown => us > 0 && Atomics.wait(clock, 0, 0, us / 1000);
const BATCH = 184;
const BURST = 8;
const BUFFER = 16 << 20;

const cpu = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
let began = 0;
let before = 0;
let count = 0;
function took(packets: number, wanted: number): void {
  count += packets;
  if (before > 0 || count < wanted / 2) return;
  before = count;
  began = cpu();
}
const report = (): never => {
  console.log(`${(cpu() - began) / 1e6} ${count - before} ${count}`);
  process.exit();
};

if (direction === 'send') await send();
else receive();

async function send(): Promise<void> {
  const payload = Buffer.alloc(sizeOrWanted);
  const remote = new Endpoint(address, port);
  const socket = how === 'batch' ? openUdp({ remote, sendBuffer: BUFFER }) : undefined;
  const batch = new PacketBatch();
  for (let i = 0; i < BATCH; i++) batch.push(payload);
  const dgram = createSocket('udp4');
  await new Promise<void>((resolve) => dgram.connect(port, address, resolve));
  dgram.setSendBufferSize(BUFFER);
  while (count < datagrams) {
    for (let i = 0; i < BURST; i++) {
      if (socket) {
        for (let start = 0; start < BATCH; start = batch.firstUnsent) {
          if (start > 0) await once(socket, 'drain');
          socket.writeBatch(batch, undefined, start);
        }
      } else {
        await new Promise<void>((resolve) => {
          for (let i = 1; i < BATCH; i++) dgram.send(payload);
          dgram.send(payload, () => resolve());
        });
      }
      took(BATCH, datagrams);
    }
    pause(microseconds);
  }
  report();
}

function receive(): void {
  let seen = 0;
  // As the C program, it gives up when nothing came for half a second.
  setInterval(() => {
    if (count > 0 && seen === count) report();
    seen = count;
  }, 500);
  const arrived = (packets: number): void => {
    took(packets, sizeOrWanted);
    if (count >= sizeOrWanted) report();
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

/**
 * The same forwarder by this package. Usage:
 * forwarder.js NAMESPACE NAME NAMESPACE NAME batch|stream|data off|raw|split [pairs|queues COUNT]
 *
 * With `pairs` it has as many pairs of devices, their names numbered from 0. With `queues` each device has as many
 * queues, each with a thread of its own.
 */

import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { openTun, type TunDevice } from 'tuntap-native';

const [namespaceA = '', nameA = '', namespaceB = '', nameB = '', how, offloads, what, count = '1'] =
  process.argv.slice(2);
const offload = offloads === 'raw' ? 'raw' : offloads === 'split';
const multiQueue = what === 'queues';

async function forward(from: TunDevice, to: TunDevice): Promise<void> {
  for await (const batch of from.batches()) to.writeBatch(batch);
}

for (let i = 0; i < (what === 'pairs' ? Number(count) : 1); i++) {
  const number = what === 'pairs' ? i : '';
  const a = openTun(`${nameA}${number}`, { namespace: namespaceA, offload, multiQueue });
  const b = openTun(`${nameB}${number}`, { namespace: namespaceB, offload, multiQueue });
  if (how === 'stream') {
    a.pipe(b);
    b.pipe(a);
  } else if (how === 'data') {
    a.on('data', (packet) => void b.write(packet));
    b.on('data', (packet) => void a.write(packet));
  } else {
    void forward(a, b);
    void forward(b, a);
  }
}
if (isMainThread) {
  for (let i = 1; multiQueue && i < Number(count); i++) {
    const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) });
    await new Promise((resolve) => worker.once('message', resolve));
  }
  console.log('ready');
} else {
  parentPort?.postMessage('ready');
}

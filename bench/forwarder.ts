/**
 * The same forwarder by this package. Usage: forwarder.js NAMESPACE NAME NAMESPACE NAME batch|stream off|raw|split
 */

import { openTun, type TunDevice } from 'tuntap-native';

const [namespaceA = '', nameA = '', namespaceB = '', nameB = '', how, offloads] = process.argv.slice(2);
const offload = offloads === 'raw' ? 'raw' : offloads === 'split';
const a = openTun(nameA, { namespace: namespaceA, offload });
const b = openTun(nameB, { namespace: namespaceB, offload });

async function forward(from: TunDevice, to: TunDevice): Promise<void> {
  for await (const batch of from.batches()) to.writeBatch(batch);
}

if (how === 'stream') {
  a.pipe(b);
  b.pipe(a);
} else {
  void forward(a, b);
  void forward(b, a);
}
console.log('ready');

/**
 * The same forwarder by this package. Usage: forwarder.js NAMESPACE NAME NAMESPACE NAME batch|stream
 */

import { openTun, type TunDevice } from 'tuntap-native';

const [namespaceA = '', nameA = '', namespaceB = '', nameB = '', how] = process.argv.slice(2);
const a = openTun(nameA, { namespace: namespaceA });
const b = openTun(nameB, { namespace: namespaceB });

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

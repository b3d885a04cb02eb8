/** A worker that never stops asking; the test ends it in the middle of that. */

import { parentPort } from 'node:worker_threads';
import { NetworkNamespace } from 'tuntap-native/net';

const namespace = await NetworkNamespace.create();
const monitor = namespace.monitor();
void monitor.next();
void makeOthers();
parentPort?.postMessage('ready');
for (;;) {
  const bridge = await namespace.addLink({ kind: 'bridge', name: 'br0' });
  await Promise.all([namespace.links(), namespace.routes(), namespace.addresses(), bridge.set({ up: true })]);
  await bridge.delete();
}

async function makeOthers(): Promise<void> {
  for (;;) await (await NetworkNamespace.create()).close();
}

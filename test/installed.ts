/**
 * What the package must do wherever it is installed. test/node-versions.sh and test/platforms.sh put this program alone
 * beside the installed tarball, and run it in each runtime. It ends by itself once all is closed.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { NetworkNamespace, openTun, PacketBatch } from 'tuntap-native';
import { replyToEcho } from 'tuntap-native/packet';
import { Aead, openUdp } from 'tuntap-native/tunnel';

const PINGS = 3;

async function ping(namespace: NetworkNamespace): Promise<void> {
  const child = namespace.spawn('ping', ['-n', `-c${PINGS}`, '-i0.2', '-W5', '192.0.2.2'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  assert.deepEqual(await once(child, 'close'), [0, null]);
}

const namespace = await NetworkNamespace.create();
await (await namespace.link('lo')).set({ up: true });
const options = { namespace, addresses: ['192.0.2.1/24'], up: true };

const events = openTun('tun0', options);
events.on('data', (packet: Buffer) => {
  const reply = replyToEcho(packet);
  if (reply) events.write(reply);
});
await ping(namespace);
await events.close();

const batches = openTun('tun0', options);
const answering = (async () => {
  let answers = 0;
  for await (const batch of batches.batches()) {
    for (const packet of batch) {
      const reply = replyToEcho(packet);
      if (!reply) continue;
      batches.write(reply);
      answers++;
    }
  }
  return answers;
})();
await ping(namespace);
assert.ok((await namespace.links()).some(({ name }) => name === 'tun0'));
await batches.close();
assert.equal(await answering, PINGS);
assert.deepEqual(
  (await namespace.links()).map(({ name }) => name),
  ['lo'],
);

const [server, client] = [0, 1].map(() => openUdp({ namespace, address: '127.0.0.1' }));
const echoing = (async () => {
  for await (const batch of server.batches()) server.writeBatch(batch, server.received);
})();
client.send(Buffer.from('one'), server.local);
for await (const batch of client.batches()) {
  assert.equal(batch.at(0).toString(), 'one');
  break;
}
await Promise.all([client.close(), server.close()]);
await echoing;

const key = new Uint8Array(32);
const sources = (['chacha20-poly1305', 'aes-256-gcm'] as const).map((cipher) => {
  const [sealing, opening] = [new Aead(cipher, key), new Aead(cipher, key)];
  const batch = new PacketBatch({ headroom: sealing.headerLength, tailroom: Aead.tagLength });
  batch.push(Buffer.from('packet'));
  assert.equal(sealing.sealBatch(batch), 1);
  assert.ok(!batch.at(0).includes('packet'));
  assert.equal(opening.openBatch(batch), 1);
  assert.equal(batch.at(0).toString(), 'packet');
  sealing.dispose();
  opening.dispose();
  return sealing.source;
});
await namespace.close();
console.log(`installed: a TUN device, a UDP socket, netlink and ciphers (${sources.join(', ')}) work`);

import assert from 'node:assert/strict';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { output, packedPackage, ROOT } from './packed.ts';

const IMPORTS = `
import { openTap, openTun, PacketBatch, type TapOptions, type TunDevice } from 'tuntap-native';
import { createLab, type LabDescription } from 'tuntap-native/lab';
import { type LinkInfo, NetworkNamespace } from 'tuntap-native/net';
import { Ipv4Packet, replyToEcho } from 'tuntap-native/packet';
import { Aead, Endpoint, openUdp } from 'tuntap-native/tunnel';`;

const USE = `
async function use(): Promise<void> {
  const options: TapOptions = { mac: '02:00:00:00:00:01' };
  const tun: TunDevice = openTun('tun0', { addresses: ['192.0.2.1/24'] });
  for await (const batch of tun.batches()) for (const bytes of batch) tun.write(replyToEcho(bytes) ?? bytes);
  await using tap = openTap('tap0', options);
  const namespace: NetworkNamespace = await NetworkNamespace.open('x');
  namespace.spawn('true').on('exit', () => new PacketBatch().push(Buffer.alloc(1)));
  const links: readonly LinkInfo[] = await namespace.links();
  const description: LabDescription<'a'> = { hosts: { a: {} } };
  console.log(links[0]?.name, (await createLab(description)).hosts.a.fd, tap.name);
  const socket = openUdp({ namespace });
  socket.send(new Ipv4Packet(Buffer.alloc(20)).bytes, new Endpoint('192.0.2.1', 1));
  new Aead('aes-128-gcm', Buffer.alloc(16)).dispose();
  // @ts-expect-error The MTU is a number.
  openTun('tun1', { mtu: '1500' });
  // @ts-expect-error Internal.
  new PacketBatch().memory;
}
void use;
`;

const CONSUMERS = [
  { name: 'nodenext', file: 'module.mts', module: 'nodenext', moduleResolution: 'nodenext' },
  { name: 'nodenext, by require()', file: 'script.cts', module: 'nodenext', moduleResolution: 'nodenext' },
  { name: 'a bundler', file: 'bundled.ts', module: 'esnext', moduleResolution: 'bundler' },
];

describe('the types, installed', function () {
  this.timeout(180_000);
  let user: string;

  before(function () {
    user = packedPackage(this).install('typed');
    // What `npm install @types/node` gives, from here.
    for (const name of ['@types', 'undici-types']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(user, 'node_modules', name));
    }
  });

  for (const { name, file, ...settings } of CONSUMERS) {
    it(`fit strict programs that check libraries, too, for ${name}`, () => {
      const compilerOptions = {
        ...settings,
        target: 'es2022',
        lib: ['es2023', 'esnext.disposable'],
        types: ['node'],
        noEmit: true,
        skipLibCheck: false,
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
      };
      writeFileSync(join(user, file), `${IMPORTS}${USE}`);
      writeFileSync(join(user, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }));
      output(user, process.execPath, join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', user);
    });
  }

  it('tell of no internal member', () => {
    const dist = join(user, 'node_modules/tuntap-native/dist');
    // grep prints each file that has one, and fails if there is none.
    assert.equal(output(user, 'sh', '-c', `! grep -rl --include=*.d.ts @internal ${dist}`), '');
  });
});

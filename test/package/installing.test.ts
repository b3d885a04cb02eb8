import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { output, type Packed, packedPackage } from './packed.ts';

const OPEN = `(async () => {
  const namespace = await NetworkNamespace.create();
  const tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
  const child = namespace.spawn('cat', ['/sys/class/net/tun0/mtu'], { stdio: ['ignore', 'inherit', 'inherit'] });
  child.on('close', () => tun.close());
})()`;

const IMPORT = `
import { openTun } from 'tuntap-native';
import { NetworkNamespace } from 'tuntap-native/net';`;

const REQUIRE = `
const { openTun } = require('tuntap-native');
const { NetworkNamespace } = require('tuntap-native/net');`;

describe('the package, installed', function () {
  this.timeout(180_000);
  let packed: Packed;
  let user: string;

  before(function () {
    packed = packedPackage(this);
    user = packed.install('user');
    writeFileSync(join(user, 'module.mjs'), `${IMPORT}\nawait ${OPEN};`);
    writeFileSync(join(user, 'script.cjs'), `${REQUIRE}\n${OPEN};`);
  });

  it('has no script for npm to run when it is installed, and needs none to be allowed', async () => {
    const { scripts, gypfile } = JSON.parse(
      await readFile(join(user, 'node_modules/tuntap-native/package.json'), 'utf8'),
    );
    // npm runs these, and the pre and post hooks of `prepare`, of a dependency.
    const run = /^(pre|post)?(install|prepare)$|^prepublish$/;
    assert.deepEqual(
      Object.keys(scripts).filter((script) => run.test(script)),
      [],
    );
    // npm would build where it finds a binding.gyp.
    assert.equal(gypfile, false);
    const other = join(packed.folder, 'scripts-on');
    mkdirSync(other);
    writeFileSync(join(other, 'package.json'), '{ "private": true }');
    output(other, 'npm', 'install', '--prefer-offline', packed.tarball);
  });

  for (const program of ['module.mjs', 'script.cjs']) {
    it(`opens a device in a namespace from ${program}`, () => {
      assert.equal(output(user, process.execPath, program), '1500\n');
    });
  }

  for (const platform of ['darwin', 'win32']) {
    it(`can be imported on ${platform}, where opening throws ERR_TUNTAP_UNSUPPORTED_PLATFORM`, async () => {
      const program = `
        Object.defineProperty(process, 'platform', { value: '${platform}' });
        const { openTun, openTap, NetworkNamespace } = await import('tuntap-native');
        const { Ipv4Packet } = await import('tuntap-native/packet');
        await import('tuntap-native/net');
        const codes = [typeof Ipv4Packet];
        for (const use of [() => openTun(), () => openTap('tap0'), () => NetworkNamespace.create()]) {
          try { await use(); } catch ({ code, message }) { codes.push(code, message.includes('${platform}')); }
        }
        console.log(JSON.stringify(codes));`;
      await writeFile(join(user, 'platform.mjs'), program);
      const refused = ['ERR_TUNTAP_UNSUPPORTED_PLATFORM', true];
      assert.deepEqual(JSON.parse(output(user, process.execPath, 'platform.mjs')), [
        'function',
        ...refused,
        ...refused,
        ...refused,
      ]);
    });
  }

  it('without its binary throws ERR_TUNTAP_NO_BINARY, and the command that this names builds one', async () => {
    const installed = join(user, 'node_modules/tuntap-native');
    await rm(join(installed, 'prebuilds'), { recursive: true });
    await writeFile(
      join(user, 'error.mjs'),
      `${IMPORT}\ntry { openTun(); } catch ({ code, message }) { console.log(JSON.stringify({ code, message })); }`,
    );
    const { code, message } = JSON.parse(output(user, process.execPath, 'error.mjs'));
    assert.equal(code, 'ERR_TUNTAP_NO_BINARY');
    assert.match(message, new RegExp(`no binary works on linux-${process.arch} with (glibc|musl): neither `));
    const command = /npx node-gyp rebuild .*$/m.exec(message)?.[0];
    assert.ok(command, message);
    // Where npx finds node-gyp without the network.
    output(packed.tree, 'sh', '-c', command);
    assert.ok((await readdir(join(installed, 'build/Release'))).includes('namespace_exec'));
    assert.equal(output(user, process.execPath, 'module.mjs'), '1500\n');
  });
});

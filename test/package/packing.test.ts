import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, copyFile, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Context } from 'mocha';
import { needs, type Outcome, skip } from '../support.ts';
import { env, outcome, output, type Packed, packedPackage, ROOT } from './packed.ts';

/** Runs `npm publish` against a registry of this process. @returns the tarball that it got */
async function publish(cwd: string): Promise<Buffer> {
  let document = '';
  const registry = createServer((request, response) => {
    if (request.method === 'PUT') {
      request.on('data', (data) => {
        document += data;
      });
    }
    request.on('end', () => response.writeHead(request.method === 'PUT' ? 201 : 404).end('{}'));
    request.resume();
  });
  await once(registry.listen(0, '127.0.0.1'), 'listening');
  const host = `127.0.0.1:${(registry.address() as AddressInfo).port}`;
  try {
    const options = [`--registry=http://${host}`, `--//${host}/:_authToken=none`];
    const { stderr } = await promisify(execFile)('npm', ['publish', ...options], { cwd, env });
    assert.doesNotMatch(stderr, /npm warn/i);
  } finally {
    registry.close();
  }
  const [attachment] = Object.values<{ data: string }>(JSON.parse(document)._attachments);
  return Buffer.from(attachment.data, 'base64');
}

/** Skips what needs the binaries for all platforms. */
function needsAll(context: Context, { complete }: Packed): void {
  if (!complete) skip(context, 'needs the binaries for all platforms: npm run prebuild');
}

describe('the tarball', function () {
  this.timeout(180_000);
  let packed: Packed;

  before(function () {
    packed = packedPackage(this);
  });

  it('holds for each platform the addons and an executable namespace_exec, in less than 2 MB', async function () {
    needsAll(this, packed);
    const listing = output(packed.folder, 'tar', '-tvf', packed.tarball);
    for (const arch of ['x64', 'arm64']) {
      const prebuilds = `package/prebuilds/linux-${arch}`;
      assert.match(listing, new RegExp(`^-rwxr-xr-x .* ${prebuilds}/namespace_exec$`, 'm'));
      for (const libc of ['glibc', 'musl']) {
        assert.match(listing, new RegExp(` ${prebuilds}/tuntap-native\\.${libc}\\.node$`, 'm'));
      }
    }
    assert.doesNotMatch(listing, / package\/(test|out|bench|build|scripts|node_modules)\//);
    assert.ok((await stat(packed.tarball)).size < 2e6);
  });

  it('has binaries that need no newer glibc than 2.28 and no C++ library, as objdump sees it', function () {
    needs(this, 'objdump');
    needsAll(this, packed);
    for (const arch of ['x64', 'arm64']) {
      const addon = join(packed.tree, `prebuilds/linux-${arch}/tuntap-native.glibc.node`);
      const symbols = output(packed.tree, 'objdump', '-T', addon);
      const versions = [...symbols.matchAll(/\bGLIBC_2\.(\d+)/g)].map(([, minor]) => Number(minor));
      assert.notEqual(versions.length, 0);
      assert.ok(Math.max(...versions) <= 28, `GLIBC_2.${Math.max(...versions)}`);
      for (const file of [addon, addon.replace('glibc', 'musl')]) {
        assert.doesNotMatch(output(packed.tree, 'objdump', '-p', file), /NEEDED.*(c\+\+|gcc_s)/);
      }
    }
  });

  it('has ciphers of its own in the binaries', async function () {
    needsAll(this, packed);
    const user = packed.install('ciphers');
    const program = `
      process.env.TUNTAP_CIPHERS = 'bundled';
      const { Aead } = await import('tuntap-native/tunnel');
      const { generatePrivateKey, publicKey } = await import('tuntap-native/wireguard');
      console.log(new Aead('chacha20-poly1305', new Uint8Array(32)).source, publicKey(generatePrivateKey()).length);`;
    await writeFile(join(user, 'ciphers.mjs'), program);
    assert.equal(output(user, process.execPath, 'ciphers.mjs'), 'bundled 44\n');
  });

  it('is published as it is packed', async function () {
    needsAll(this, packed);
    assert.ok((await publish(packed.tree)).equals(await readFile(packed.tarball)));
  });

  const ADDON = `prebuilds/linux-${process.arch}/tuntap-native.glibc.node`;
  const OTHER = process.arch === 'x64' ? 'arm64' : 'x64';
  const HELPER = `prebuilds/linux-${process.arch}/namespace_exec`;

  function assertRefused({ status, stderr }: Outcome, ...texts: string[]): void {
    assert.notEqual(status, 0);
    for (const text of texts) assert.ok(stderr.includes(text), `${text}\n${stderr}`);
  }

  it('is not packed before it is built: npm says all that is missing and the command that makes it', () => {
    assertRefused(packed.unbuilt, ADDON, HELPER, 'dist/address.js', 'npm run prebuild', 'npm run build:lib');
  });

  describe('is not packed', () => {
    before(function () {
      needsAll(this, packed);
    });

    const pack = (): Outcome => outcome(packed.tree, 'npm', 'pack', '--pack-destination', packed.folder);

    /** Packs while one file of the tree is changed. */
    async function packedWith(file: string, change: (path: string) => Promise<void>): Promise<Outcome> {
      const path = join(packed.tree, file);
      const [bytes, { mode, mtime }] = [await readFile(path), await stat(path)];
      try {
        await change(path);
        return pack();
      } finally {
        await writeFile(path, bytes, { mode });
        await chmod(path, mode);
        await utimes(path, mtime, mtime);
      }
    }

    const touch = (path: string): Promise<void> => utimes(path, new Date(), new Date());

    for (const file of [ADDON, HELPER, 'dist/index.js', 'dist/net/index.d.ts']) {
      it(`without ${file}`, async () => {
        assertRefused(await packedWith(file, (path) => rm(path)), `${file} is missing`);
      });
    }

    for (const [what, file, fault] of [
      ['for another machine', ADDON.replaceAll(process.arch, OTHER), `is for ${OTHER}`],
      ['that needs a newer glibc', 'build/Release/tuntap_native.node', 'needs GLIBC_2.34'],
      ['that needs a C++ library', 'build/Release/tuntap_native.node', 'needs libstdc++.so.6'],
      ['of a kind that can not be loaded', 'package.json', 'is no 64-bit ELF file'],
    ]) {
      it(`with an addon ${what}`, async () => {
        assertRefused(
          await packedWith(ADDON, (path) => copyFile(join(ROOT, file), path)),
          `${ADDON} ${fault}`,
        );
      });
    }

    it('with a namespace_exec that is not executable', async () => {
      assertRefused(await packedWith(HELPER, (path) => chmod(path, 0o644)), `${HELPER} is not executable`);
    });

    for (const [source, built] of [
      ['lib/address.ts', 'dist/address.js'],
      ['src-cpp/node/addon.cc', ADDON],
      ['binding.gyp', HELPER],
    ]) {
      it(`when ${source} is newer than ${built}`, async () => {
        assertRefused(await packedWith(source, touch), `${built} is older than ${source}`);
      });
    }

    it('with what a deleted source left in dist', async () => {
      await writeFile(join(packed.tree, 'dist/old.js'), '');
      const refused = pack();
      await rm(join(packed.tree, 'dist/old.js'));
      assertRefused(refused, 'dist/old.js');
    });

    it('otherwise, and packing changes nothing of the tree', async () => {
      const before = output(packed.tree, 'find', '.', '-type', 'f', '-printf', '%p %T@\n');
      assert.equal(pack().status, 0);
      assert.equal(output(packed.tree, 'find', '.', '-type', 'f', '-printf', '%p %T@\n'), before);
    });
  });

  it('is built again where it is stale, and nowhere else, by what comes before the demo and the tests', async () => {
    const ready = (): string => output(packed.tree, 'node', 'scripts/build.js');
    ready();
    assert.equal(ready(), '');
    await writeFile(join(packed.tree, 'dist/old.js'), '');
    assert.equal(ready(), 'npm run build:lib: dist/old.js has no source any more\n');
    assert.equal(ready(), '');
    await assert.rejects(access(join(packed.tree, 'dist/old.js')), { code: 'ENOENT' });
    const { scripts } = JSON.parse(await readFile(join(packed.tree, 'package.json'), 'utf8'));
    for (const hook of ['predemo', 'pretest']) assert.match(scripts[hook], /node scripts\/build\.js$/);
  });
});

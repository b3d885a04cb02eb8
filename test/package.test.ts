import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  access,
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { needs } from './support.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
// What a fresh clone does not have.
const NOT_COPIED = new Set(['.git', 'build', 'dist', 'node_modules', 'out', 'prebuilds']);

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

// What `npm test` tells of this package must not reach the npm of another folder.
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(?!config_)/.test(name)),
);

function outcome(cwd: string, command: string, ...args: string[]): Outcome {
  return spawnSync(command, args, { cwd, encoding: 'utf8', env });
}

/** What a command prints. Throws if it fails, or if npm warns of anything. */
function output(cwd: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = outcome(cwd, command, ...args);
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`);
  assert.doesNotMatch(stderr, /npm warn/i);
  return stdout;
}

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

const OPEN = `(async () => {
  const namespace = await NetworkNamespace.create();
  const tun = openTun('tun0', { namespace, addresses: ['192.0.2.1/24'], up: true });
  const child = namespace.spawn('cat', ['/sys/class/net/tun0/mtu'], { stdio: ['ignore', 'inherit', 'inherit'] });
  child.on('close', () => tun.close());
})()`;

const IMPORT = `
import { openTun, openTap, PacketBatch } from 'tuntap-native';
import { NetworkNamespace } from 'tuntap-native/net';
import { replyToEcho } from 'tuntap-native/packet';`;

const REQUIRE = `
const { openTun, openTap, PacketBatch } = require('tuntap-native');
const { NetworkNamespace } = require('tuntap-native/net');
const { replyToEcho } = require('tuntap-native/packet');`;

const TYPED = `${IMPORT}
import type { TunDevice, TapOptions } from 'tuntap-native';
const options: TapOptions = { mac: '02:00:00:00:00:01' };
const tun: TunDevice = openTun('tun0', { addresses: ['192.0.2.1/24'] });
for await (const batch of tun.batches()) for (const bytes of batch) tun.write(replyToEcho(bytes) ?? bytes);
await using tap = openTap('tap0', options);
const namespace: NetworkNamespace = await NetworkNamespace.open('x');
namespace.spawn('true').on('exit', () => new PacketBatch().push(Buffer.alloc(1)));
// @ts-expect-error The MTU is a number.
openTun('tun1', { mtu: '1500' });
`;

describe('the package, packed and installed', function () {
  this.timeout(180_000);
  let folder: string;
  let tree: string;
  let user: string;
  let unbuilt: Outcome;
  let build: string;
  let tarball: string;

  // The way of a publisher, from a clean clone on; only node_modules is borrowed.
  before(async function () {
    needs(this, 'npm', 'npx', 'tar', 'python3', 'make', 'g++');
    folder = await mkdtemp(join(tmpdir(), 'tuntap-package-'));
    tree = join(folder, 'tree');
    user = join(folder, 'user');
    await cp(ROOT, tree, { recursive: true, filter: (path) => !NOT_COPIED.has(relative(ROOT, path)) });
    await symlink(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
    unbuilt = outcome(tree, 'npm', 'pack');
    build = output(tree, 'npm', 'run', 'build');
    // The file's name comes after what npm tells of the scripts.
    const packed = output(tree, 'npm', 'pack', '--pack-destination', folder);
    tarball = join(folder, packed.trim().split('\n').at(-1) as string);
    await mkdir(user);
    await writeFile(join(user, 'package.json'), '{ "private": true, "type": "module" }');
    output(user, 'npm', 'install', '--ignore-scripts', '--prefer-offline', tarball);
    await writeFile(join(user, 'module.mjs'), `${IMPORT}\nawait ${OPEN};`);
    await writeFile(join(user, 'script.cjs'), `${REQUIRE}\n${OPEN};`);
  });

  after(async () => {
    if (folder) await rm(folder, { recursive: true });
  });

  it('compiles once', () => {
    assert.equal(build.match(/CXX.*\/addon\.o$/gm)?.length, 1, build);
  });

  it('holds the binary and an executable namespace_exec', () => {
    const listing = output(folder, 'tar', '-tvf', tarball);
    const prebuilds = `package/prebuilds/linux-${process.arch}`;
    assert.match(listing, new RegExp(`^-rwxr-xr-x .* ${prebuilds}/namespace_exec$`, 'm'));
    assert.match(listing, new RegExp(` ${prebuilds}/tuntap-native\\.(glibc|musl)\\.node$`, 'm'));
    assert.doesNotMatch(listing, / package\/(test|out|bench|build|scripts|node_modules)\//);
  });

  it('is published as it is packed', async () => {
    assert.ok((await publish(tree)).equals(await readFile(tarball)));
  });

  it('has no script for npm to run when it is installed, and needs none to be allowed', async () => {
    const { scripts, gypfile } = JSON.parse(
      await readFile(join(user, 'node_modules/tuntap-native/package.json'), 'utf8'),
    );
    const lifecycle = [
      'preinstall',
      'install',
      'postinstall',
      'prepublish',
      'preprepare',
      'prepare',
      'postprepare',
    ];
    assert.deepEqual(
      lifecycle.filter((script) => script in scripts),
      [],
    );
    // npm would build where it finds a binding.gyp.
    assert.equal(gypfile, false);
    const other = join(folder, 'other');
    await mkdir(other);
    await writeFile(join(other, 'package.json'), '{ "private": true }');
    output(other, 'npm', 'install', '--prefer-offline', tarball);
  });

  describe('is not packed', () => {
    const packed = (): Outcome => outcome(tree, 'npm', 'pack', '--pack-destination', folder);

    /** Packs while one file of the tree is changed. */
    async function packedWith(file: string, change: (path: string) => Promise<void>): Promise<Outcome> {
      const path = join(tree, file);
      const [bytes, { mode, mtime }] = [await readFile(path), await stat(path)];
      try {
        await change(path);
        return packed();
      } finally {
        await writeFile(path, bytes, { mode });
        await chmod(path, mode);
        await utimes(path, mtime, mtime);
      }
    }

    const ADDON = `prebuilds/linux-${process.arch}/tuntap-native.glibc.node`;
    const HELPER = `prebuilds/linux-${process.arch}/namespace_exec`;
    const touch = (path: string): Promise<void> => utimes(path, new Date(), new Date());

    function assertRefused({ status, stderr }: Outcome, ...texts: string[]): void {
      assert.notEqual(status, 0);
      for (const text of texts) assert.ok(stderr.includes(text), `${text}\n${stderr}`);
    }

    it('before it is built: says all that is missing and the command that makes it', () => {
      assertRefused(unbuilt, ADDON, HELPER, 'dist/index.js', 'npm run prebuild', 'npm run build:lib');
    });

    for (const file of [ADDON, HELPER, 'dist/index.js', 'dist/net/index.d.ts']) {
      it(`without ${file}`, async () => {
        assertRefused(await packedWith(file, (path) => rm(path)), `${file} is missing`);
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
      await writeFile(join(tree, 'dist/old.js'), '');
      const refused = packed();
      await rm(join(tree, 'dist/old.js'));
      assertRefused(refused, 'dist/old.js');
    });

    it('otherwise, and packing changes nothing of the tree', async () => {
      const before = output(tree, 'find', '.', '-type', 'f', '-printf', '%p %T@\n');
      assert.equal(packed().status, 0);
      assert.equal(output(tree, 'find', '.', '-type', 'f', '-printf', '%p %T@\n'), before);
    });
  });

  it('is built again where it is stale, and nowhere else, by what comes before the demo and the tests', async () => {
    const ready = (): string => output(tree, 'node', 'scripts/build.js');
    assert.equal(ready(), '');
    await writeFile(join(tree, 'dist/old.js'), '');
    assert.equal(ready(), 'npm run build:lib: dist/old.js has no source any more\n');
    assert.equal(ready(), '');
    await assert.rejects(access(join(tree, 'dist/old.js')), { code: 'ENOENT' });
    const { scripts } = JSON.parse(await readFile(join(tree, 'package.json'), 'utf8'));
    for (const hook of ['predemo', 'pretest']) assert.match(scripts[hook], /node scripts\/build\.js$/);
  });

  for (const program of ['module.mjs', 'script.cjs']) {
    it(`opens a device in a namespace from ${program}`, () => {
      assert.equal(output(user, process.execPath, program), '1500\n');
    });
  }

  it('has types that a TypeScript user gets by moduleResolution nodenext', async () => {
    const compilerOptions = {
      module: 'nodenext',
      moduleResolution: 'nodenext',
      target: 'es2022',
      lib: ['es2023', 'esnext.disposable'],
      strict: true,
      noEmit: true,
      types: ['node'],
      typeRoots: [join(ROOT, 'node_modules/@types')],
    };
    await writeFile(join(user, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['typed.ts'] }));
    await writeFile(join(user, 'typed.ts'), TYPED);
    output(user, process.execPath, join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', user);
  });

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
    assert.match(message, new RegExp(`no prebuilt binary for linux-${process.arch}`));
    const command = /npx node-gyp rebuild .*$/.exec(message)?.[0];
    assert.ok(command, message);
    // Where npx finds node-gyp without the network.
    output(tree, 'sh', '-c', command);
    assert.ok((await readdir(join(installed, 'build/Release'))).includes('namespace_exec'));
    assert.equal(output(user, process.execPath, 'module.mjs'), '1500\n');
  });
});

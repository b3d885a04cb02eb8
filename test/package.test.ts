import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { needs } from './support.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const NOT_COPIED = new Set(['.git', 'build', 'node_modules', 'out', 'prebuilds']);

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
  // Compiles on every core: node-gyp reads JOBS.
  return spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...env, JOBS: 'max' } });
}

/** What a command prints; throws where it fails. */
function output(cwd: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = outcome(cwd, command, ...args);
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`);
  return stdout;
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
  let user: string;
  let tarball: string;

  before(async function () {
    needs(this, 'npm', 'npx', 'tar', 'python3', 'make', 'g++');
    folder = await mkdtemp(join(tmpdir(), 'tuntap-package-'));
    user = join(folder, 'user');
    const tree = join(folder, 'tree');
    // A copy, since prebuildify empties build/.
    await cp(ROOT, tree, { recursive: true, filter: (path) => !NOT_COPIED.has(relative(ROOT, path)) });
    await symlink(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
    output(tree, 'npm', 'run', '--silent', 'prebuild');
    await mkdir(user);
    const packed = output(tree, 'npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', folder);
    tarball = join(folder, packed.trim());
    await writeFile(join(user, 'package.json'), '{ "private": true, "type": "module" }');
    const quiet = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--silent'];
    output(user, 'npm', 'install', ...quiet, tarball);
    await writeFile(join(user, 'module.mjs'), `${IMPORT}\nawait ${OPEN};`);
    await writeFile(join(user, 'script.cjs'), `${REQUIRE}\n${OPEN};`);
  });

  after(async () => {
    if (folder) await rm(folder, { recursive: true });
  });

  it('holds the binary and an executable namespace_exec, and needs no install script', () => {
    const listing = output(folder, 'tar', '-tvf', tarball);
    const prebuilds = `package/prebuilds/linux-${process.arch}`;
    assert.match(listing, new RegExp(`^-rwxr-xr-x .* ${prebuilds}/namespace_exec$`, 'm'));
    assert.match(listing, new RegExp(` ${prebuilds}/tuntap-native\\.(glibc|musl)\\.node$`, 'm'));
    assert.doesNotMatch(listing, / package\/(test|out|bench|build|node_modules)\//);
    const manifest = JSON.parse(readFileSync(join(user, 'node_modules/tuntap-native/package.json'), 'utf8'));
    for (const script of ['preinstall', 'install', 'postinstall'])
      assert.equal(manifest.scripts[script], undefined);
    // npm would build where it finds a binding.gyp.
    assert.equal(manifest.gypfile, false);
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
    output(join(folder, 'tree'), 'sh', '-c', command);
    assert.ok((await readdir(join(installed, 'build/Release'))).includes('namespace_exec'));
    assert.equal(output(user, process.execPath, 'module.mjs'), '1500\n');
  });
});

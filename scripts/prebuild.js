/**
 * Builds the binaries that the package holds, all on one x64 machine: `npm run prebuild`. prebuildify names and places
 * them, zig compiles. It works on a copy of the sources, so that build/ stays the developer's own. To build one or some:
 *   npm run prebuild -- x64-glibc arm64-musl
 */

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ADDONS, faultsOf, faultsOfAddon, faultsOfHelper, HELPERS } from './check-prebuilds.js';
import { zig, zigCache } from './zig.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

const MACHINES = { x64: 'x86_64', arm64: 'aarch64' };
// glibc 2.28 is what the oldest supported Node.js itself needs.
const SYSTEMS = { glibc: 'linux-gnu.2.28', musl: 'linux-musl' };
// One object for each level of src-cpp/crypto/bundled_ciphers.cc, and one for all processors.
const BASELINE = { x64: 'x86_64', arm64: 'generic' };
const CIPHERS = {
  x64: [BASELINE.x64, 'x86_64_v3+aes+pclmul'],
  arm64: [BASELINE.arm64, 'generic+aes'],
};
const COPIED = ['package.json', 'binding.gyp', 'src-cpp'];

if (process.platform !== 'linux' || process.arch !== 'x64') {
  console.error('npm run prebuild needs Linux on x64: zig is fetched for that alone.');
  process.exit(1);
}

const wanted = process.argv.slice(2);
const nameOf = ({ arch, libc }) => `${arch}-${libc}`;
const unknown = wanted.filter((name) => !ADDONS.some((addon) => nameOf(addon) === name));
if (unknown.length > 0) {
  console.error(
    `npm run prebuild builds ${ADDONS.map(nameOf).join(', ')}; it can't build ${unknown.join(', ')}.`,
  );
  process.exit(1);
}
const addons = ADDONS.filter((addon) => wanted.length === 0 || wanted.includes(nameOf(addon)));
const helpers = HELPERS.filter(({ arch }) => addons.some((addon) => addon.arch === arch));

const program = zig();
// Always the same, so that zig finds in its cache what it compiled before.
const work = join(ROOT, 'prebuilds.work');
const env = {
  ...process.env,
  ZIG: program,
  ZIG_GLOBAL_CACHE_DIR: zigCache,
  ZIG_LOCAL_CACHE_DIR: zigCache,
  JOBS: 'max',
};
const run = (command, args, options) => execFileSync(command, args, { stdio: 'inherit', env, ...options });

const objects = {};

/** The folder in which one target is built. */
function makeTree(name) {
  const tree = join(work, name);
  mkdirSync(tree);
  for (const file of COPIED) cpSync(join(ROOT, file), join(tree, file), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  return tree;
}

/** Compiles the bundled ciphers, which no C library is in. @returns the objects, to be linked into the addon */
function buildCiphers(arch) {
  const compile = (source, processor, name) => {
    const object = join(work, name);
    const target = ['-target', `${MACHINES[arch]}-linux-musl`, `-mcpu=${processor}`];
    const options = ['-O', 'ReleaseFast', '-fPIC', '-fstrip', '-fsingle-threaded', `-femit-bin=${object}`];
    run(program, ['build-obj', ...target, ...options, join(ROOT, 'src-zig', source)]);
    return object;
  };
  const levels = CIPHERS[arch].map((cpu, i) => compile('cipher.zig', cpu, `cipher-${arch}-${i}.o`));
  return [...levels, compile('handshake.zig', BASELINE[arch], `handshake-${arch}.o`)];
}

function buildAddon({ arch, libc }) {
  const compiler = (name) => join(work, name);
  // Nothing unwinds the stack, since nothing throws; node-addon-api has more than is used.
  const smaller = '-ffunction-sections -fno-asynchronous-unwind-tables -fno-unwind-tables';
  const variables = {
    CC: compiler('zigcc'),
    CXX: compiler('zigc++'),
    LINK: compiler('zigc++'),
    AR: compiler('zigar'),
    CFLAGS: smaller,
    CXXFLAGS: smaller,
    LDFLAGS: ['-Wl,--gc-sections', ...objects[arch]].join(' '),
    ZIG_TARGET: `${MACHINES[arch]}-${SYSTEMS[libc]}`,
    PREBUILD_LIBC: libc,
  };
  run(join(ROOT, 'node_modules/.bin/prebuildify'), ['--napi', '--tag-libc', '--arch', arch, '--out', work], {
    cwd: makeTree(`${arch}-${libc}`),
    env: { ...env, ...variables },
  });
}

/** A static one serves both C libraries. */
function buildHelper({ arch, file }) {
  const options = ['-target', `${MACHINES[arch]}-linux-musl`, '-static', '-Os', '-s', '-Wall', '-Wextra'];
  run(program, ['cc', ...options, join(ROOT, 'src-cpp/programs/namespace_exec.c'), '-o', join(work, file)]);
}

rmSync(work, { recursive: true, force: true });
mkdirSync(work);
try {
  for (const name of ['zigcc', 'zigc++', 'zigar']) {
    symlinkSync(join(ROOT, 'scripts/zig-cc.sh'), join(work, name));
  }
  for (const { arch } of helpers) objects[arch] = buildCiphers(arch);
  for (const addon of addons) {
    console.log(`linux-${addon.arch}, ${addon.libc}`);
    buildAddon(addon);
  }
  for (const helper of helpers) buildHelper(helper);
  const faults = [...faultsOf(addons, faultsOfAddon, work), ...faultsOf(helpers, faultsOfHelper, work)];
  if (faults.length > 0) throw new Error(faults.join('\n'));
  for (const { file } of [...addons, ...helpers]) cpSync(join(work, file), join(ROOT, file));
} finally {
  rmSync(work, { recursive: true, force: true });
}

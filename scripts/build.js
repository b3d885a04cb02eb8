/**
 * Builds what is missing or older than its sources: the hooks of `npm run demo`, `npm test` and their like run it.
 * With `--check`, builds and deletes nothing: lists what a package made now would lack, and fails if that is anything.
 */

import { spawnSync } from 'node:child_process';
import { constants, existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ADDONS, faultsOfPrebuilds, HELPERS } from './check-prebuilds.js';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

/** @returns {string[]} the files below a folder; none where there is no such folder */
function filesOf(folder) {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

const age = (file) => statSync(file).mtimeMs;

/** Compares an output with its sources; @returns {string[]} what is wrong with it */
function faultsOf(output, sources) {
  if (!existsSync(output)) return [`${output} is missing`];
  const newer = sources.find((source) => age(source) > age(output));
  return newer ? [`${output} is older than ${newer}`] : [];
}

/** What scripts/join-modules.js makes of all modules. */
const PARTS = join('dist', 'parts/');

/** The same for all that tsc makes of some folders, where each source has outputs of its own. */
function faultsOfCompiled({ folders, rootDir, outDir, extensions, settings }) {
  const outputs = new Map();
  for (const source of folders.flatMap(filesOf).filter((file) => /(?<!\.d)\.ts$/.test(file))) {
    const stem = join(outDir, source.slice(rootDir.length, -'.ts'.length));
    for (const extension of extensions) outputs.set(`${stem}${extension}`, [source, ...settings]);
  }
  const orphans = filesOf(outDir).filter((file) => !outputs.has(file) && !file.startsWith(PARTS));
  return [
    ...[...outputs].flatMap(([output, sources]) => faultsOf(output, sources)),
    ...orphans.map((file) => `${file} has no source any more`),
  ];
}

const cppSources = ['binding.gyp', ...filesOf('src-cpp')];
const isOfHelper = (file) => file.startsWith(join('src-cpp', 'programs/'));
const prebuildSources = [...cppSources, ...filesOf('src-zig')];

function faultsOfBinary(file) {
  const helper = join(dirname(file), 'namespace_exec');
  const faults = [
    ...faultsOf(
      file,
      cppSources.filter((source) => !isOfHelper(source)),
    ),
    ...faultsOf(helper, cppSources.filter(isOfHelper)),
  ];
  if (existsSync(helper) && !(statSync(helper).mode & constants.S_IXUSR))
    faults.push(`${helper} is not executable`);
  return faults;
}

/** The parts, in the order in which they are built, each by its npm script. */
const parts = {
  'build:addon': () => {
    process.report.excludeNetwork = true; // it would ask name servers
    const libc = process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl';
    const prebuilt = `prebuilds/linux-${process.arch}/tuntap-native.${libc}.node`;
    const candidates = ['build/Release/tuntap_native.node', prebuilt].map(faultsOfBinary);
    return candidates.some((faults) => faults.length === 0) ? [] : candidates[0];
  },
  'build:lib': () => [
    ...faultsOfCompiled({
      folders: ['lib'],
      rootDir: 'lib',
      outDir: 'dist',
      extensions: ['.js', '.d.ts'],
      settings: ['tsconfig.json'],
    }),
    ...faultsOf(join(PARTS, 'main.js'), [...filesOf('lib'), 'scripts/join-modules.js']),
  ],
  'build:programs': () =>
    faultsOfCompiled({
      folders: ['test', 'examples', 'bench'],
      rootDir: '',
      outDir: 'out',
      extensions: ['.js', '.js.map'],
      settings: ['tsconfig.json', 'tsconfig.programs.json'],
    }),
};

function build() {
  for (const [script, faults] of Object.entries(parts)) {
    const [first] = faults();
    if (first === undefined) continue;
    console.log(`npm run ${script}: ${first}`);
    const { status } = spawnSync('npm', ['run', '--silent', script], { stdio: 'inherit' });
    if (status !== 0) process.exit(1);
  }
}

function check() {
  const stale = [...ADDONS, ...HELPERS].filter(({ file }) => existsSync(file));
  const faults = {
    'npm run prebuild': [
      ...faultsOfPrebuilds(),
      ...stale.flatMap(({ file }) => faultsOf(file, prebuildSources)),
    ],
    'npm run build:lib': parts['build:lib'](),
  };
  const wrong = Object.entries(faults).filter(([, list]) => list.length > 0);
  if (wrong.length === 0) return;
  console.error('tuntap-native: this tree is not ready to be packed.');
  for (const [cure, list] of wrong) {
    console.error(`- ${cure}`);
    for (const fault of list.slice(0, 6)) console.error(`    ${fault}`);
    if (list.length > 6) console.error(`    and ${list.length - 6} more`);
  }
  process.exit(1);
}

if (process.argv.includes('--check')) check();
else build();

/**
 * Says what is wrong with prebuilds/: `node scripts/check-prebuilds.js` fails if that is anything, and scripts/build.js
 * --check asks, too, before anything is packed. A binary that loads on this machine may fail on another: a newer glibc,
 * or a C++ library, may be missing there.
 */

import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readElf } from './elf.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

/** What Node.js 20 to 26 themselves need. */
const GLIBC = [2, 28];
const OF_GLIBC = /^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|ld-linux-[\w-]+\.so\.\d)$/;
const OF_MUSL = /^libc\.so$/;
const EXPORTED = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];
// Symbols of the runtime have no version. So have those that the link found in no library: the program loads and looks
// well on a system that has them, and does not load on another.
const OF_RUNTIME = /^(napi_|node_api_|__gmon_start__$)/;

export const ADDONS = ['x64', 'arm64'].flatMap((arch) =>
  ['glibc', 'musl'].map((libc) => ({
    arch,
    libc,
    file: `prebuilds/linux-${arch}/tuntap-native.${libc}.node`,
  })),
);
export const HELPERS = ['x64', 'arm64'].map((arch) => ({
  arch,
  file: `prebuilds/linux-${arch}/namespace_exec`,
}));

const isNewer = (version) => {
  const [major, minor = 0] = version.split('.').map(Number);
  return major > GLIBC[0] || (major === GLIBC[0] && minor > GLIBC[1]);
};

/** @returns {string[]} what keeps an addon from being loaded where it should be */
export function faultsOfAddon(path, { arch, libc }) {
  const elf = readElf(path);
  if (elf === undefined) return ['is no 64-bit ELF file'];
  const libraries = libc === 'glibc' ? OF_GLIBC : OF_MUSL;
  const faults = [];
  if (elf.machine !== arch) faults.push(`is for ${elf.machine}`);
  for (const name of elf.needed) if (!libraries.test(name)) faults.push(`needs ${name}`);
  for (const version of elf.versions) {
    const [, glibc] = /^GLIBC_(.*)$/.exec(version) ?? [];
    if (glibc === undefined || isNewer(glibc)) faults.push(`needs ${version}`);
  }
  const isForeign = (name) => !OF_RUNTIME.test(name);
  // Those of musl's own library never have a version.
  if (libc === 'glibc') {
    for (const name of elf.undefined.filter(isForeign)) faults.push(`needs ${name}, which no library has`);
  }
  for (const name of elf.exported) if (!EXPORTED.includes(name)) faults.push(`exports ${name}`);
  return faults;
}

/** @returns {string[]} the same for namespace_exec, which needs nothing at all */
export function faultsOfHelper(path, { arch }) {
  const elf = readElf(path);
  if (elf === undefined) return ['is no 64-bit ELF file'];
  const faults = elf.needed.map((name) => `needs ${name}`);
  if (elf.machine !== arch) faults.push(`is for ${elf.machine}`);
  if (!(statSync(path).mode & 0o100)) faults.push('is not executable');
  return faults;
}

/** @returns {string[]} what `faultsOfOne` finds at files of the list below a folder, and those that are missing */
export function faultsOf(list, faultsOfOne, folder) {
  return list.flatMap((entry) => {
    const path = join(folder, entry.file);
    const faults = existsSync(path) ? faultsOfOne(path, entry) : ['is missing'];
    return faults.map((fault) => `${entry.file} ${fault}`);
  });
}

/** @returns {string[]} what is wrong with all that prebuilds/ should hold */
export const faultsOfPrebuilds = () => [
  ...faultsOf(ADDONS, faultsOfAddon, ROOT),
  ...faultsOf(HELPERS, faultsOfHelper, ROOT),
];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const faults = faultsOfPrebuilds();
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) process.exit(1);
  console.log(`${ADDONS.length} addons and ${HELPERS.length} helper programs are fit to be packed.`);
}

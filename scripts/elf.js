/** Reads of a 64-bit little-endian ELF file what the dynamic linker would: elf(5). */

import { readFileSync } from 'node:fs';

const SHT_DYNAMIC = 6;
const SHT_DYNSYM = 11;
const SHT_GNU_VERNEED = 0x6ffffffe;
const SHT_GNU_VERSYM = 0x6fffffff;
const DT_NEEDED = 1;
const MACHINES = { 62: 'x64', 183: 'arm64' };

/**
 * @returns `machine`, as process.arch names it; `needed`, the shared libraries; `versions`, those of symbols that it needs;
 * `undefined`, symbols that it needs without a version; `exported`. Or undefined: it is no such file.
 */
export function readElf(file) {
  const bytes = readFileSync(file);
  const at = (from) => Number(bytes.readBigUInt64LE(from));
  const text = (table, from) => {
    const begin = table.offset + from;
    return bytes.toString('latin1', begin, bytes.indexOf(0, begin));
  };
  if (bytes.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return undefined;

  const sections = Array.from({ length: bytes.readUInt16LE(60) }, (_, i) => {
    const header = at(40) + 64 * i;
    const [type, link] = [bytes.readUInt32LE(header + 4), bytes.readUInt32LE(header + 40)];
    return {
      type,
      link,
      offset: at(header + 24),
      size: at(header + 32),
      count: bytes.readUInt32LE(header + 44),
    };
  });
  const find = (type) => sections.find((section) => section.type === type);
  const strings = (section) => sections[section.link];

  const needed = [];
  const dynamic = find(SHT_DYNAMIC);
  for (let i = 0; dynamic && i < dynamic.size; i += 16) {
    if (at(dynamic.offset + i) === DT_NEEDED) needed.push(text(strings(dynamic), at(dynamic.offset + i + 8)));
  }

  const versions = [];
  const verneed = find(SHT_GNU_VERNEED);
  let library = verneed?.offset;
  for (let i = 0; verneed && i < verneed.count; i++) {
    let version = library + bytes.readUInt32LE(library + 8);
    for (let j = bytes.readUInt16LE(library + 2); j > 0; j--) {
      versions.push(text(strings(verneed), bytes.readUInt32LE(version + 8)));
      version += bytes.readUInt32LE(version + 12);
    }
    library += bytes.readUInt32LE(library + 12);
  }

  const [undefinedSymbols, exported] = [[], []];
  const symbols = find(SHT_DYNSYM);
  const versym = find(SHT_GNU_VERSYM);
  for (let i = 1; symbols && i < symbols.size / 24; i++) {
    const symbol = symbols.offset + 24 * i;
    const name = text(strings(symbols), bytes.readUInt32LE(symbol));
    const isUndefined = bytes.readUInt16LE(symbol + 6) === 0;
    // 0 and 1 stand for none.
    const versioned = versym !== undefined && bytes.readUInt16LE(versym.offset + 2 * i) > 1;
    if (!isUndefined) exported.push(name);
    else if (!versioned) undefinedSymbols.push(name);
  }
  return {
    machine: MACHINES[bytes.readUInt16LE(18)] ?? 'another machine',
    needed,
    versions,
    undefined: undefinedSymbols,
    exported,
  };
}

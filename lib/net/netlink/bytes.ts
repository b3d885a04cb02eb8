/**
 * Integers in the machine's byte order, and texts that end with a NUL. Of the architectures that run Node.js on Linux,
 * only s390x is not little endian.
 */

import { endianness } from 'node:os';

const LITTLE_ENDIAN = endianness() === 'LE';

/** Netlink pads everything to four bytes. */
export const align = (length: number): number => (length + 3) & ~3;

/** Makes a function that writes a number into a buffer of its own. */
function writer<T>(size: number, write: (into: Buffer, value: T) => unknown): (value: T) => Buffer {
  return (value) => {
    const bytes = Buffer.alloc(size);
    write(bytes, value);
    return bytes;
  };
}

export const u8 = (value: number): Buffer => Buffer.of(value);
export const u16be = writer<number>(2, (into, value) => into.writeUInt16BE(value));
export const u32be = writer<number>(4, (into, value) => into.writeUInt32BE(value));
export const u16 = LITTLE_ENDIAN ? writer<number>(2, (into, value) => into.writeUInt16LE(value)) : u16be;
/** A negative number is written as its two's complement. */
export const u32 = writer<number>(4, (into, value) =>
  LITTLE_ENDIAN ? into.writeUInt32LE(value >>> 0) : into.writeUInt32BE(value >>> 0),
);
export const u64 = writer<bigint>(8, (into, value) =>
  LITTLE_ENDIAN ? into.writeBigUInt64LE(value) : into.writeBigUInt64BE(value),
);

export function readU16(bytes: Buffer, offset = 0): number {
  return LITTLE_ENDIAN ? bytes.readUInt16LE(offset) : bytes.readUInt16BE(offset);
}

export function readU32(bytes: Buffer, offset = 0): number {
  return LITTLE_ENDIAN ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset);
}

export function readI32(bytes: Buffer, offset = 0): number {
  return readU32(bytes, offset) | 0;
}

export function readU64(bytes: Buffer, offset = 0): bigint {
  return LITTLE_ENDIAN ? bytes.readBigUInt64LE(offset) : bytes.readBigUInt64BE(offset);
}

/** A string with its terminating NUL. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

export function readText(bytes: Buffer, start = 0, end = bytes.length): string {
  const nul = bytes.indexOf(0, start);
  return bytes.toString('utf8', start, nul < 0 || nul > end ? end : nul);
}

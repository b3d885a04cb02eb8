/**
 * Integers in the machine's byte order, and texts that end with a NUL. Of the architectures that run Node.js on Linux,
 * only s390x is not little endian.
 */

import { endianness } from 'node:os';

const LITTLE_ENDIAN = endianness() === 'LE';

/** Netlink pads everything to four bytes. */
export const align = (length: number): number => (length + 3) & ~3;

export const u8 = (value: number): Buffer => Buffer.of(value);
export const u16 = (value: number): Buffer => Buffer.from(Uint16Array.of(value).buffer);
/** A negative number is written as its two's complement. */
export const u32 = (value: number): Buffer => Buffer.from(Uint32Array.of(value).buffer);
export const u64 = (value: bigint): Buffer => Buffer.from(BigUint64Array.of(value).buffer);
export const u16be = (value: number): Buffer => Buffer.of(value >> 8, value);
export const u32be = (value: number): Buffer => Buffer.of(value >>> 24, value >>> 16, value >>> 8, value);

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

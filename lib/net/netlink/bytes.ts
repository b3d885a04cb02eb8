/**
 * Integers in the machine's byte order, which is little endian on every architecture that Node runs Linux on
 * but s390x, and texts that end with a NUL.
 */

import { endianness } from 'node:os';

const LITTLE_ENDIAN = endianness() === 'LE';

/** Netlink pads everything to four bytes. */
export const align = (length: number): number => (length + 3) & ~3;

export function u8(value: number): Buffer {
  return Buffer.of(value);
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  LITTLE_ENDIAN ? bytes.writeUInt16LE(value) : bytes.writeUInt16BE(value);
  return bytes;
}

/** Also of a negative number, as its two's complement. */
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  LITTLE_ENDIAN ? bytes.writeUInt32LE(value >>> 0) : bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  LITTLE_ENDIAN ? bytes.writeBigUInt64LE(value) : bytes.writeBigUInt64BE(value);
  return bytes;
}

/** In network order. */
export function u16be(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

/** In network order. */
export function u32be(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

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

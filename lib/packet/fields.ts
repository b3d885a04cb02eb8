/** Header fields in network order: reading, writing, and the ranges that builders and setters accept. */

import { invalidArgType, outOfRange, requireInteger } from '../arguments.js';

/** An absent payload or absent options. */
export const NO_BYTES = new Uint8Array(0);

export function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function read32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at, value >>> 16);
  write16(bytes, at + 2, value);
}

export function uint8(name: string, value: unknown): number {
  return requireInteger(name, value, 0, 0xff);
}

export function uint16(name: string, value: unknown): number {
  return requireInteger(name, value, 0, 0xffff);
}

export function uint32(name: string, value: unknown): number {
  return requireInteger(name, value, 0, 0xffffffff);
}

/** Throws unless `value` is a Uint8Array of at most `maximum` bytes. */
export function requireBytes(name: string, value: unknown, maximum: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw invalidArgType(name, 'a Buffer or Uint8Array', value);
  if (value.length > maximum) throw outOfRange(`${name}.length`, `at most ${maximum}`, value.length);
  return value;
}

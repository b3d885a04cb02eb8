/** How values stand in netlink attributes. */

import { formatIpv4, formatIpv6, formatMac, parseIp } from '../../address.js';
import {
  invalidArgType,
  invalidArgValue,
  outOfRange,
  requireBoolean,
  requireInteger,
} from '../../arguments.js';
import type { AttributeTable, Codec, Decoded, Shape, Values } from './attributes.js';
import * as bytes from './bytes.js';
import type { EnumNames } from './names.js';

const atLeast = (size: number) => (length: number) => length >= size;

function integer(
  size: number,
  minimum: number,
  maximum: number,
  read: (from: Buffer, start: number) => number,
  write: (value: number) => Uint8Array,
): Codec<number> {
  return {
    fits: atLeast(size),
    read,
    write: (value, field) => write(requireInteger(field, value, minimum, maximum)),
  };
}

export const u8 = integer(1, 0, 0xff, (from, start) => from[start], bytes.u8);
export const u16 = integer(2, 0, 0xffff, bytes.readU16, bytes.u16);
export const u32 = integer(4, 0, 0xffffffff, bytes.readU32, bytes.u32);
export const i32 = integer(4, -0x80000000, 0x7fffffff, bytes.readI32, bytes.u32);

/** In network order. */
export const u16be = integer(2, 0, 0xffff, (from, start) => from.readUInt16BE(start), bytes.u16be);
/** In network order. */
export const u32be = integer(4, 0, 0xffffffff, (from, start) => from.readUInt32BE(start), bytes.u32be);

/** A counter, exact up to 2^53. */
export const u64: Codec<number> = {
  fits: atLeast(8),
  read: (from, start) => Number(bytes.readU64(from, start)),
  write: (value, field) => bytes.u64(BigInt(requireInteger(field, value, 0, Number.MAX_SAFE_INTEGER))),
};

/** A byte that is 0 or 1. */
export const flag: Codec<boolean> = {
  fits: atLeast(1),
  read: (from, start) => from[start] !== 0,
  write: (value, field) => bytes.u8(Number(requireBoolean(field, value))),
};

/** As {@link flag}, in four bytes. */
export const flag32: Codec<boolean> = {
  fits: atLeast(4),
  read: (from, start) => bytes.readU32(from, start) !== 0,
  write: (value, field) => bytes.u32(Number(requireBoolean(field, value))),
};

/** A time in the kernel's clock_t, hundredths of a second whatever its CONFIG_HZ; here in seconds. */
export const clockTime: Codec<number> = {
  fits: atLeast(4),
  read: (from, start) => bytes.readU32(from, start) / 100,
  write: (value, field) => bytes.u32(hundredths(field, value)),
};

/** A timer in clock_t, 64 bits wide. */
export const clockTime64 = {
  fits: atLeast(8),
  read: (from: Buffer, start: number): number => Number(bytes.readU64(from, start)) / 100,
};

function hundredths(field: string, value: unknown): number {
  if (typeof value !== 'number') throw invalidArgType(field, 'a number of seconds', value);
  const whole = Math.round(value * 100);
  if (!(whole >= 0 && whole <= 0xffffffff)) throw outOfRange(field, 'a number of seconds', value);
  return whole;
}

export const text: Codec<string> = {
  fits: () => true,
  read: bytes.readText,
  write(value, field) {
    if (typeof value !== 'string') throw invalidArgType(field, 'a string', value);
    if (value.includes('\0')) throw invalidArgValue(field, value, 'must not hold a NUL');
    return bytes.text(value);
  },
};

/** Bytes as they are: a view of what was received. */
export const raw: Codec<Uint8Array> = {
  fits: () => true,
  read: (from, start, end) => from.subarray(start, end),
  write: (value) => value,
};

/** An IPv4 or IPv6 address. */
export const ip: Codec<string> = {
  fits: (length) => length === 4 || length === 16,
  read: (from, start, end) => (end - start === 4 ? formatIpv4(from, start) : formatIpv6(from, start)),
  write: (value) => parseIp(value),
};

/** A link-layer address: that of Ethernet, or of any other length in the same notation. */
export const linkLayerAddress: Codec<string> = {
  fits: (length) => length > 0 && length <= 32,
  read(from, start, end) {
    if (end - start === 6) return formatMac(from, start);
    return from.toString('hex', start, end).replace(/..(?=.)/g, '$&:');
  },
  write(value, field) {
    if (typeof value !== 'string') throw invalidArgType(field, 'a string', value);
    if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){0,31}$/i.test(value)) {
      throw invalidArgValue(field, value, "must be a link-layer address such as '02:00:5e:10:00:01'");
    }
    return Buffer.from(value.replaceAll(':', ''), 'hex');
  },
};

/** First and last port, or other numbers, of a range. */
export function range(number: Codec<number>, size: number): Codec<readonly [number, number]> {
  return {
    fits: atLeast(2 * size),
    read: (from, start, end) => [number.read(from, start, end, {}), number.read(from, start + size, end, {})],
    write(value, field) {
      if (!Array.isArray(value) || value.length !== 2)
        throw invalidArgType(field, 'an array of two numbers', value);
      return Buffer.concat(value.map((each) => number.write(each, field, {})));
    },
  };
}

/** A number that has names. */
export function named<N extends string>(number: Codec<number>, names: EnumNames<N>): Codec<N | number> {
  return {
    fits: number.fits,
    read: (from, start, end, siblings) => names.nameOf(number.read(from, start, end, siblings)),
    write: (value, field, siblings) => number.write(names.number(field, value), field, siblings),
  };
}

/** What the kernel tells and is never told. */
export function readOnly<T>(codec: Pick<Codec<T>, 'fits' | 'read'>): Codec<T> {
  return { fits: codec.fits, read: codec.read, readOnly: true, write: () => Buffer.alloc(0) };
}

/** Attributes in an attribute. */
export function nested<S extends Shape>(table: AttributeTable<S>): Codec<Values<S> | Decoded<S>> {
  return {
    nested: true,
    fits: () => true,
    read: (from, start, end) => table.decode(from, start, end),
    write: (value) => table.encode(value),
    table: () => table as unknown as AttributeTable<Shape>,
  };
}

/**
 * Attributes in an attribute whose table goes by the text in the attribute `sibling`, which stands before it.
 * Without a table the value is its bytes.
 */
export function nestedBy(
  sibling: string,
  tables: Readonly<Record<string, AttributeTable<Shape>>>,
): Codec<object> {
  const tableFor = (siblings: Readonly<Record<string, unknown>>): AttributeTable<Shape> | undefined => {
    const key = siblings[sibling];
    return typeof key === 'string' && Object.hasOwn(tables, key) ? tables[key] : undefined;
  };
  return {
    nested: true,
    fits: () => true,
    read: (from, start, end, siblings) =>
      tableFor(siblings)?.decode(from, start, end) ?? from.subarray(start, end),
    write: (value, _field, siblings) => tableFor(siblings)?.encode(value as Values<Shape>) ?? Buffer.alloc(0),
    table: tableFor,
  };
}

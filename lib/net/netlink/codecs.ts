/** How values are encoded in netlink attributes. */

import { formatIpv4, formatIpv6, formatMac, parseIp } from '../../address.js';
import {
  invalidArgType,
  invalidArgValue,
  outOfRange,
  requireBoolean,
  requireInteger,
} from '../../arguments.js';
import type { AttributeTable, Codec, Fields, Shape, Values } from './attributes.js';
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

const booleanOf = (number: Codec<number>): Codec<boolean> => ({
  fits: number.fits,
  read: (from, start, end, siblings) => number.read(from, start, end, siblings) !== 0,
  write: (value, field, siblings) => number.write(Number(requireBoolean(field, value)), field, siblings),
});

/** A byte that is 0 or 1. */
export const flag = booleanOf(u8);
/** A number of four bytes that is 0 or 1. */
export const flag32 = booleanOf(u32);

/** A number of a coarser unit than the kernel's: what `divisor` of its steps make is 1 here. */
export function scaled(divisor: number): Codec<number> {
  return {
    fits: atLeast(4),
    read: (from, start) => bytes.readU32(from, start) / divisor,
    write(value, field) {
      if (typeof value !== 'number') throw invalidArgType(field, 'of type number', value);
      const steps = Math.round(value * divisor);
      if (!(steps >= 0 && steps <= 0xffffffff)) {
        throw outOfRange(field, `from 0 to ${0xffffffff / divisor}`, value);
      }
      return bytes.u32(steps);
    },
  };
}

/** Seconds. The kernel's clock_t counts hundredths of a second, whatever its CONFIG_HZ is. */
export const clockTime = scaled(100);

/** Seconds, in a clock_t of 64 bits that is only read. */
export const clockTime64 = readOnly({
  fits: atLeast(8),
  read: (from: Buffer, start: number): number => Number(bytes.readU64(from, start)) / 100,
});

export const text: Codec<string> = {
  fits: () => true,
  read: bytes.readText,
  write(value, field) {
    if (typeof value !== 'string') throw invalidArgType(field, 'a string', value);
    if (value.includes('\0')) throw invalidArgValue(field, value, 'must not contain a NUL');
    return bytes.text(value);
  },
};

/** Bytes as they are. What is read is a view of the received message. */
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

/** A link-layer address of any length, written like an Ethernet address. */
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

/** The first and the last number of a range. */
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

/** A value that the kernel also sends as `none`, which stands for no value. */
export function optional<T>(codec: Codec<T>, none: T): Codec<T | undefined> {
  return {
    ...codec,
    read(from, start, end, siblings) {
      const value = codec.read(from, start, end, siblings);
      return value === none ? undefined : value;
    },
    write: (value, field, siblings) => codec.write(value as T, field, siblings),
  };
}

/** A value that only the kernel sends. */
export function readOnly<T>(codec: Pick<Codec<T>, 'fits' | 'read'>): Codec<T> {
  return { fits: codec.fits, read: codec.read, readOnly: true, write: () => Buffer.alloc(0) };
}

/** Attributes in an attribute, by the table that `tableFor` gives. Without a table, the value is its bytes. */
function nestedIn(tableFor: (siblings: Fields) => Table | undefined): Codec<object> {
  return {
    nested: true,
    fits: () => true,
    read: (from, start, end, siblings) =>
      tableFor(siblings)?.decode(from, start, end) ?? from.subarray(start, end),
    write: (value, _field, siblings) =>
      tableFor(siblings)?.encode(value as Values<Shape>) ?? (value as Uint8Array),
    table: tableFor,
  };
}

type Table = AttributeTable<Shape>;

/** Attributes in an attribute. */
export function nested<S extends Shape>(table: AttributeTable<S>): Codec<Values<S>> {
  return nestedIn(() => table as unknown as Table) as Codec<Values<S>>;
}

/** Attributes in an attribute. The text in the attribute `sibling`, which stands before it, chooses their table. */
export function nestedBy(sibling: string, tables: Readonly<Record<string, Table>>): Codec<object> {
  return nestedIn(({ [sibling]: key }) =>
    typeof key === 'string' && Object.hasOwn(tables, key) ? tables[key] : undefined,
  );
}

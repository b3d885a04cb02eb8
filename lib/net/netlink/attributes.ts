/**
 * Netlink attributes (type, length, value), encoded and decoded by tables. A table gives each attribute a
 * field's name, its number, the kernel's name for it and a codec; the same table reads, writes, and names the
 * attribute that the kernel complains about.
 */

import { align, readU16, u16 } from './bytes.js';

const HEADER_SIZE = 4;
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;

/** How a value is encoded. `siblings` holds the values of the attributes before it. */
export interface Codec<T> {
  /** Whether a value of this many bytes can be read. Others are kept as unknown. */
  fits(length: number): boolean;
  /** Returns undefined for a value that means nothing. */
  read(bytes: Buffer, start: number, end: number, siblings: Fields): T;
  /** Throws an error of misuse that names `field` if the value can't be right. */
  write(value: T, field: string, siblings: Fields): Uint8Array;
  /** Only the kernel sends it; it is not written. */
  readonly readOnly?: boolean;
  /** The value is attributes of its own. */
  readonly nested?: boolean;
  /** The table of those attributes. */
  table?(siblings: Fields): AttributeTable<Shape> | undefined;
}

/** One row of a table. */
export interface Attribute<T> {
  readonly type: number;
  /** The name in linux/*.h. */
  readonly kernelName: string;
  readonly codec: Codec<T>;
}

export function attribute<T>(type: number, kernelName: string, codec: Codec<T>): Attribute<T> {
  return { type, kernelName, codec };
}

/** An attribute that this package has no name for, or that has an unexpected length. */
export interface UnknownAttribute {
  /** Its number among those of its message. */
  readonly type: number;
  /** Its bytes as the kernel sent them. */
  readonly value: Buffer;
  /** Whether it was marked as nested (NLA_F_NESTED). */
  readonly nested?: true;
}

export type Fields = Readonly<Record<string, unknown>>;
export type Shape = Readonly<Record<string, Attribute<unknown>>>;

/** The values of a table's fields. */
export type FieldsOf<S extends Shape> = {
  readonly [K in keyof S]?: S[K] extends Attribute<infer T> ? T : never;
};

/** The values that a table reads and writes, and attributes that it has no field for. */
export type Values<S extends Shape> = FieldsOf<S> & { readonly unknown?: readonly UnknownAttribute[] };

export class AttributeTable<S extends Shape> {
  readonly #rows: readonly (readonly [field: string, Attribute<unknown>])[];
  readonly #byType: (readonly [field: string, Attribute<unknown>] | undefined)[] = [];

  constructor(shape: S) {
    this.#rows = Object.entries(shape);
    for (const row of this.#rows) this.#byType[row[1].type] = row;
  }

  /** Reads the attributes at `start`. Of one that is repeated, the last counts. */
  decode(bytes: Buffer, start = 0, end = bytes.length): Values<S> {
    const values: Record<string, unknown> = {};
    let unknown: UnknownAttribute[] | undefined;
    for (let offset = start; offset + HEADER_SIZE <= end; ) {
      const length = readU16(bytes, offset);
      if (length < HEADER_SIZE || length > end - offset) break;
      const flaggedType = readU16(bytes, offset + 2);
      const type = flaggedType & NLA_TYPE_MASK;
      const row = this.#byType[type];
      const valueStart = offset + HEADER_SIZE;
      const valueEnd = offset + length;
      if (row?.[1].codec.fits(length - HEADER_SIZE)) {
        const value = row[1].codec.read(bytes, valueStart, valueEnd, values);
        if (value !== undefined) values[row[0]] = value;
      } else {
        unknown ??= [];
        const value = bytes.subarray(valueStart, valueEnd);
        unknown.push(flaggedType & NLA_F_NESTED ? { type, value, nested: true } : { type, value });
      }
      offset += align(length);
    }
    if (unknown !== undefined) values.unknown = unknown;
    return values as Values<S>;
  }

  /** Writes the fields that are given, in the table's order, then the unknown attributes as they were. */
  encode(values: Values<S>): Buffer {
    const parts: Buffer[] = [];
    for (const [field, { type, codec }] of this.#rows) {
      const value = (values as Fields)[field];
      if (value === undefined || codec.readOnly) continue;
      parts.push(
        encodeAttribute(codec.nested ? type | NLA_F_NESTED : type, codec.write(value, field, values)),
      );
    }
    for (const { type, value, nested } of values.unknown ?? []) {
      parts.push(encodeAttribute(nested ? type | NLA_F_NESTED : type, value));
    }
    return Buffer.concat(parts);
  }

  /** Those properties of `source` that are fields of this table. */
  pick(source: object): Values<S> {
    const values: Record<string, unknown> = {};
    for (const [field] of this.#rows) {
      const value = (source as Fields)[field];
      if (value !== undefined) values[field] = value;
    }
    return values as Values<S>;
  }

  /** The kernel's name of an attribute. */
  nameOf(type = -1): string | undefined {
    return this.#byType[type]?.[1].kernelName;
  }

  /** The kernel's name of the attribute that starts at `target`, however deep it is nested. */
  nameAt(bytes: Buffer, target: number, start: number, end = bytes.length): string | undefined {
    const siblings = this.decode(bytes, start, end);
    for (const { type, offset, valueStart, valueEnd } of eachAttribute(bytes, start, end)) {
      const row = this.#byType[type];
      if (offset === target) return row?.[1].kernelName;
      if (target < valueEnd) {
        const table = row?.[1].codec.table?.(siblings);
        return table?.nameAt(bytes, target, valueStart, valueEnd) ?? row?.[1].kernelName;
      }
    }
    return undefined;
  }
}

/** The properties that are not undefined. */
export function defined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

/** Tells whether an object has all those values that are not undefined. */
export function matching<T extends object>(values: Partial<T>): (object: T) => boolean {
  const wanted = Object.entries(defined(values)) as [keyof T, unknown][];
  return (object) => wanted.every(([name, value]) => object[name] === value);
}

/** One attribute, padded. */
export function encodeAttribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(HEADER_SIZE + value.length));
  u16(HEADER_SIZE + value.length).copy(bytes, 0);
  u16(type).copy(bytes, 2);
  bytes.set(value, HEADER_SIZE);
  return bytes;
}

/** Where each attribute is. It stops at a length that can't be true. */
export function* eachAttribute(
  bytes: Buffer,
  start = 0,
  end = bytes.length,
): Generator<{ type: number; offset: number; valueStart: number; valueEnd: number }> {
  for (let offset = start; offset + HEADER_SIZE <= end; ) {
    const length = readU16(bytes, offset);
    if (length < HEADER_SIZE || length > end - offset) return;
    const type = readU16(bytes, offset + 2) & NLA_TYPE_MASK;
    yield { type, offset, valueStart: offset + HEADER_SIZE, valueEnd: offset + length };
    offset += align(length);
  }
}

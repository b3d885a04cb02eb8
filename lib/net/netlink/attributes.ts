/**
 * Netlink attributes (type, length, value), encoded and decoded by tables. A table gives each attribute a
 * field's name, its number, the kernel's name for it and a codec; the same table reads, writes, and names the
 * attribute that the kernel complains about.
 */

import { align, readU16, u16 } from './bytes.js';

const HEADER_SIZE = 4;
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;

/** How a value stands in an attribute. Where it depends on an attribute before it, that is in `siblings`. */
export interface Codec<T> {
  /** Whether a value of this many bytes can be read; others are kept as unknown. */
  fits(length: number): boolean;
  /** Undefined where it says nothing. */
  read(bytes: Buffer, start: number, end: number, siblings: Fields): T;
  /** Throws an error of misuse that names `field` where the value can't be right. */
  write(value: T, field: string, siblings: Fields): Uint8Array;
  /** The kernel tells it and is never told it: not written. */
  readonly readOnly?: boolean;
  /** The value is attributes of its own. */
  readonly nested?: boolean;
  /** Where it is, their table. */
  table?(siblings: Fields): AttributeTable<Shape> | undefined;
}

/** One row of a table. */
export interface Attribute<T> {
  readonly type: number;
  /** As linux/*.h has it. */
  readonly kernelName: string;
  readonly codec: Codec<T>;
}

export function attribute<T>(type: number, kernelName: string, codec: Codec<T>): Attribute<T> {
  return { type, kernelName, codec };
}

/** An attribute that this package has no name for, or whose length is not what it should be. */
export interface UnknownAttribute {
  /** Its number among those of its message. */
  readonly type: number;
  /** Its bytes as the kernel sent them. */
  readonly value: Buffer;
}

type Fields = Readonly<Record<string, unknown>>;
export type Shape = Readonly<Record<string, Attribute<unknown>>>;

/** The values that a table writes. */
export type Values<S extends Shape> = {
  readonly [K in keyof S]?: S[K] extends Attribute<infer T> ? T : never;
};

/** The values that a table reads, and what it could not read. */
export type Decoded<S extends Shape> = Values<S> & { readonly unknown?: readonly UnknownAttribute[] };

export class AttributeTable<S extends Shape> {
  readonly #rows: readonly (readonly [field: string, Attribute<unknown>])[];
  readonly #byType: (readonly [field: string, Attribute<unknown>] | undefined)[] = [];

  constructor(shape: S) {
    this.#rows = Object.entries(shape);
    for (const row of this.#rows) this.#byType[row[1].type] = row;
  }

  /** Fields from the attributes at `start`, the last where one is repeated. */
  decode(bytes: Buffer, start = 0, end = bytes.length): Decoded<S> {
    const values: Record<string, unknown> = {};
    let unknown: UnknownAttribute[] | undefined;
    for (let offset = start; offset + HEADER_SIZE <= end; ) {
      const length = readU16(bytes, offset);
      if (length < HEADER_SIZE || length > end - offset) break;
      const type = readU16(bytes, offset + 2) & NLA_TYPE_MASK;
      const row = this.#byType[type];
      const valueStart = offset + HEADER_SIZE;
      const valueEnd = offset + length;
      if (row?.[1].codec.fits(length - HEADER_SIZE)) {
        const value = row[1].codec.read(bytes, valueStart, valueEnd, values);
        if (value !== undefined) values[row[0]] = value;
      } else {
        unknown ??= [];
        unknown.push({ type, value: bytes.subarray(valueStart, valueEnd) });
      }
      offset += align(length);
    }
    if (unknown !== undefined) values.unknown = unknown;
    return values as Decoded<S>;
  }

  /** The attributes of the fields that are there, in the table's order. */
  encode(values: Values<S>): Buffer {
    const parts: Buffer[] = [];
    for (const [field, { type, codec }] of this.#rows) {
      const value = (values as Fields)[field];
      if (value === undefined || codec.readOnly) continue;
      parts.push(
        encodeAttribute(codec.nested ? type | NLA_F_NESTED : type, codec.write(value, field, values)),
      );
    }
    return Buffer.concat(parts);
  }

  /** The names of its fields. */
  fields(): readonly string[] {
    return this.#rows.map(([field]) => field);
  }

  /** The kernel's name of an attribute. */
  nameOf(type: number): string | undefined {
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

/** One attribute, padded. */
export function encodeAttribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(HEADER_SIZE + value.length));
  u16(HEADER_SIZE + value.length).copy(bytes, 0);
  u16(type).copy(bytes, 2);
  bytes.set(value, HEADER_SIZE);
  return bytes;
}

/** Where each attribute is. What follows a length that can't be true is left out. */
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

/** The names that iproute2 has for the kernel's numbers (its lib/rt_names.c, linux/rtnetlink.h). */

import { invalidArgType, invalidArgValue, outOfRange } from '../../arguments.js';

/** Names for some numbers of a range. A number without a name stands for itself. */
export interface EnumNames<N extends string> {
  nameOf(value: number): N | number;
  /** A value as the lists of net have it: the name of a number that has one. Throws as {@link number} does. */
  normal(argument: string, value: N | number | undefined): N | number | undefined;
  /** Throws unless `value` is one of the names, or a number from 0 to the range's end. */
  number(argument: string, value: N | number): number;
}

export function enumNames<const T extends Readonly<Record<string, number>>>(
  table: T,
  maximum = 255,
): EnumNames<keyof T & string> {
  const byNumber = new Map(Object.entries(table).map(([name, value]) => [value, name]));
  return {
    nameOf: (value) => byNumber.get(value) ?? value,
    normal(argument, value) {
      return value === undefined ? undefined : this.nameOf(this.number(argument, value));
    },
    number(argument, value) {
      if (typeof value === 'string') {
        if (Object.hasOwn(table, value)) return table[value];
        throw invalidArgValue(argument, value, `must be a number or one of ${Object.keys(table).join(', ')}`);
      }
      if (typeof value !== 'number') throw invalidArgType(argument, 'a number or a name', value);
      if (!Number.isInteger(value) || value < 0 || value > maximum) {
        throw outOfRange(argument, `an integer from 0 to ${maximum}`, value);
      }
      return value;
    },
  };
}

/** Names for bits. */
export interface FlagNames<N extends string> {
  namesOf(bits: number): N[];
  bits(argument: string, names: readonly N[]): number;
}

export function flagNames<const T extends Readonly<Record<string, number>>>(
  table: T,
): FlagNames<keyof T & string> {
  const entries = Object.entries(table) as [keyof T & string, number][];
  return {
    namesOf: (bits) => entries.filter(([, bit]) => (bits & bit) !== 0).map(([name]) => name),
    bits(argument, names) {
      if (!Array.isArray(names)) throw invalidArgType(argument, 'an array', names);
      return (names as readonly (keyof T & string)[]).reduce((bits, name) => {
        if (Object.hasOwn(table, name)) return bits | table[name];
        throw invalidArgValue(argument, name, `must hold only ${Object.keys(table).join(', ')}`);
      }, 0);
    },
  };
}

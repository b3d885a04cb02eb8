/** The words that iproute2 has for the kernel's numbers (its lib/rt_names.c, linux/rtnetlink.h). */

import { invalidArgType, invalidArgValue, outOfRange } from '../../arguments.js';

/** Words for some numbers of a range; a number without a word stands for itself. */
export interface Words<W extends string> {
  word(value: number): W | number;
  /** Throws unless it is one of the words, or a number from 0 to the range's end. */
  number(argument: string, value: W | number): number;
}

export function words<const T extends Readonly<Record<string, number>>>(
  table: T,
  maximum = 255,
): Words<keyof T & string> {
  const byNumber = new Map(Object.entries(table).map(([word, value]) => [value, word]));
  return {
    word: (value) => byNumber.get(value) ?? value,
    number(argument, value) {
      if (typeof value === 'string') {
        if (Object.hasOwn(table, value)) return table[value];
        throw invalidArgValue(argument, value, `must be a number or one of ${Object.keys(table).join(', ')}`);
      }
      if (typeof value !== 'number') throw invalidArgType(argument, 'a number or a word', value);
      if (!Number.isInteger(value) || value < 0 || value > maximum) {
        throw outOfRange(argument, `an integer from 0 to ${maximum}`, value);
      }
      return value;
    },
  };
}

/** Words for bits. */
export interface Bits<W extends string> {
  list(value: number): W[];
  value(argument: string, list: readonly W[]): number;
}

export function bits<const T extends Readonly<Record<string, number>>>(table: T): Bits<keyof T & string> {
  const entries = Object.entries(table) as [keyof T & string, number][];
  return {
    list: (value) => entries.filter(([, bit]) => (value & bit) !== 0).map(([word]) => word),
    value(argument, list) {
      if (!Array.isArray(list)) throw invalidArgType(argument, 'an array', list);
      let value = 0;
      for (const word of list as readonly (keyof T & string)[]) {
        if (!Object.hasOwn(table, word)) {
          throw invalidArgValue(argument, word, `must hold only ${Object.keys(table).join(', ')}`);
        }
        value |= table[word];
      }
      return value;
    },
  };
}

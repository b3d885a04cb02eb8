import { check } from '../system-error.js';

/** Numbers that native code writes one behind the other, by their names. */
export function countsByName<Name extends string>(
  names: readonly Name[],
  fill: (counts: Float64Array) => number,
): Readonly<Record<Name, number>> {
  const counts = new Float64Array(names.length);
  check(fill(counts), 'counters');
  return Object.fromEntries(names.map((name, i) => [name, counts[i]])) as Record<Name, number>;
}

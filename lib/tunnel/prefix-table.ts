import { checkCidr, checkIp } from '../address.js';
import { invalidArgType, outOfRange, requireInteger } from '../arguments.js';
import { type PacketBatch, requirePackets } from '../io/packet-batch.js';
import { PacketRuns, rowsOf, setLength } from '../io/packet-runs.js';
import { native, type PrefixTableHandle } from '../native/addon.js';
import { LAYOUT } from '../native/layout.js';
import { systemError } from '../system-error.js';

const NONE = LAYOUT.kNoValue;
const MAX_VALUE = 0x7fff_ffff;

/** What native code takes for a table. @internal */
export let prefixesOf: (table: PrefixTable) => PrefixTableHandle;

/**
 * Prefixes of IPv4 and IPv6, each with a number of yours: finds the longest prefix that an address lies in, for one
 * address or for all packets of a batch.
 * @example
 * ```ts
 * const peers = new PrefixTable();
 * peers.set('10.0.0.0/8', 1);
 * peers.set('10.1.0.0/16', 2);
 * peers.lookup('10.1.2.3');   // 2
 * ```
 */
export class PrefixTable {
  static {
    prefixesOf = (table) => table.#handle;
  }

  readonly #handle = native().newPrefixTable();
  #size = 0;

  /** How many prefixes there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * Gives a prefix its number.
   * @param prefix such as `'10.0.0.0/8'` or `'2001:db8::/32'`; host bits are ignored, and a bare
   * address is a prefix of all its bits
   * @param value 0 to 2^31 - 1
   * @returns the number that the prefix had before, if any
   * @throws TypeError or RangeError with an `ERR_…` code for bad arguments
   */
  set(prefix: string, value: number): number | undefined {
    requireInteger('value', value, 0, MAX_VALUE);
    const { address, prefixLength } = checkCidr('prefix', prefix);
    const previous = native().setPrefix(this.#handle, address, prefixLength, value);
    if (previous !== NONE) return previous;
    this.#size++;
    return undefined;
  }

  /** Removes a prefix. @returns the number that it had, if it was there */
  delete(prefix: string): number | undefined {
    const { address, prefixLength } = checkCidr('prefix', prefix);
    const previous = native().removePrefix(this.#handle, address, prefixLength);
    if (previous === NONE) return undefined;
    this.#size--;
    return previous;
  }

  /** The number of the longest prefix that an address lies in, if any. */
  lookup(address: string): number | undefined {
    const value = native().lookupPrefix(this.#handle, checkIp('address', address));
    return value === NONE ? undefined : value;
  }

  /**
   * Parts a batch into runs of packets whose destinations lie in prefixes of one number, and which have one ECN field.
   * Packets that are no IP packet, or whose destination lies in no prefix, are runs of value -1.
   * @param runs is filled; its capacity must be at least the number of packets
   * @throws RangeError `ERR_OUT_OF_RANGE` if the runs have too little room
   */
  runsByDestination(batch: PacketBatch, runs: PacketRuns, start = 0, end?: number): void {
    const to = checkRuns(batch, runs, start, end);
    const count = native().runsByDestination(this.#handle, batch.memory, start, to, rowsOf(runs));
    if (count < 0) throw systemError(count, 'classify');
    setLength(runs, count);
  }
}

/** Checks a batch, a range of its packets, and that the runs have room for it. Returns the range's end. */
export function checkRuns(batch: PacketBatch, runs: PacketRuns, start: number, end?: number): number {
  if (!(runs instanceof PacketRuns)) throw invalidArgType('runs', 'PacketRuns', runs);
  const to = requirePackets(batch, start, end);
  if (to - start > runs.capacity) throw outOfRange('runs.capacity', `at least ${to - start}`, runs.capacity);
  return to;
}

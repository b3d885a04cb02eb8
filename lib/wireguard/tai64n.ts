/**
 * TAI64N labels, which order the initiations of a peer: seconds in 8 bytes and nanoseconds in 4, big-endian, so that
 * comparing bytes compares times.
 * @see https://cr.yp.to/libtai/tai64.html
 */

const LENGTH = 12;
/** The label of the Unix epoch: 2^62, and the 10 seconds that TAI was ahead by then. */
const EPOCH = 0x400000000000000an;
/** Nanoseconds are rounded down to multiples of this (16.8 ms), so that a label does not tell the exact time. */
const STEP = 2 ** 24;
const NANOSECONDS_PER_SECOND = 1e9;

function label(seconds: number, nanoseconds: number): Buffer {
  const bytes = Buffer.alloc(LENGTH);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, EPOCH + BigInt(seconds)));
  bytes.writeUInt32BE(nanoseconds, 8);
  return bytes;
}

/** @param milliseconds since the Unix epoch */
export function tai64n(milliseconds: number): Buffer {
  const seconds = Math.floor(milliseconds / 1000);
  const nanoseconds = (milliseconds - 1000 * seconds) * 1e6;
  return label(seconds, Math.floor(nanoseconds / STEP) * STEP);
}

/**
 * The label for the next initiation: the present one, or the least above the last one, so that it counts as new
 * although the clock went back or stands still.
 */
export function nextTai64n(milliseconds: number, last?: Buffer): Buffer {
  const present = tai64n(milliseconds);
  if (!last || present.compare(last) > 0) return present;
  const seconds = Number(last.readBigUInt64BE() - EPOCH);
  const nanoseconds = last.readUInt32BE(8) + STEP;
  return nanoseconds < NANOSECONDS_PER_SECOND ? label(seconds, nanoseconds) : label(seconds + 1, 0);
}

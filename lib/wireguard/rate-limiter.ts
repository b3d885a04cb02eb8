/** How many handshake messages a second an address is answered under load, and how many at once. */
const PER_SECOND = 20;
const BURST = 5;
/** After this long an address has all its tokens back, and is forgotten. */
const IDLE_MS = 1000;
const COST_MS = 1000 / PER_SECOND;
/** How many addresses are remembered: further ones are refused until one is forgotten. */
const MAX_ADDRESSES = 8192;

interface Bucket {
  /** When the tokens were counted, and how many milliseconds of them there were. */
  at: number;
  credit: number;
}

/** A token bucket for each IPv4 address and each IPv6 network of 64 bits. */
export class RateLimiter {
  // In the order of their last use, so that those to forget come first.
  readonly #buckets = new Map<string, Bucket>();

  /** How many addresses are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /**
   * Whether a message of an address may be answered.
   * @param address 4 or 16 bytes
   * @param now in milliseconds
   */
  allow(address: Uint8Array, now: number): boolean {
    for (const [key, { at }] of this.#buckets) {
      if (now - at <= IDLE_MS) break;
      this.#buckets.delete(key);
    }
    const key = bucketKey(address);
    const bucket = this.#buckets.get(key);
    if (!bucket && this.#buckets.size >= MAX_ADDRESSES) return false;
    const full = BURST * COST_MS;
    const credit = bucket ? Math.min(full, bucket.credit + now - bucket.at) : full;
    const allowed = credit >= COST_MS;
    this.#buckets.delete(key);
    this.#buckets.set(key, { at: now, credit: allowed ? credit - COST_MS : credit });
    return allowed;
  }
}

/** The bytes that a bucket counts for, as text: a host may choose among all addresses of its /64. */
function bucketKey(address: Uint8Array): string {
  const bytes = Buffer.from(address.buffer, address.byteOffset, address.length);
  if (bytes.length === 16 && bytes.subarray(0, 12).equals(MAPPED)) return bytes.toString('latin1', 12);
  return bytes.toString('latin1', 0, Math.min(bytes.length, 8));
}

/** ::ffff:0:0/96, an IPv4 address that came through an IPv6 socket. */
const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

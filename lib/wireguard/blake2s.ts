/** BLAKE2s of RFC 7693, keyed and not, HMAC and the key derivation on it. Node.js has only the digest of 32 bytes. */

const BLOCK = 64;
const IV = Int32Array.of(
  0x6a09e667,
  0xbb67ae85,
  0x3c6ef372,
  0xa54ff53a,
  0x510e527f,
  0x9b05688c,
  0x1f83d9ab,
  0x5be0cd19,
);
/** RFC 7693 section 2.7: which word each half of a mixing step takes, one hexadecimal digit a word, one line a round. */
const ORDER = Uint8Array.from(
  '0123456789abcdef' +
    'ea489fd61c02b753' +
    'b8c052fdae367194' +
    '7931dcbe265a40f8' +
    '905724afe1bc683d' +
    '2c6a0b834d75fe19' +
    'c51fed4a0763928b' +
    'db7ec13950f4862a' +
    '6fe9b308c2d714a5' +
    'a2847615fb9e3cd0',
  (digit) => Number.parseInt(digit, 16),
);
const NO_KEY = new Uint8Array(0);

// One digest is computed at a time, from its first byte to its last, so these belong to no object.
const state = new Int32Array(8);
const words = new Int32Array(16);
const block = new Uint8Array(BLOCK);
const blockView = new DataView(block.buffer);
const pad = new Uint8Array(BLOCK);
const inner = new Uint8Array(32);

function rotateRight(value: number, bits: number): number {
  return (value >>> bits) | (value << (32 - bits));
}

/**
 * The compression function, RFC 7693 section 3.2. Local variables make it four times as fast as an array would.
 * @param counter how many bytes were taken in with this block: messages here are far below 4 GB
 */
function compress(counter: number, last: boolean): void {
  for (let i = 0; i < 16; i++) words[i] = blockView.getInt32(4 * i, true);
  let [v0, v1, v2, v3, v4, v5, v6, v7] = state;
  let [v8, v9, v10, v11, v12, v13, v14, v15] = IV;
  v12 ^= counter;
  if (last) v14 = ~v14;
  for (let i = 0; i < ORDER.length; i += 16) {
    v0 = (v0 + v4 + words[ORDER[i]]) | 0;
    v12 = rotateRight(v12 ^ v0, 16);
    v8 = (v8 + v12) | 0;
    v4 = rotateRight(v4 ^ v8, 12);
    v0 = (v0 + v4 + words[ORDER[i + 1]]) | 0;
    v12 = rotateRight(v12 ^ v0, 8);
    v8 = (v8 + v12) | 0;
    v4 = rotateRight(v4 ^ v8, 7);
    v1 = (v1 + v5 + words[ORDER[i + 2]]) | 0;
    v13 = rotateRight(v13 ^ v1, 16);
    v9 = (v9 + v13) | 0;
    v5 = rotateRight(v5 ^ v9, 12);
    v1 = (v1 + v5 + words[ORDER[i + 3]]) | 0;
    v13 = rotateRight(v13 ^ v1, 8);
    v9 = (v9 + v13) | 0;
    v5 = rotateRight(v5 ^ v9, 7);
    v2 = (v2 + v6 + words[ORDER[i + 4]]) | 0;
    v14 = rotateRight(v14 ^ v2, 16);
    v10 = (v10 + v14) | 0;
    v6 = rotateRight(v6 ^ v10, 12);
    v2 = (v2 + v6 + words[ORDER[i + 5]]) | 0;
    v14 = rotateRight(v14 ^ v2, 8);
    v10 = (v10 + v14) | 0;
    v6 = rotateRight(v6 ^ v10, 7);
    v3 = (v3 + v7 + words[ORDER[i + 6]]) | 0;
    v15 = rotateRight(v15 ^ v3, 16);
    v11 = (v11 + v15) | 0;
    v7 = rotateRight(v7 ^ v11, 12);
    v3 = (v3 + v7 + words[ORDER[i + 7]]) | 0;
    v15 = rotateRight(v15 ^ v3, 8);
    v11 = (v11 + v15) | 0;
    v7 = rotateRight(v7 ^ v11, 7);
    v0 = (v0 + v5 + words[ORDER[i + 8]]) | 0;
    v15 = rotateRight(v15 ^ v0, 16);
    v10 = (v10 + v15) | 0;
    v5 = rotateRight(v5 ^ v10, 12);
    v0 = (v0 + v5 + words[ORDER[i + 9]]) | 0;
    v15 = rotateRight(v15 ^ v0, 8);
    v10 = (v10 + v15) | 0;
    v5 = rotateRight(v5 ^ v10, 7);
    v1 = (v1 + v6 + words[ORDER[i + 10]]) | 0;
    v12 = rotateRight(v12 ^ v1, 16);
    v11 = (v11 + v12) | 0;
    v6 = rotateRight(v6 ^ v11, 12);
    v1 = (v1 + v6 + words[ORDER[i + 11]]) | 0;
    v12 = rotateRight(v12 ^ v1, 8);
    v11 = (v11 + v12) | 0;
    v6 = rotateRight(v6 ^ v11, 7);
    v2 = (v2 + v7 + words[ORDER[i + 12]]) | 0;
    v13 = rotateRight(v13 ^ v2, 16);
    v8 = (v8 + v13) | 0;
    v7 = rotateRight(v7 ^ v8, 12);
    v2 = (v2 + v7 + words[ORDER[i + 13]]) | 0;
    v13 = rotateRight(v13 ^ v2, 8);
    v8 = (v8 + v13) | 0;
    v7 = rotateRight(v7 ^ v8, 7);
    v3 = (v3 + v4 + words[ORDER[i + 14]]) | 0;
    v14 = rotateRight(v14 ^ v3, 16);
    v9 = (v9 + v14) | 0;
    v4 = rotateRight(v4 ^ v9, 12);
    v3 = (v3 + v4 + words[ORDER[i + 15]]) | 0;
    v14 = rotateRight(v14 ^ v3, 8);
    v9 = (v9 + v14) | 0;
    v4 = rotateRight(v4 ^ v9, 7);
  }
  state[0] ^= v0 ^ v8;
  state[1] ^= v1 ^ v9;
  state[2] ^= v2 ^ v10;
  state[3] ^= v3 ^ v11;
  state[4] ^= v4 ^ v12;
  state[5] ^= v5 ^ v13;
  state[6] ^= v6 ^ v14;
  state[7] ^= v7 ^ v15;
}

/**
 * BLAKE2s of some bytes.
 * @param out where the digest goes; its length, 1 to 32 bytes, is part of what is hashed. It may be one of the inputs.
 * @param key makes it a MAC: up to 32 bytes, or none
 * @param parts what is hashed, one after the other
 */
export function blake2s(out: Uint8Array, key: Uint8Array, ...parts: readonly Uint8Array[]): void {
  state.set(IV);
  state[0] ^= 0x01010000 ^ (key.length << 8) ^ out.length;
  let counter = 0;
  let filled = 0;
  if (key.length > 0) {
    block.set(key);
    filled = BLOCK;
  }
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) {
      // A full block waits for more, since the last one is marked.
      if (filled === BLOCK) {
        counter += BLOCK;
        compress(counter, false);
        block.fill(0);
        filled = 0;
      }
      block[filled++] = part[i];
    }
  }
  compress(counter + filled, true);
  for (let i = 0; i < out.length; i++) out[i] = state[i >> 2] >> (8 * (i & 3));
  state.fill(0);
  words.fill(0);
  block.fill(0);
}

/**
 * HMAC of RFC 2104 on BLAKE2s.
 * @param out 32 bytes
 * @param key up to 64 bytes
 */
export function hmac(out: Uint8Array, key: Uint8Array, ...parts: readonly Uint8Array[]): void {
  pad.fill(0x36);
  for (let i = 0; i < key.length; i++) pad[i] ^= key[i];
  blake2s(inner, NO_KEY, pad, ...parts);
  for (let i = 0; i < BLOCK; i++) pad[i] ^= 0x36 ^ 0x5c;
  blake2s(out, NO_KEY, pad, inner);
  pad.fill(0);
  inner.fill(0);
}

/**
 * The key derivation of Noise, that is HKDF of RFC 5869.
 * @param outputs 32 bytes each, filled in order. One of them may be the chaining key.
 */
export function deriveKeys(outputs: readonly Uint8Array[], chainingKey: Uint8Array, input: Uint8Array): void {
  const secret = new Uint8Array(32);
  hmac(secret, chainingKey, input);
  let previous: Uint8Array = NO_KEY;
  outputs.forEach((output, i) => {
    hmac(output, secret, previous, Uint8Array.of(i + 1));
    previous = output;
  });
  secret.fill(0);
}

/**
 * XChaCha20-Poly1305, the AEAD with a nonce of 24 bytes, on ChaCha20-Poly1305.
 * @see draft-irtf-cfrg-xchacha
 */

import { chacha20Block, KEY_LENGTH, open, seal } from './crypto.js';

/** "expand 32-byte k", the words 0 to 3 of ChaCha20's state. */
const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];

/**
 * HChaCha20: a key of its own for a nonce's first 16 bytes.
 *
 * It is ChaCha20's block without the addition of the initial state at the end. So the words of a block that hold
 * constants and nonce, less those, are what HChaCha20 returns.
 */
export function hchacha20(key: Uint8Array, nonce: Uint8Array): Buffer {
  const start = Buffer.from(nonce.subarray(0, 16));
  const block = chacha20Block(key, start);
  const subkey = Buffer.allocUnsafeSlow(KEY_LENGTH);
  for (let i = 0; i < 4; i++) {
    subkey.writeInt32LE((block.readInt32LE(4 * i) - CONSTANTS[i]) | 0, 4 * i);
    subkey.writeInt32LE((block.readInt32LE(48 + 4 * i) - start.readInt32LE(4 * i)) | 0, 16 + 4 * i);
  }
  block.fill(0);
  return subkey;
}

/** Encrypts. @param nonce 24 bytes, random @returns ciphertext and tag */
export function sealExtended(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Buffer {
  const subkey = hchacha20(key, nonce);
  const sealed = seal(subkey, innerNonce(nonce), plaintext, associatedData);
  subkey.fill(0);
  return sealed;
}

/** Undoes {@link sealExtended}. @returns the plaintext, or undefined if the bytes are not authentic */
export function openExtended(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  associatedData: Uint8Array,
): Buffer | undefined {
  const subkey = hchacha20(key, nonce);
  const plaintext = open(subkey, innerNonce(nonce), sealed, associatedData);
  subkey.fill(0);
  return plaintext;
}

function innerNonce(nonce: Uint8Array): Buffer {
  const inner = Buffer.alloc(12);
  inner.set(nonce.subarray(16, 24), 4);
  return inner;
}

/**
 * The cryptography that the runtime gives: X25519, ChaCha20-Poly1305, random bytes. Another runtime, or native code,
 * needs another version of this file only.
 *
 * Two rules, both measured on Node.js 20. Keys are imported as JWK, which takes a tenth of the time of DER. Keys are
 * never exported: an export takes as long, and one as JWK can block the process for good when the garbage collector
 * frees the job that made the same key.
 */

import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto';

export { randomBytes, timingSafeEqual } from 'node:crypto';

/** How many bytes a key, a shared secret or a hash has. */
export const KEY_LENGTH = 32;
/** How many bytes sealing adds. */
export const TAG_LENGTH = 16;

/** Somebody's public key, imported. */
export interface PublicKey {
  readonly bytes: Buffer;
  readonly handle: KeyObject;
}

/** A private key, imported. Its bytes can't be read back. */
export interface PrivateKey {
  readonly publicKey: Buffer;
  readonly handle: KeyObject;
}

/** Zeros that no other object shares memory with, for a secret that is wiped later. */
export function secretBuffer(length = KEY_LENGTH): Buffer {
  return Buffer.allocUnsafeSlow(length).fill(0);
}

/** @param bytes 32 bytes, of which bit 255 is ignored. Copied. */
export function importPublicKey(bytes: Uint8Array): PublicKey {
  const copy = Buffer.from(bytes);
  const key = { kty: 'OKP', crv: 'X25519', x: copy.toString('base64url') };
  return { bytes: copy, handle: createPublicKey({ key, format: 'jwk' }) };
}

/** @param bytes 32 bytes, clamped or not. The caller can wipe them afterwards. */
export function importPrivateKey(bytes: Uint8Array): PrivateKey {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  // The x beside d has to be there, and is ignored.
  const key = { kty: 'OKP', crv: 'X25519', x: 'AA', d: view.toString('base64url') };
  const handle = createPrivateKey({ key, format: 'jwk' });
  return { publicKey: diffieHellman({ privateKey: handle, publicKey: BASE_POINT.handle }), handle };
}

const BASE_POINT = importPublicKey(Buffer.alloc(KEY_LENGTH).fill(9, 0, 1));

/** The Diffie-Hellman of two keys, to be wiped by the caller; undefined if the public key is a point of low order. */
export function sharedSecret(privateKey: PrivateKey, publicKey: PublicKey): Buffer | undefined {
  try {
    return diffieHellman({ privateKey: privateKey.handle, publicKey: publicKey.handle });
  } catch {
    // The only failure of two X25519 keys: the secret would be zero. OpenSSL's error has a code of its own in each version.
    return undefined;
  }
}

/**
 * Encrypts by ChaCha20-Poly1305, RFC 8439 section 2.8.
 * @param nonce 12 bytes
 * @returns ciphertext and tag
 */
export function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Buffer {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_LENGTH });
  cipher.setAAD(associatedData, { plaintextLength: plaintext.length });
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  return Buffer.concat([ciphertext, cipher.getAuthTag()]);
}

/** Undoes {@link seal}. @returns the plaintext, or undefined if the bytes are not authentic */
export function open(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  associatedData: Uint8Array,
): Buffer | undefined {
  const length = sealed.length - TAG_LENGTH;
  if (length < 0) return undefined;
  const decipher = createDecipheriv('chacha20-poly1305', key, nonce, { authTagLength: TAG_LENGTH });
  decipher.setAAD(associatedData, { plaintextLength: length });
  decipher.setAuthTag(sealed.subarray(length));
  const plaintext = decipher.update(sealed.subarray(0, length));
  try {
    decipher.final();
    return plaintext;
  } catch {
    plaintext.fill(0);
    return undefined;
  }
}

/**
 * The first block of ChaCha20's key stream, RFC 8439 section 2.3.
 * @param start 16 bytes: the counter and the nonce
 * @returns 64 bytes
 */
export function chacha20Block(key: Uint8Array, start: Uint8Array): Buffer {
  return createCipheriv('chacha20', key, start).update(new Uint8Array(64));
}

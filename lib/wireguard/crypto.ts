/** The cryptography of handshakes, by the addon: X25519, BLAKE2s, ChaCha20-Poly1305; and random bytes. */

import { timingSafeEqual } from 'node:crypto';
import { native } from '../native/addon.js';
import { EBADMSG, EDOM, ENOSYS, ENOTSUP } from '../native/errno.js';
import { systemError } from '../system-error.js';
import { noCipher } from '../tunnel/aead.js';

export { timingSafeEqual };

/** How many bytes a key, a shared secret or a hash has. */
export const KEY_LENGTH = 32;
/** How many bytes sealing adds. */
export const TAG_LENGTH = 16;

/** A private key and its public one. */
export interface PrivateKey {
  readonly bytes: Buffer;
  readonly publicKey: Buffer;
}

/**
 * Zeros that no other object shares memory with, for a secret that is wiped later. V8 would keep a small array's bytes among
 * its own objects, and move them when native code first asks for them: the old ones stayed.
 */
export function secretBuffer(length = KEY_LENGTH): Buffer {
  return Buffer.from(new ArrayBuffer(length));
}

/** Up to 256 random bytes, which may be a secret. */
export function randomBytes(length: number): Buffer {
  const bytes = secretBuffer(length);
  const result = native().randomBytes(bytes);
  if (result < 0) throw systemError(result, 'getrandom');
  return bytes;
}

/** @param bytes 32 bytes, clamped or not. Copied: the caller wipes both, its own and {@link PrivateKey.bytes}. */
export function importPrivateKey(bytes: Uint8Array): PrivateKey {
  const copy = secretBuffer();
  copy.set(bytes);
  return adoptPrivateKey(copy);
}

/** @param bytes 32 bytes, clamped or not, which become the key's own */
export function adoptPrivateKey(bytes: Buffer): PrivateKey {
  const publicKey = Buffer.alloc(KEY_LENGTH);
  check(native().x25519PublicKey(publicKey, bytes), 'X25519');
  return { bytes, publicKey };
}

/**
 * The Diffie-Hellman of two keys, to be wiped by the caller.
 * @param publicKey 32 bytes, of which bit 255 is ignored
 * @returns undefined if the public key is a point of low order
 */
export function sharedSecret(privateKey: PrivateKey, publicKey: Uint8Array): Buffer | undefined {
  const secret = secretBuffer();
  const result = native().x25519(secret, privateKey.bytes, publicKey);
  if (result === EDOM) return undefined;
  check(result, 'X25519');
  return secret;
}

/**
 * BLAKE2s of RFC 7693.
 * @param out where the digest goes; its length, 1 to 32 bytes, is part of what is hashed. It may be one of the inputs.
 * @param key makes the digest a MAC: up to 32 bytes, or none
 * @param parts up to six, hashed one after the other
 */
export function blake2s(out: Uint8Array, key: Uint8Array, ...parts: readonly Uint8Array[]): void {
  check(native().blake2s(out, key, ...parts), 'BLAKE2s');
}

/**
 * The key derivation of Noise: HKDF of RFC 5869 with HMAC-BLAKE2s.
 * @param outputs up to three of 32 bytes, filled in order. One of them may be the chaining key.
 */
export function deriveKeys(outputs: readonly Uint8Array[], chainingKey: Uint8Array, input: Uint8Array): void {
  check(native().deriveKeys(chainingKey, input, ...outputs), 'BLAKE2s');
}

/**
 * Encrypts by ChaCha20-Poly1305 of RFC 8439, or by XChaCha20-Poly1305 of draft-irtf-cfrg-xchacha.
 * @param nonce 12 bytes, or 24 for XChaCha20
 * @returns ciphertext and tag
 */
export function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Buffer {
  const sealed = Buffer.alloc(plaintext.length + TAG_LENGTH);
  check(native().sealMessage(sealed, key, nonce, plaintext, associatedData), 'ChaCha20-Poly1305');
  return sealed;
}

/** Undoes {@link seal}. @returns the plaintext, or undefined if the bytes are not authentic */
export function open(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  associatedData: Uint8Array,
): Buffer | undefined {
  if (sealed.length < TAG_LENGTH) return undefined;
  const plaintext = secretBuffer(sealed.length - TAG_LENGTH);
  const result = native().openMessage(plaintext, key, nonce, sealed, associatedData);
  if (result === EBADMSG) return undefined;
  check(result, 'ChaCha20-Poly1305');
  return plaintext;
}

/** @throws if an algorithm did not work */
export function check(result: number, algorithm: string): void {
  if (result === ENOSYS || result === ENOTSUP) throw noCipher(result, algorithm);
  if (result < 0) throw systemError(result, algorithm);
}

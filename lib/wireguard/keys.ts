/** Keys as people write them: 32 bytes in base64, as wg(8) shows them. */

import { importPrivateKey, KEY_LENGTH, randomBytes, secretBuffer, timingSafeEqual } from './crypto.js';

/** How many characters a key has: 43, and a `=`. */
const TEXT_LENGTH = 44;

/**
 * Makes a private key, as `wg genkey` does.
 * @returns 44 characters of base64
 * @example
 * ```ts
 * const privateKey = generatePrivateKey();
 * console.log(`Give this to your peers: ${publicKey(privateKey)}`);
 * ```
 */
export function generatePrivateKey(): string {
  const bytes = randomBytes(KEY_LENGTH);
  clampKey(bytes);
  return formatAndWipe(bytes);
}

/**
 * Gives a private key the form of RFC 7748 section 5. X25519 does so anyway; a key that is shown or written down has this
 * form, as the kernel and wireguard-go have it.
 */
export function clampKey(bytes: Uint8Array): void {
  bytes[0] &= 248;
  bytes[31] = (bytes[31] & 127) | 64;
}

/** Makes a preshared key, as `wg genpsk` does: 44 characters of base64. */
export function generatePresharedKey(): string {
  return formatAndWipe(randomBytes(KEY_LENGTH));
}

/**
 * The public key of a private one, as `wg pubkey` tells it.
 * @param privateKey 44 characters of base64, or 32 bytes
 * @returns 44 characters of base64
 * @throws TypeError `ERR_WG_KEY` if it is no key
 */
export function publicKey(privateKey: string | Uint8Array): string {
  const bytes = parseKey('privateKey', privateKey);
  const key = importPrivateKey(bytes);
  bytes.fill(0);
  key.bytes.fill(0);
  return formatKey(key.publicKey);
}

/**
 * The 32 bytes of a key, in memory of their own.
 * @param name of the argument, for the error
 * @param key 44 characters of base64, or 32 bytes
 * @throws TypeError `ERR_WG_KEY` if it is anything else. The error does not show it, since it may be a secret with a
 * mistake.
 */
export function parseKey(name: string, key: unknown): Buffer {
  const bytes = secretBuffer();
  if (key instanceof Uint8Array && key.length === KEY_LENGTH) {
    bytes.set(key);
    return bytes;
  }
  // Node.js passes over what is not base64, so a text is one only if the bytes give it back.
  if (typeof key === 'string' && key.length === TEXT_LENGTH && bytes.write(key, 'base64') === KEY_LENGTH) {
    if (formatKey(bytes) === key) return bytes;
  }
  bytes.fill(0);
  const message = `The "${name}" argument must be a WireGuard key: ${TEXT_LENGTH} characters of base64, or ${KEY_LENGTH} bytes`;
  throw Object.assign(new TypeError(message), { code: 'ERR_WG_KEY' });
}

/** A key's text. */
export function formatKey(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('base64');
}

/** Compares two keys in a time that does not depend on their bytes. */
export function equalKeys(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

function formatAndWipe(bytes: Buffer): string {
  const text = formatKey(bytes);
  bytes.fill(0);
  return text;
}

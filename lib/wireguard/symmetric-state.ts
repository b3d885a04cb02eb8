import { native } from '../native/addon.js';
import { EBADMSG, EDOM } from '../native/errno.js';
import { attempt } from './attempt.js';
import { check, deriveKeys, KEY_LENGTH, type PrivateKey, secretBuffer, TAG_LENGTH } from './crypto.js';

const NOTHING = new Uint8Array(0);
const HASH = KEY_LENGTH;
const LENGTH = 3 * KEY_LENGTH;
/** The BLAKE2s of `Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s`. */
export const INITIAL_CHAINING_KEY = Buffer.from(
  '60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36',
  'hex',
);
/** The BLAKE2s of that and `WireGuard v1 zx2c4 Jason@zx2c4.com`. */
export const INITIAL_HASH = Buffer.from(
  '2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3',
  'hex',
);

/**
 * Chaining key, hash and key of a handshake, through which everything that was sent is mixed. Each key that is mixed in
 * encrypts or decrypts once.
 * @see https://noiseprotocol.org/noise.html#the-symmetricstate-object
 */
export class SymmetricState {
  readonly #state = secretBuffer(LENGTH);

  /** @param responder the public key of whom the initiation is for */
  static begin(responder: Uint8Array): SymmetricState {
    const symmetric = new SymmetricState();
    symmetric.#state.set(INITIAL_CHAINING_KEY);
    symmetric.#state.set(INITIAL_HASH, HASH);
    symmetric.#mixHash(responder);
    return symmetric;
  }

  /** For a message that may turn out to be forged. */
  copy(): SymmetricState {
    const copy = new SymmetricState();
    copy.#state.set(this.#state);
    return copy;
  }

  mixKey(input: Uint8Array): void {
    check(native().mixKey(this.#state, input), 'BLAKE2s');
  }

  mixKeyAndHash(input: Uint8Array): void {
    check(native().mixKeyAndHash(this.#state, input), 'BLAKE2s');
  }

  mixEphemeral(publicKey: Uint8Array): void {
    this.#mixHash(publicKey);
    this.mixKey(publicKey);
  }

  /** Mixes in the Diffie-Hellman of two keys. @returns false if the public key is a point of low order */
  mixSharedSecret(privateKey: PrivateKey, publicKey: Uint8Array): boolean {
    const result = native().mixSharedSecret(this.#state, privateKey.bytes, publicKey);
    if (result === EDOM) return false;
    check(result, 'X25519');
    return true;
  }

  encryptAndHash(plaintext: Uint8Array = NOTHING): Buffer {
    const ciphertext = Buffer.alloc(plaintext.length + TAG_LENGTH);
    check(native().encryptAndHash(this.#state, plaintext, ciphertext), 'ChaCha20-Poly1305');
    return ciphertext;
  }

  /** @returns the plaintext, or undefined if the bytes are not authentic */
  decryptAndHash(ciphertext: Uint8Array): Buffer | undefined {
    const plaintext = Buffer.alloc(ciphertext.length - TAG_LENGTH);
    const result = native().decryptAndHash(this.#state, ciphertext, plaintext);
    if (result === EBADMSG) return undefined;
    check(result, 'ChaCha20-Poly1305');
    return plaintext;
  }

  /** The keys of the session, initiator's first. */
  split(): [Buffer, Buffer] {
    const keys: [Buffer, Buffer] = [secretBuffer(), secretBuffer()];
    deriveKeys(keys, this.#state.subarray(0, KEY_LENGTH), NOTHING);
    return keys;
  }

  /** What `use` returns. The state is wiped if that is undefined, or if it throws. */
  wipedUnless<T>(use: () => T | undefined): T | undefined {
    return attempt(use, () => this.wipe());
  }

  wipe(): void {
    this.#state.fill(0);
  }

  #mixHash(data: Uint8Array): void {
    check(native().mixHash(this.#state, data), 'BLAKE2s');
  }
}

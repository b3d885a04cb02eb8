import { blake2s, deriveKeys, open, seal, secretBuffer } from './crypto.js';

const NOTHING = new Uint8Array(0);
// Each handshake key encrypts once.
const NONCE = new Uint8Array(12);
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

/** Chaining key and hash of a handshake, through which everything that was sent is mixed. */
export class Transcript {
  readonly #chainingKey = secretBuffer();
  readonly #hash = secretBuffer();

  /** @param responder the public key of whom the initiation is for */
  static begin(responder: Uint8Array): Transcript {
    const transcript = new Transcript();
    transcript.#chainingKey.set(INITIAL_CHAINING_KEY);
    transcript.#hash.set(INITIAL_HASH);
    transcript.mixHash(responder);
    return transcript;
  }

  /** For a message that may turn out to be forged. */
  copy(): Transcript {
    const copy = new Transcript();
    copy.#chainingKey.set(this.#chainingKey);
    copy.#hash.set(this.#hash);
    return copy;
  }

  mixHash(data: Uint8Array): void {
    blake2s(this.#hash, NOTHING, this.#hash, data);
  }

  mixKey(input: Uint8Array): void {
    deriveKeys([this.#chainingKey], this.#chainingKey, input);
  }

  mixEphemeral(publicKey: Uint8Array): void {
    this.mixHash(publicKey);
    this.mixKey(publicKey);
  }

  /** Mixes a secret into the chaining key and wipes it. @returns whether there was one */
  mixSecret(secret: Buffer | undefined): boolean {
    if (!secret) return false;
    this.mixKey(secret);
    secret.fill(0);
    return true;
  }

  /** Mixes a secret in and encrypts by the key that comes of it. */
  seal(secret: Uint8Array, plaintext: Uint8Array): Buffer {
    const key = this.#nextKey(secret);
    return this.#sealBy(key, plaintext);
  }

  /** Mixes a secret in and decrypts by the key that comes of it. @returns undefined if that fails */
  open(secret: Uint8Array, sealed: Uint8Array): Buffer | undefined {
    const key = this.#nextKey(secret);
    return this.#openBy(key, sealed);
  }

  /** Mixes the preshared key in and encrypts nothing: the proof that this side has all keys. */
  sealNothing(presharedKey: Uint8Array): Buffer {
    return this.#sealBy(this.#mixPresharedKey(presharedKey), NOTHING);
  }

  /** Mixes the preshared key in and checks that proof. */
  opensNothing(presharedKey: Uint8Array, sealed: Uint8Array): boolean {
    return this.#openBy(this.#mixPresharedKey(presharedKey), sealed) !== undefined;
  }

  /** The keys of the session, initiator's first. */
  split(): [Buffer, Buffer] {
    const keys: [Buffer, Buffer] = [secretBuffer(), secretBuffer()];
    deriveKeys(keys, this.#chainingKey, NOTHING);
    return keys;
  }

  wipe(): void {
    this.#chainingKey.fill(0);
    this.#hash.fill(0);
  }

  #nextKey(secret: Uint8Array): Buffer {
    const key = secretBuffer();
    deriveKeys([this.#chainingKey, key], this.#chainingKey, secret);
    return key;
  }

  #mixPresharedKey(presharedKey: Uint8Array): Buffer {
    const hashed = secretBuffer();
    const key = secretBuffer();
    deriveKeys([this.#chainingKey, hashed, key], this.#chainingKey, presharedKey);
    this.mixHash(hashed);
    hashed.fill(0);
    return key;
  }

  #sealBy(key: Buffer, plaintext: Uint8Array): Buffer {
    const sealed = seal(key, NONCE, plaintext, this.#hash);
    this.mixHash(sealed);
    key.fill(0);
    return sealed;
  }

  #openBy(key: Buffer, sealed: Uint8Array): Buffer | undefined {
    const plaintext = open(key, NONCE, sealed, this.#hash);
    this.mixHash(sealed);
    key.fill(0);
    return plaintext;
  }
}

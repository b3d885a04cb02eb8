/**
 * Noise_NNpsk0_25519_ChaChaPoly_SHA256 of the Noise Protocol Framework, revision 34: two messages, `-> psk, e` and
 * `<- e, ee`. Both sides have a secret in common, and each makes an X25519 key pair that lives for this handshake only.
 * The hash of all that was exchanged goes into every key and every tag.
 * @see https://noiseprotocol.org/noise.html
 */

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';

export const KEY_LENGTH = 32;
export const TAG_LENGTH = 16;
const PROTOCOL = 'Noise_NNpsk0_25519_ChaChaPoly_SHA256';
const CIPHER = 'chacha20-poly1305';

/** An X25519 key pair, the public half also as the 32 bytes that are sent. */
export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicBytes: Buffer;
}

export function generateKeyPair(): KeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('x25519');
  return { privateKey, publicBytes: Buffer.from(String(publicKey.export({ format: 'jwk' }).x), 'base64url') };
}

/**
 * One side of a handshake. What reads throws where the message is not authentic, and the handshake is then as it was
 * before: somebody who injects a message does not hinder the right one.
 */
export class NoiseHandshake {
  #ephemeral: KeyPair | undefined;
  #chainingKey: Buffer;
  #transcript: Buffer;
  #key: Buffer = Buffer.alloc(KEY_LENGTH);
  #counter = 0;
  #remote: Buffer = Buffer.alloc(0);

  /**
   * @param psk the secret that both sides have, 32 bytes
   * @param prologue what both sides must agree on, and do not send
   * @param ephemeral this side's key pair; without it one is made when it is to be sent
   */
  constructor(psk: Uint8Array, prologue: Uint8Array, ephemeral?: KeyPair) {
    this.#ephemeral = ephemeral;
    // A name longer than a hash is hashed (section 5.2).
    this.#transcript = createHash('sha256').update(PROTOCOL).digest();
    this.#chainingKey = this.#transcript;
    this.#mixHash(prologue);
    this.#mixKeyAndHash(psk);
  }

  /** `-> psk, e` with a payload. */
  writeFirst(payload: Uint8Array): Buffer {
    return Buffer.concat([this.#writeEphemeral(), this.#encrypt(payload)]);
  }

  /** The payload of the other side's first message. */
  readFirst(message: Uint8Array): Buffer {
    return this.#orUndo(() => this.#decrypt(this.#readEphemeral(message)));
  }

  /** `<- e, ee` with a payload. */
  writeSecond(payload: Uint8Array): Buffer {
    const e = this.#writeEphemeral();
    this.#mixSharedSecret();
    return Buffer.concat([e, this.#encrypt(payload)]);
  }

  /** The payload of the other side's second message. */
  readSecond(message: Uint8Array): Buffer {
    return this.#orUndo(() => {
      const rest = this.#readEphemeral(message);
      this.#mixSharedSecret();
      return this.#decrypt(rest);
    });
  }

  /** The two keys for what follows: of the first message's sender, and of the second's. */
  split(): readonly [Buffer, Buffer] {
    const [first, second] = hkdf(this.#chainingKey, Buffer.alloc(0), 2);
    return [first, second];
  }

  #orUndo(read: () => Buffer): Buffer {
    const [chainingKey, transcript, key, counter] = [
      this.#chainingKey,
      this.#transcript,
      this.#key,
      this.#counter,
    ];
    try {
      return read();
    } catch (error) {
      this.#chainingKey = chainingKey;
      this.#transcript = transcript;
      this.#key = key;
      this.#counter = counter;
      throw error;
    }
  }

  #writeEphemeral(): Buffer {
    this.#ephemeral ??= generateKeyPair();
    this.#mixEphemeral(this.#ephemeral.publicBytes);
    return this.#ephemeral.publicBytes;
  }

  #readEphemeral(message: Uint8Array): Uint8Array {
    this.#remote = Buffer.from(message.subarray(0, KEY_LENGTH));
    this.#mixEphemeral(this.#remote);
    return message.subarray(KEY_LENGTH);
  }

  /** With a psk, an ephemeral key is mixed into the chaining key as well (section 9.2). */
  #mixEphemeral(publicBytes: Uint8Array): void {
    this.#mixHash(publicBytes);
    this.#mixKey(publicBytes);
  }

  #mixSharedSecret(): void {
    if (this.#ephemeral === undefined)
      throw new Error('The second message is read before the first is written');
    const key = { kty: 'OKP', crv: 'X25519', x: this.#remote.toString('base64url') };
    const publicKey = createPublicKey({ key, format: 'jwk' });
    // Throws for a point of small order, whose secret anybody knows (RFC 7748, section 6.1).
    this.#mixKey(diffieHellman({ privateKey: this.#ephemeral.privateKey, publicKey }));
  }

  #mixHash(data: Uint8Array): void {
    this.#transcript = createHash('sha256').update(this.#transcript).update(data).digest();
  }

  #mixKey(input: Uint8Array): void {
    [this.#chainingKey, this.#key] = hkdf(this.#chainingKey, input, 2);
    this.#counter = 0;
  }

  #mixKeyAndHash(input: Uint8Array): void {
    const [chainingKey, hash, key] = hkdf(this.#chainingKey, input, 3);
    this.#chainingKey = chainingKey;
    this.#mixHash(hash);
    this.#key = key;
    this.#counter = 0;
  }

  #encrypt(plaintext: Uint8Array): Buffer {
    const cipher = createCipheriv(CIPHER, this.#key, this.#nonce(), { authTagLength: TAG_LENGTH });
    cipher.setAAD(this.#transcript, { plaintextLength: plaintext.length });
    const sealed = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
    this.#mixHash(sealed);
    return sealed;
  }

  #decrypt(sealed: Uint8Array): Buffer {
    if (sealed.length < TAG_LENGTH) throw new Error('The message is too short');
    const decipher = createDecipheriv(CIPHER, this.#key, this.#nonce(), { authTagLength: TAG_LENGTH });
    decipher.setAAD(this.#transcript, { plaintextLength: sealed.length - TAG_LENGTH });
    decipher.setAuthTag(sealed.subarray(-TAG_LENGTH));
    const plaintext = Buffer.concat([decipher.update(sealed.subarray(0, -TAG_LENGTH)), decipher.final()]);
    this.#mixHash(sealed);
    return plaintext;
  }

  #nonce(): Buffer {
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32LE(this.#counter++, 4);
    return nonce;
  }
}

/** HKDF-SHA256 as Noise has it: the chaining key is the salt, and there is no info (section 4.3). */
function hkdf(chainingKey: Uint8Array, input: Uint8Array, outputs: 2 | 3): Buffer[] {
  const bytes = Buffer.from(hkdfSync('sha256', input, chainingKey, Buffer.alloc(0), outputs * KEY_LENGTH));
  return Array.from({ length: outputs }, (_, i) => bytes.subarray(i * KEY_LENGTH, (i + 1) * KEY_LENGTH));
}

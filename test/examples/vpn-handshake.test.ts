import assert from 'node:assert/strict';
import crypto, { createDecipheriv, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import {
  INITIATION_LENGTH,
  initiate,
  initiationKeyId,
  keyId,
  RESPONSE_LENGTH,
  readInitiation,
  responseIndex,
} from '../../examples/vpn/handshake.ts';
import { type KeyPair, NoiseHandshake } from '../../examples/vpn/noise.ts';

// Noise_NNpsk0_25519_ChaChaPoly_SHA256 of the Cacophony vectors, as snow's tests/vectors/cacophony.txt has them
// (github.com/mcginty/snow, 8ac60f5).
const VECTOR = {
  prologue: '4a6f686e2047616c74',
  psk: '54686973206973206d7920417573747269616e20706572737065637469766521',
  initiator: '893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a',
  responder: 'bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b',
  messages: [
    [
      '4c756477696720766f6e204d69736573',
      'ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c794479b962b8aff8485742ac32f905ba45369e2465fb59e138a93d67a0d1266b6a54',
    ],
    [
      '4d757272617920526f746862617264',
      '95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843d6062704d5a9c422a8e834423f8c1feada7e8d0d910a1a2cd030fb584221e3',
    ],
    ['462e20412e20486179656b', 'e632c3763d7669067383433197a3baddf146e9e70ad4b4e9e59e0f'],
    ['4361726c204d656e676572', '64c6bee32ea91c8474bb4c21d7a700109ad45af77b29764ba5eb1e'],
  ],
} as const;

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

function keyPair(privateBytes: string): KeyPair {
  // PKCS #8 around the 32 bytes (RFC 8410).
  const der = hex(`302e020100300506032b656e04220420${privateBytes}`);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
  return { privateKey, publicBytes: Buffer.from(String(x), 'base64url') };
}

/** A transport message of Noise: the first with its key, without associated data. */
function openFirst(key: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('chacha20-poly1305', key, Buffer.alloc(12), { authTagLength: 16 });
  decipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
}

describe('the example VPN: the Noise handshake', () => {
  it('is Noise_NNpsk0_25519_ChaChaPoly_SHA256 by the published vectors', () => {
    const { messages } = VECTOR;
    const start = (e: string) => new NoiseHandshake(hex(VECTOR.psk), hex(VECTOR.prologue), keyPair(e));
    const [initiator, responder] = [start(VECTOR.initiator), start(VECTOR.responder)];
    assert.equal(initiator.writeFirst(hex(messages[0][0])).toString('hex'), messages[0][1]);
    assert.equal(responder.readFirst(hex(messages[0][1])).toString('hex'), messages[0][0]);
    assert.equal(responder.writeSecond(hex(messages[1][0])).toString('hex'), messages[1][1]);
    assert.equal(initiator.readSecond(hex(messages[1][1])).toString('hex'), messages[1][0]);
    for (const [first, second] of [initiator.split(), responder.split()]) {
      assert.equal(openFirst(first, hex(messages[2][1])).toString('hex'), messages[2][0]);
      assert.equal(openFirst(second, hex(messages[3][1])).toString('hex'), messages[3][0]);
    }
  });

  it('refuses a point of small order, whose secret anybody knows', () => {
    const handshake = new NoiseHandshake(randomBytes(32), Buffer.alloc(0));
    handshake.writeFirst(Buffer.alloc(0));
    assert.throws(() => handshake.readSecond(Buffer.alloc(48)));
  });
});

describe('the example VPN: handshake messages', () => {
  const psk = randomBytes(32);
  const begin = () => initiate(psk, 'chacha20-poly1305', 7, 1234n);
  const read = (message: Buffer, key = psk) => readInitiation(message, key, 'chacha20-poly1305');

  it('gives both ends the same keys, the other way round, and tells each the other’s index', () => {
    const pending = begin();
    assert.equal(pending.message.length, INITIATION_LENGTH);
    assert.equal(initiationKeyId(pending.message), keyId(psk));
    const initiation = read(pending.message);
    assert.equal(initiation?.timestamp, 1234n);
    const { message, keys } = initiation.respond(9);
    assert.equal(message.length, RESPONSE_LENGTH);
    assert.equal(responseIndex(message), 7);
    const own = pending.complete(message);
    assert.deepEqual(own, { sendKey: keys.receiveKey, receiveKey: keys.sendKey, remoteIndex: 9 });
    assert.equal(keys.remoteIndex, 7);
    assert.notDeepEqual(keys.sendKey, keys.receiveKey);
  });

  it('answers with less than it was asked with', () => {
    assert.ok(RESPONSE_LENGTH < INITIATION_LENGTH);
  });

  it('agrees on new keys each time', () => {
    const keys = [begin(), begin()].map((pending) => read(pending.message)?.respond(9).keys.sendKey);
    assert.notDeepEqual(keys[0], keys[1]);
  });

  it('refuses another key, another cipher, and any changed bit', () => {
    const { message } = begin();
    assert.equal(read(message, randomBytes(32)), undefined);
    assert.equal(readInitiation(message, psk, 'aes-256-gcm'), undefined);
    // The key id before it only says where to look.
    for (let i = 12; i < message.length; i++) {
      const changed = Buffer.from(message);
      changed[i] ^= 1 << (i & 7);
      assert.equal(read(changed), undefined, `byte ${i}`);
    }
  });

  it('makes no key pair before it answers', () => {
    const { message } = begin();
    const { generateKeyPairSync } = crypto;
    let made = 0;
    crypto.generateKeyPairSync = ((...args: Parameters<typeof generateKeyPairSync>) => {
      made++;
      return generateKeyPairSync(...args);
    }) as typeof generateKeyPairSync;
    syncBuiltinESMExports();
    try {
      assert.equal(read(randomBytes(INITIATION_LENGTH)), undefined);
      const initiation = read(message);
      assert.equal(made, 0);
      initiation?.respond(9);
      assert.equal(made, 1);
    } finally {
      crypto.generateKeyPairSync = generateKeyPairSync;
      syncBuiltinESMExports();
    }
  });

  it('refuses what is cut or garbage', () => {
    const { message } = begin();
    for (let length = 0; length < message.length; length++) {
      assert.equal(read(message.subarray(0, length)), undefined, `${length} bytes`);
    }
    for (let i = 0; i < 100; i++) assert.equal(read(randomBytes(INITIATION_LENGTH)), undefined);
  });

  it('takes the right response though forged ones came before', () => {
    const pending = begin();
    const response = read(pending.message)?.respond(9).message ?? Buffer.alloc(0);
    for (let i = 8; i < response.length; i++) {
      const changed = Buffer.from(response);
      changed[i] ^= 1 << (i & 7);
      assert.equal(pending.complete(changed), undefined, `byte ${i}`);
    }
    assert.equal(pending.complete(read(begin().message)?.respond(9).message ?? response), undefined);
    assert.equal(pending.complete(response)?.remoteIndex, 9);
  });
});

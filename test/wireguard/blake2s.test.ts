/** BLAKE2s, HMAC and key derivation, against RFC 7693's self test and node:crypto. */

import assert from 'node:assert/strict';
import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { blake2s, deriveKeys } from '#dist/wireguard/crypto.js';

const NO_KEY = new Uint8Array(0);

function digest(length: number, key: Uint8Array, ...parts: Uint8Array[]): Buffer {
  const out = Buffer.alloc(length);
  blake2s(out, key, ...parts);
  return out;
}

/** The deterministic bytes of RFC 7693 appendix E. */
function selfTestSequence(length: number, seed: number): Buffer {
  const out = Buffer.alloc(length);
  let a = Math.imul(0xdead4bad, seed) >>> 0;
  let b = 1;
  for (let i = 0; i < length; i++) {
    const t = (a + b) >>> 0;
    a = b;
    b = t;
    out[i] = t >>> 24;
  }
  return out;
}

describe('BLAKE2s', () => {
  it('hashes "abc" as RFC 7693 appendix B says', () => {
    assert.equal(
      digest(32, NO_KEY, Buffer.from('abc')).toString('hex'),
      '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982',
    );
  });

  it('passes the self test of RFC 7693 appendix E: keyed and not, four lengths', () => {
    const all: Buffer[] = [];
    for (const length of [16, 20, 28, 32]) {
      for (const inputLength of [0, 3, 64, 65, 255, 1024]) {
        const input = selfTestSequence(inputLength, inputLength);
        all.push(digest(length, NO_KEY, input), digest(length, selfTestSequence(length, length), input));
      }
    }
    assert.equal(
      digest(32, NO_KEY, Buffer.concat(all)).toString('hex'),
      '6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe',
    );
  });

  it('equals node:crypto for any input in any parts', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (parts) => {
        const expected = createHash('blake2s256').update(Buffer.concat(parts)).digest();
        assert.deepEqual(digest(32, NO_KEY, ...parts), expected);
      }),
    );
  });

  it('may write over its input', () => {
    const bytes = randomBytes(32);
    const expected = createHash('blake2s256').update(bytes).digest();
    blake2s(bytes, NO_KEY, bytes);
    assert.deepEqual(bytes, expected);
  });

  it('derives keys as HKDF of node:crypto', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        // hkdfSync takes no empty key from a Uint8Array of every version; the empty one is tested by the handshake.
        fc.uint8Array({ minLength: 1, maxLength: 48 }),
        fc.integer({ min: 1, max: 3 }),
        (chainingKey, input, count) => {
          const expected = Buffer.from(hkdfSync('blake2s256', input, chainingKey, NO_KEY, 32 * count));
          const outputs = Array.from({ length: count }, () => Buffer.alloc(32));
          deriveKeys(outputs, chainingKey, input);
          assert.deepEqual(Buffer.concat(outputs), expected);
          // The chaining key may be replaced by the first output.
          deriveKeys([chainingKey], chainingKey, input);
          assert.deepEqual(Buffer.from(chainingKey), outputs[0]);
        },
      ),
    );
  });
});

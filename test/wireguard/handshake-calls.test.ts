/** What the native calls of handshakes make of arguments that are wrong. */

import assert from 'node:assert/strict';
import { native } from '#dist/native/addon.js';
import { EINVAL } from '#dist/native/errno.js';

const bytes = (length: number) => new Uint8Array(length);

describe('native calls of handshakes', () => {
  const state = bytes(96);
  const calls = native();
  const wrong: Record<string, () => number> = {
    'a state that is too short': () => calls.mixHash(bytes(95), bytes(1)),
    'a state that is no bytes': () => calls.mixKey('state' as unknown as Uint8Array, bytes(1)),
    'nothing to mix': () => calls.mixKeyAndHash(state, undefined as unknown as Uint8Array),
    'a private key that is too short': () => calls.mixSharedSecret(state, bytes(31), bytes(32)),
    'a public key that is too long': () => calls.mixSharedSecret(state, bytes(32), bytes(33)),
    'no room for the tag': () => calls.encryptAndHash(Buffer.alloc(96, 1), bytes(4), bytes(19)),
    'a state without a key': () => calls.encryptAndHash(state, bytes(4), bytes(20)),
    'less than a tag': () => calls.decryptAndHash(state, bytes(15), bytes(0)),
    'too much room': () => calls.decryptAndHash(state, bytes(20), bytes(5)),
    'more random bytes than there are at once': () => calls.randomBytes(bytes(257)),
  };
  for (const [what, call] of Object.entries(wrong)) {
    it(`refuse ${what}`, () => assert.equal(call(), EINVAL));
  }

  it('encrypt by a key once', () => {
    const fresh = bytes(96);
    assert.equal(calls.mixKey(fresh, bytes(32)), 0);
    assert.equal(calls.encryptAndHash(fresh, bytes(4), bytes(20)), 0);
    assert.equal(calls.encryptAndHash(fresh, bytes(4), bytes(20)), EINVAL);
  });
});

/** Keys as text: against wg(8) where it is installed. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  equalKeys,
  formatKey,
  generatePresharedKey,
  generatePrivateKey,
  parseKey,
  publicKey,
} from '#dist/wireguard/keys.js';
import { code, needs } from '../support.ts';

describe('WireGuard keys', () => {
  it('are generated clamped, and anew each time', () => {
    const keys = Array.from({ length: 50 }, generatePrivateKey);
    assert.equal(new Set(keys).size, 50);
    for (const key of keys) {
      const bytes = Buffer.from(key, 'base64');
      assert.match(key, /^[A-Za-z0-9+/]{43}=$/);
      assert.deepEqual([bytes[0] & 7, bytes[31] & 0xc0, bytes.length], [0, 0x40, 32]);
    }
    assert.match(generatePresharedKey(), /^[A-Za-z0-9+/]{43}=$/);
    assert.notEqual(generatePresharedKey(), generatePresharedKey());
  });

  it('have the public key that wg pubkey tells', function () {
    needs(this, 'wg');
    for (let i = 0; i < 5; i++) {
      // The last ones are not clamped.
      const key = i < 3 ? generatePrivateKey() : formatKey(randomBytes(32));
      const { stdout } = spawnSync('wg', ['pubkey'], { input: `${key}\n`, encoding: 'utf8' });
      assert.equal(publicKey(key), stdout.trim());
      assert.equal(publicKey(Buffer.from(key, 'base64')), stdout.trim());
    }
  });

  it('are parsed into memory of their own', () => {
    const bytes = randomBytes(32);
    for (const form of [bytes, new Uint8Array(bytes), formatKey(bytes)]) {
      const parsed = parseKey('privateKey', form);
      assert.deepEqual(parsed, bytes);
      assert.equal(parsed.buffer.byteLength, 32);
      assert.notEqual(parsed.buffer, bytes.buffer);
    }
  });

  const good = '6K1Ww7p0s4Pw5mC0Y6O0oHbWb5cDpQmB0S6Zk0kTZ0E=';
  const bad: [string, unknown][] = [
    ['nothing', ''],
    ['a character less', good.slice(1)],
    ['a character more', `A${good}`],
    ['white space around it', ` ${good.slice(1)}`],
    ['a newline behind it', `${good.slice(0, 43)}\n`],
    ['no padding', `${good.slice(0, 43)}A`],
    ['two equals signs', `${good.slice(0, 42)}==`],
    ['unused bits that are set', `${good.slice(0, 42)}F=`],
    ['base64url', good.replace('6', '-')],
    ['a character that is not base64', good.replace('6', '*')],
    ['a letter of another script', good.replace('K', 'К')],
    ['hexadecimal', randomBytes(32).toString('hex')],
    ['31 bytes', randomBytes(31)],
    ['33 bytes', randomBytes(33)],
    ['an array of numbers', [...randomBytes(32)]],
    ['a number', 32],
    ['null', null],
    ['undefined', undefined],
    ['an object that looks like a text', { length: 44, toString: () => good }],
  ];
  assert.equal(parseKey('key', good).length, 32);
  for (const [what, key] of bad) {
    it(`are not ${what}`, () => {
      assert.throws(() => parseKey('peers[3].publicKey', key), {
        name: 'TypeError',
        code: 'ERR_WG_KEY',
        message: /^The "peers\[3\]\.publicKey" argument must be a WireGuard key/,
      });
      assert.equal(
        code(() => publicKey(key as string)),
        'ERR_WG_KEY',
      );
    });
  }

  it('with a mistake are not shown by the error', () => {
    const secret = `${good.slice(0, 42)}F=`;
    assert.throws(
      () => parseKey('privateKey', secret),
      (error: Error) =>
        !error.message.includes(secret.slice(0, 8)) && !error.stack?.includes(secret.slice(0, 8)),
    );
  });

  it('are compared by all bytes', () => {
    const key = randomBytes(32);
    assert.ok(equalKeys(key, Buffer.from(key)));
    for (let i = 0; i < 32; i++) {
      const other = Buffer.from(key);
      other[i] ^= 1;
      assert.ok(!equalKeys(key, other));
    }
    assert.ok(!equalKeys(key, key.subarray(1)));
  });
});

import assert from 'node:assert/strict';
import { type CipherGCMTypes, createCipheriv, createDecipheriv, randomBytes, randomInt } from 'node:crypto';
import { PacketBatch } from 'tuntap-native';
import { Aead, type AeadCipher, type AeadOptions, ReplayWindow } from 'tuntap-native/tunnel';
import { runPreloaded } from '../preload.ts';
import { code, moduleArguments, needs } from '../support.ts';
import { copiesInMemory } from './memory.ts';
import { hasAes, SOURCES, use } from './sources.ts';

const KEY_LENGTHS: Readonly<Record<AeadCipher, number>> = {
  'chacha20-poly1305': 32,
  'aes-128-gcm': 16,
  'aes-256-gcm': 32,
};
const CIPHERS = Object.keys(KEY_LENGTHS) as AeadCipher[];
const EBADMSG = -74;
const ENOBUFS = -105;

function batchOf(packets: readonly Uint8Array[], headroom = 16): PacketBatch {
  const batch = new PacketBatch({ headroom, tailroom: 16 });
  for (const packet of packets) assert.equal(batch.push(packet), true);
  return batch;
}

/** What Aead makes of a packet, by node:crypto. */
function sealed(
  cipher: AeadCipher,
  key: Uint8Array,
  plain: Uint8Array,
  header: Buffer,
  prefix: Uint8Array,
  from: number,
  length: number,
  counterOffset: number,
): Buffer {
  const nonce = Buffer.concat([prefix, header.subarray(counterOffset, counterOffset + 8)]);
  // node:crypto's types know of GCM alone, though this is how it takes ChaCha20-Poly1305 as well.
  const one = createCipheriv(cipher as CipherGCMTypes, key, nonce, { authTagLength: 16 });
  one.setAAD(header.subarray(from, from + length));
  return Buffer.concat([header, one.update(plain), one.final(), one.getAuthTag()]);
}

for (const source of SOURCES.filter(hasAes)) {
  describe(`Aead by ${source}`, () => {
    use(source);

    for (const cipher of CIPHERS) {
      it(`makes and takes the same bytes as node:crypto, on random input: ${cipher}`, () => {
        for (let round = 0; round < 30; round++) {
          const key = randomBytes(KEY_LENGTHS[cipher]);
          const headerLength = randomInt(8, 41);
          const counterOffset = randomInt(0, headerLength - 7);
          const from = randomInt(0, headerLength + 1);
          const length = randomInt(0, headerLength - from + 1);
          const counter = randomInt(0, 2 ** 48 - 1) * 2 ** randomInt(0, 5);
          const noncePrefix = randomBytes(4);
          const options: AeadOptions = {
            headerLength,
            counterOffset,
            associatedDataOffset: from,
            associatedDataLength: length,
            noncePrefix,
            counter,
          };
          using aead = new Aead(cipher, key, options);
          const plain = Array.from({ length: 5 }, () => randomBytes(randomInt(1, 2000)));
          const template = randomBytes(headerLength);
          const batch = batchOf(plain, headerLength + randomInt(0, 9));
          assert.equal(aead.sealBatch(batch, template), 5);
          plain.forEach((packet, i) => {
            const header = Buffer.from(template);
            header.writeBigUInt64LE(BigInt(counter) + BigInt(i), counterOffset);
            const expected = sealed(cipher, key, packet, header, noncePrefix, from, length, counterOffset);
            assert.deepEqual(batch.at(i), expected);
          });
          assert.equal(aead.counter, counter + 5);
          assert.equal(aead.openBatch(batch), 5);
          assert.deepEqual(
            [...batch].map((bytes) => Buffer.from(bytes)),
            plain,
          );
        }
      });

      it(`reports a forged packet, wipes it, and goes on: ${cipher}`, () => {
        using aead = new Aead(cipher, randomBytes(KEY_LENGTHS[cipher]), { headerLength: 16 });
        const plain = Array.from({ length: 6 }, (_, i) => Buffer.alloc(500, i + 1));
        const batch = batchOf(plain);
        aead.sealBatch(batch, randomBytes(16));
        // Each part once: associated data, counter, ciphertext, tag.
        const forged = [0, 8, 16 + 250, 16 + 500].map((position, i) => {
          const bytes = batch.at(i);
          bytes[position] ^= 0x01;
          return bytes;
        });
        batch.resize(4, 0, -1);
        forged.push(batch.at(4));
        assert.equal(aead.openBatch(batch), 1);
        assert.deepEqual(
          [0, 1, 2, 3, 4, 5].map((i) => batch.status(i)),
          [EBADMSG, EBADMSG, EBADMSG, EBADMSG, EBADMSG, 0],
        );
        for (const bytes of forged) assert.ok(bytes.every((byte) => byte === 0));
        assert.deepEqual(
          [0, 1, 2, 3, 4].map((i) => batch.lengthOf(i)),
          [0, 0, 0, 0, 0],
        );
        assert.deepEqual(batch.at(5), plain[5]);
      });
    }

    it('authenticates headers of any length and of extreme bytes as node:crypto does: chacha20-poly1305', () => {
      // Sums of Poly1305 with carries in every limb, in steps of one, four and eight blocks.
      for (const fill of [0xff, 0x00, 0xfe]) {
        for (const headerLength of [8, 63, 64, 127, 128, 255, 256, 257, 400, 512, 1000, 2048, 4000, 4096]) {
          const key = randomBytes(32);
          const header = Buffer.alloc(headerLength, fill).fill(0, headerLength - 8);
          using aead = new Aead('chacha20-poly1305', key, { headerLength });
          const batch = batchOf([Buffer.alloc(100, fill)], headerLength);
          assert.equal(aead.sealBatch(batch, header), 1);
          const expected = sealed(
            'chacha20-poly1305',
            key,
            Buffer.alloc(100, fill),
            header,
            Buffer.alloc(4),
            0,
            headerLength,
            headerLength - 8,
          );
          assert.deepEqual(batch.at(0), expected);
        }
      }
    });

    it('refuses what is too short to be a packet, and opens an empty one', () => {
      const key = randomBytes(32);
      const header = Buffer.alloc(8);
      const empty = sealed('aes-256-gcm', key, Buffer.alloc(0), header, Buffer.alloc(4), 0, 8, 0);
      using aead = new Aead('aes-256-gcm', key);
      const batch = batchOf([empty, empty.subarray(0, 23), Buffer.alloc(1, 5), Buffer.alloc(24)]);
      assert.equal(aead.openBatch(batch), 1);
      assert.deepEqual(
        [0, 1, 2, 3].map((i) => [batch.status(i), batch.lengthOf(i)]),
        [
          [0, 0],
          [EBADMSG, 0],
          [EBADMSG, 0],
          [EBADMSG, 0],
        ],
      );
    });

    it('seals and opens part of a batch, and passes over what was dropped', () => {
      using one = new Aead('chacha20-poly1305', randomBytes(32));
      using two = new Aead('chacha20-poly1305', randomBytes(32));
      const plain = Array.from({ length: 6 }, (_, i) => Buffer.alloc(40, i + 1));
      const batch = batchOf(plain);
      batch.drop(1);
      assert.equal(one.sealBatch(batch, undefined, 0, 3), 2);
      assert.equal(two.sealBatch(batch, undefined, 3), 3);
      assert.equal(one.openBatch(batch, 0, 4), 2);
      assert.equal(two.openBatch(batch, 4), 2);
      assert.deepEqual(
        [0, 1, 2, 3, 4, 5].map((i) => batch.lengthOf(i)),
        [40, 0, 40, 0, 40, 40],
      );
      assert.deepEqual(batch.at(5), plain[5]);
    });

    it('never lets a packet without room go out in the clear', () => {
      using aead = new Aead('aes-128-gcm', randomBytes(16));
      const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
      for (let i = 0; i < 3; i++) batch.push(Buffer.alloc(64, 1));
      batch.resize(0, 1, 0);
      batch.resize(1, 0, 16);
      assert.equal(aead.sealBatch(batch), 1);
      assert.deepEqual(
        [0, 1, 2].map((i) => [batch.status(i), batch.lengthOf(i)]),
        [
          [ENOBUFS, 0],
          [ENOBUFS, 0],
          [0, 64 + 8 + 16],
        ],
      );
    });

    it('never seals two packets with one counter', () => {
      using aead = new Aead('chacha20-poly1305', randomBytes(32), { counter: 7, counterLimit: 10 });
      const batch = batchOf([Buffer.alloc(9), Buffer.alloc(9)]);
      assert.equal(aead.sealBatch(batch), 2);
      assert.equal(aead.counter, 9);
      const more = batchOf([Buffer.alloc(9, 1), Buffer.alloc(9, 2)]);
      assert.equal(
        code(() => aead.sealBatch(more)),
        'ERR_TUNTAP_COUNTER_EXHAUSTED',
      );
      assert.deepEqual(more.at(0), Buffer.alloc(9, 1));
      assert.equal(aead.sealBatch(more, undefined, 0, 1), 1);
      assert.equal(
        code(() => aead.sealBatch(more, undefined, 1, 2)),
        'ERR_TUNTAP_COUNTER_EXHAUSTED',
      );
      const counters = [batch.at(0), batch.at(1), more.at(0)].map((bytes) => bytes[0]);
      assert.deepEqual(counters, [7, 8, 9]);
    });

    it('takes no order from a batch’s memory', () => {
      using aead = new Aead('aes-128-gcm', randomBytes(16));
      for (const [offset, length] of [
        [0x7fffffff, 50],
        [0, 60],
        [-1, -1],
        [200, 0x7fffffff],
      ]) {
        const batch = batchOf([Buffer.alloc(50, 1)]);
        const words = new Int32Array(batch.at(0).buffer, 0, 12);
        words[8] = offset;
        words[9] = length;
        assert.equal(aead.sealBatch(batch), 0);
        assert.equal(batch.status(0), ENOBUFS);
        words[8] = offset;
        words[9] = length;
        if (offset > 200 || offset < 0) assert.equal(aead.openBatch(batch), 0);
      }
    });

    it('refuses bad arguments', () => {
      const key = randomBytes(32);
      const make = (options: unknown) => () => new Aead('chacha20-poly1305', key, options as AeadOptions);
      using aead = new Aead('chacha20-poly1305', key, { headerLength: 16 });
      const batch = batchOf([Buffer.alloc(20)]);
      for (const [act, expected] of [
        [() => new Aead('rot13' as AeadCipher, key), 'ERR_INVALID_ARG_VALUE'],
        [() => new Aead('aes-128-gcm', key), 'ERR_OUT_OF_RANGE'],
        [() => new Aead('aes-256-gcm', 'key' as unknown as Buffer), 'ERR_INVALID_ARG_TYPE'],
        [make({ headerLength: 7 }), 'ERR_OUT_OF_RANGE'],
        [make({ headerLength: 4097 }), 'ERR_OUT_OF_RANGE'],
        [make({ headerLength: 16, counterOffset: 9 }), 'ERR_OUT_OF_RANGE'],
        [make({ associatedDataOffset: 9 }), 'ERR_OUT_OF_RANGE'],
        [make({ associatedDataOffset: 4, associatedDataLength: 5 }), 'ERR_OUT_OF_RANGE'],
        [make({ noncePrefix: Buffer.alloc(5) }), 'ERR_OUT_OF_RANGE'],
        [make({ counter: 2 ** 53 }), 'ERR_OUT_OF_RANGE'],
        [make({ counter: 5, counterLimit: 4 }), 'ERR_OUT_OF_RANGE'],
        [make(null), 'ERR_INVALID_ARG_TYPE'],
        [() => aead.sealBatch(batch, Buffer.alloc(15)), 'ERR_OUT_OF_RANGE'],
        [() => aead.sealBatch(batchOf([], 15)), 'ERR_OUT_OF_RANGE'],
        [() => aead.sealBatch(new PacketBatch({ headroom: 16, tailroom: 15 })), 'ERR_OUT_OF_RANGE'],
        [() => aead.sealBatch(batch, undefined, 2), 'ERR_OUT_OF_RANGE'],
        [() => aead.openBatch(batch, 0, 2), 'ERR_OUT_OF_RANGE'],
        [() => aead.openBatch({} as PacketBatch), 'ERR_INVALID_ARG_TYPE'],
      ] as const) {
        assert.equal(code(act), expected, String(act));
      }
      assert.equal(aead.counter, 0);
    });

    it('is of no use once disposed of', () => {
      const aead = new Aead('chacha20-poly1305', randomBytes(32));
      aead.dispose();
      aead.dispose();
      const batch = batchOf([Buffer.alloc(30)]);
      for (const act of [() => aead.sealBatch(batch), () => aead.openBatch(batch)]) {
        assert.equal(code(act), 'ERR_TUNTAP_CLOSED');
      }
    });

    for (const cipher of ['aes-128-gcm', 'chacha20-poly1305'] as const) {
      it(`leaves no key in memory when it is disposed of: ${cipher}`, () => {
        // AES-128's key is the first round key.
        const [without, held, disposed] = copiesInMemory(
          randomBytes(KEY_LENGTHS[cipher]),
          `const aead = new Aead('${cipher}', secret);
           count();
           aead.dispose();`,
        );
        assert.ok(held > without, `${without} copies at first, ${held} held`);
        assert.equal(disposed, without);
      });

      it(`leaves no text in memory but the batch’s: ${cipher}`, () => {
        const [without, sealed, opened] = copiesInMemory(
          randomBytes(200),
          `const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
           const aead = new Aead('${cipher}', Buffer.alloc(${KEY_LENGTHS[cipher]}, 5));
           batch.push(secret);
           aead.sealBatch(batch);
           count();
           aead.openBatch(batch);
           batch.at(0).fill(0);`,
        );
        assert.deepEqual([sealed, opened], [without, without]);
      });
    }

    it('leaves no packet’s own key in memory: chacha20-poly1305', () => {
      const key = Buffer.alloc(32, 5);
      // RFC 8439 section 2.6: the first half of block 0; the nonce is all zeros.
      const oneTimeKey = createCipheriv('chacha20', key, Buffer.alloc(16)).update(Buffer.alloc(32));
      const [without, sealed, opened, forged] = copiesInMemory(
        oneTimeKey,
        `const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
         const aead = new Aead('chacha20-poly1305', Buffer.alloc(32, 5));
         batch.push(Buffer.alloc(100, 1));
         aead.sealBatch(batch);
         batch.push(Buffer.from(batch.at(0)));
         batch.at(1)[50] ^= 1;
         count();
         aead.openBatch(batch, 0, 1);
         count();
         aead.openBatch(batch, 1);`,
      );
      assert.deepEqual([sealed, opened, forged], [without, without, without]);
    });

    for (const cipher of CIPHERS) {
      it(`seals and opens an empty packet, as a keepalive of WireGuard is: ${cipher}`, () => {
        const key = randomBytes(KEY_LENGTHS[cipher]);
        using aead = new Aead(cipher, key, { headerLength: 16, associatedDataLength: 0, counter: 5 });
        const batch = batchOf([Buffer.alloc(0), Buffer.from('text'), Buffer.alloc(0), Buffer.alloc(0)]);
        batch.drop(2);
        const header = Buffer.from('04000000aabbccdd0000000000000000', 'hex');
        assert.equal(aead.sealBatch(batch, header), 3);
        for (const [i, counter, plain] of [
          [0, 5n, ''],
          [1, 6n, 'text'],
          [3, 7n, ''],
        ] as const) {
          header.writeBigUInt64LE(counter, 8);
          const text = Buffer.from(plain);
          assert.deepEqual(batch.at(i), sealed(cipher, key, text, header, Buffer.alloc(4), 0, 0, 8));
        }
        assert.deepEqual(
          [0, 1, 2, 3].map((i) => [batch.lengthOf(i), batch.isDropped(i)]),
          [
            [32, false],
            [36, false],
            [0, true],
            [32, false],
          ],
        );
        assert.equal(aead.openBatch(batch), 3);
        assert.equal(new ReplayWindow().checkBatch(batch, -8), 3);
        assert.deepEqual(
          [0, 1, 2, 3].map((i) => [batch.lengthOf(i), batch.isDropped(i)]),
          [
            [0, false],
            [4, false],
            [0, true],
            [0, false],
          ],
        );
        // What was opened can be sealed again, a hop further.
        assert.equal(aead.sealBatch(batch, header), 3);
        batch.at(0)[31] ^= 1;
        assert.equal(aead.openBatch(batch), 2);
        assert.deepEqual([batch.isDropped(0), batch.status(0)], [true, EBADMSG]);
      });
    }

    it('makes and takes the same bytes as node:crypto, whatever the length: chacha20-poly1305', () => {
      const key = randomBytes(32);
      const text = randomBytes(2000);
      using aead = new Aead('chacha20-poly1305', key);
      const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
      for (let length = 1; length <= text.length; length++) {
        const plain = text.subarray(0, length);
        batch.clear();
        batch.push(plain);
        aead.sealBatch(batch);
        const header = Buffer.from(batch.at(0).subarray(0, 8));
        assert.deepEqual(
          batch.at(0),
          sealed('chacha20-poly1305', key, plain, header, Buffer.alloc(4), 0, 8, 0),
          String(length),
        );
        assert.equal(aead.openBatch(batch), 1);
        assert.deepEqual(batch.at(0), plain);
      }
    });

    it('leaves node:crypto no error of its own to find', () => {
      const key = randomBytes(32);
      using aead = new Aead('aes-256-gcm', key);
      aead.openBatch(batchOf([Buffer.alloc(100)]));
      const nonce = Buffer.alloc(12);
      const one = createCipheriv('aes-256-gcm', key, nonce);
      const text = Buffer.concat([one.update('text'), one.final()]);
      const back = createDecipheriv('aes-256-gcm', key, nonce).setAuthTag(one.getAuthTag());
      assert.equal(Buffer.concat([back.update(text), back.final()]).toString(), 'text');
    });
  });
}

describe('Aead and the OpenSSL of the process', () => {
  const BUNDLED = SOURCES.some((source) => source !== 'openssl');

  it('takes the bundled ciphers where the process has no OpenSSL, or says so, and the rest works all the same', function () {
    needs(this, 'cc');
    const program = `
      import { Aead, openUdp } from ${JSON.stringify(import.meta.resolve('tuntap-native/tunnel'))};
      await openUdp({ address: '127.0.0.1' }).close();
      try { console.log(new Aead('aes-128-gcm', Buffer.alloc(16)).source); } catch (error) { console.log(error.code, error.message); }`;
    const output = runPreloaded('tunnel/hide-openssl', moduleArguments(program), {
      HIDE: 'EVP_',
    });
    if (BUNDLED) assert.equal(output, 'bundled\n');
    else
      assert.match(
        output,
        /^ERR_TUNTAP_NO_OPENSSL aes-128-gcm can't be used: this process has no OpenSSL, and/,
      );
  });

  const faults: [string, Record<string, string>][] = [
    ['lacks', { HIDE: 'ChaCha20_' }],
    ['lacks', { HIDE: 'Poly1305_' }],
    ['has another function for', { FAKE: 'ChaCha20_ctr32' }],
    ['has another function for', { FAKE: 'Poly1305_Update' }],
    ['has another function for', { FAKE: 'ChaCha20_ctr32', IGNORES: 'nonce' }],
    ['has another function for', { FAKE: 'ChaCha20_ctr32', IGNORES: 'counter' }],
    ['has another function for', { FAKE: 'ChaCha20_ctr32', IGNORES: 'tail' }],
    ['has another function for', { FAKE: 'Poly1305_Update', IGNORES: 'data' }],
  ];
  for (const [what, fault] of faults) {
    it(`seals and opens by EVP where OpenSSL ${what} ${Object.values(fault).join(', ignoring ')}`, function () {
      needs(this, 'cc');
      const program = `
        import { createCipheriv } from 'node:crypto';
        import { PacketBatch } from ${JSON.stringify(import.meta.resolve('tuntap-native'))};
        import { Aead } from ${JSON.stringify(import.meta.resolve('tuntap-native/tunnel'))};
        const key = Buffer.alloc(32, 7);
        const aead = new Aead('chacha20-poly1305', key, { counter: 0x1020304050607 });
        const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
        const texts = [1420, 100, 448].map((length) => Buffer.alloc(length, 'text'));
        for (const text of texts) batch.push(text);
        aead.sealBatch(batch);
        const expected = texts.map((text, i) => {
          const counter = Buffer.from([7 + i, 6, 5, 4, 3, 2, 1, 0]);
          const nonce = Buffer.concat([Buffer.alloc(4), counter]);
          const one = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 });
          one.setAAD(counter);
          return Buffer.concat([counter, one.update(text), one.final(), one.getAuthTag()]);
        });
        const same = expected.every((packet, i) => packet.equals(batch.at(i)));
        batch.at(0)[100] ^= 1;
        batch.at(1)[3] ^= 1;
        const forged = aead.openBatch(batch);
        batch.clear();
        for (const packet of expected) batch.push(packet);
        const opened = aead.openBatch(batch);
        console.log(same, forged, opened, texts.every((text, i) => text.equals(batch.at(i))));`;
      const output = runPreloaded('tunnel/hide-openssl', moduleArguments(program), fault);
      assert.equal(output, 'true 1 3 true\n');
    });
  }

  for (const [hidden, left] of [
    ['EVP_chacha20', ['aes-128-gcm', 'aes-256-gcm']],
    ['EVP_aes', ['chacha20-poly1305']],
    ['EVP_aes_128', ['chacha20-poly1305', 'aes-256-gcm']],
  ] as const) {
    it(`offers ${left.join(' and ')} where OpenSSL lacks ${hidden}`, function () {
      needs(this, 'cc');
      const program = `
        import { PacketBatch } from ${JSON.stringify(import.meta.resolve('tuntap-native'))};
        import { Aead } from ${JSON.stringify(import.meta.resolve('tuntap-native/tunnel'))};
        const found = {};
        for (const [cipher, length] of ${JSON.stringify(Object.entries(KEY_LENGTHS))}) {
          const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
          batch.push(Buffer.from('text'));
          try {
            const aead = new Aead(cipher, Buffer.alloc(length));
            found[cipher] = aead.sealBatch(batch) + aead.openBatch(batch) + String(batch.at(0));
          } catch (error) {
            found[cipher] = error.code + ' ' + error.message;
          }
        }
        console.log(JSON.stringify(found));`;
      const output = runPreloaded('tunnel/hide-openssl', moduleArguments(program), {
        HIDE: hidden,
      });
      const refusal = (cipher: string) =>
        `ERR_TUNTAP_NO_OPENSSL ${cipher} can't be used: its OpenSSL lacks it, and this build of the addon has no ciphers of ` +
        'its own, as the prebuilt ones have';
      const expected = CIPHERS.map((cipher) => [
        cipher,
        BUNDLED || (left as readonly string[]).includes(cipher) ? '2text' : refusal(cipher),
      ]);
      assert.deepEqual(JSON.parse(output), Object.fromEntries(expected));
    });
  }
});

/** X25519, ChaCha20-Poly1305 and XChaCha20-Poly1305, against the vectors of their specifications. */

import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { importPrivateKey, open, seal, secretBuffer, sharedSecret } from '#dist/wireguard/crypto.js';
import { runPreloaded } from '../preload.ts';
import { moduleArguments, needs } from '../support.ts';
import { copiesInMemory } from '../tunnel/memory.ts';
import { SOURCES, use } from '../tunnel/sources.ts';

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ''), 'hex');

function multiply(scalar: Uint8Array, point: Uint8Array): string | undefined {
  return sharedSecret(importPrivateKey(scalar), point)?.toString('hex');
}

const SUNSCREEN = Buffer.from(
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
);
const AAD = hex('50515253c0c1c2c3c4c5c6c7');
const KEY = Buffer.from(Array.from({ length: 32 }, (_, i) => 0x80 + i));

for (const source of SOURCES)
  describe(`X25519 by ${source}`, () => {
    use(source);

    const vectors = [
      {
        scalar: 'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
        point: 'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
        result: 'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
      },
      {
        // The point's bit 255 is set, and is ignored.
        scalar: '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
        point: 'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
        result: '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
      },
    ];
    for (const { scalar, point, result } of vectors) {
      it(`multiplies as RFC 7748 section 5.2 says: ${result.slice(0, 8)}…`, () => {
        assert.equal(multiply(hex(scalar), hex(point)), result);
      });
    }

    it('multiplies a thousand times over', () => {
      let scalar = Buffer.alloc(32).fill(9, 0, 1);
      let point = scalar;
      for (let i = 0; i < 1000; i++) {
        const result = hex(multiply(scalar, point) ?? '');
        point = scalar;
        scalar = result;
        if (i === 0) {
          assert.equal(
            scalar.toString('hex'),
            '422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079',
          );
        }
      }
      assert.equal(
        scalar.toString('hex'),
        '684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51',
      );
    });

    it('agrees on the secret of RFC 7748 section 6.1', () => {
      const alice = importPrivateKey(hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'));
      const bob = importPrivateKey(hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'));
      assert.deepEqual(
        [alice, bob].map(({ publicKey }) => publicKey.toString('hex')),
        [
          '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a',
          'de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f',
        ],
      );
      const shared = '4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742';
      assert.equal(sharedSecret(alice, bob.publicKey)?.toString('hex'), shared);
      assert.equal(sharedSecret(bob, alice.publicKey)?.toString('hex'), shared);
    });

    it('finds the public key that Node.js exports', () => {
      for (let i = 0; i < 20; i++) {
        const { d, x } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
        const { publicKey } = importPrivateKey(Buffer.from(d ?? '', 'base64url'));
        assert.equal(publicKey.toString('base64url'), x);
      }
    });

    it('leaves no key as it multiplied by it in memory', () => {
      const key = Buffer.alloc(32, 7);
      const clamped = Buffer.from(key);
      clamped[0] &= 248;
      clamped[31] = (clamped[31] & 127) | 64;
      const [without, made, agreed] = copiesInMemory(
        clamped,
        `const { importPrivateKey, sharedSecret } = await import(${JSON.stringify(import.meta.resolve('#dist/wireguard/crypto.js'))});
         // Far down the stack, where count() does not come.
         const deep = (act, depth = 1000) => (depth > 0 ? deep(act, depth - 1) : act());
         const key = deep(() => importPrivateKey(Buffer.alloc(32, 7)));
         count();
         deep(() => sharedSecret(key, Buffer.alloc(32, 9)));`,
      );
      assert.deepEqual([made, agreed], [without, without]);
    });

    it('has no secret with a point of low order', () => {
      const points = [
        '0000000000000000000000000000000000000000000000000000000000000000',
        '0100000000000000000000000000000000000000000000000000000000000000',
        'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
        '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
        'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
        'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
        'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      ];
      for (const point of points) assert.equal(multiply(randomBytes(32), hex(point)), undefined, point);
    });
  });

describe('X25519 and the OpenSSL of the process', () => {
  const program = `
    import { importPrivateKey, sharedSecret } from ${JSON.stringify(import.meta.resolve('#dist/wireguard/crypto.js'))};
    const [alice, bob] = [Buffer.alloc(32, 7), Buffer.alloc(32, 8)].map(importPrivateKey);
    const secrets = [sharedSecret(alice, bob.publicKey), sharedSecret(bob, alice.publicKey)];
    const low = sharedSecret(alice, Buffer.alloc(32));
    console.log(alice.publicKey.toString('hex'), ...secrets.map((secret) => secret.toString('hex')), low);
  `;
  const expected = () => {
    const [alice, bob] = [Buffer.alloc(32, 7), Buffer.alloc(32, 8)].map(importPrivateKey);
    const secret = sharedSecret(alice, bob.publicKey)?.toString('hex');
    return `${alice.publicKey.toString('hex')} ${secret} ${secret} undefined\n`;
  };
  const faults: [string, Record<string, string>][] = [
    ['lacks', { HIDE: 'ossl_x25519' }],
    ['has another function for', { FAKE: 'ossl_x25519' }],
    ['has another function than', { FAKE: 'ossl_x25519_public_from_private' }],
  ];
  for (const [fault, environment] of faults) {
    it(`goes through EVP if the process ${fault} OpenSSL's primitive`, function () {
      needs(this, 'cc');
      const output = runPreloaded('tunnel/hide-openssl', moduleArguments(program), environment);
      assert.equal(output, expected());
    });
  }
});

for (const source of SOURCES)
  describe(`ChaCha20-Poly1305 by ${source}`, () => {
    use(source);

    const nonce = hex('070000004041424344454647');
    const sealed = hex(`d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
    3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
    92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
    3ff4def08e4b7a9de576d26586cec64b6116 1ae10b594f09e26a7e902ecbd0600691`);

    it('seals and opens as RFC 8439 section 2.8.2 says', () => {
      assert.deepEqual(seal(KEY, nonce, SUNSCREEN, AAD), sealed);
      assert.deepEqual(open(KEY, nonce, sealed, AAD), SUNSCREEN);
    });

    it('opens nothing that was changed or is too short', () => {
      for (let i = 0; i < sealed.length; i++) {
        const changed = Buffer.from(sealed);
        changed[i] ^= 1;
        assert.equal(open(KEY, nonce, changed, AAD), undefined);
      }
      for (let length = 0; length < 20; length++) {
        assert.equal(open(KEY, nonce, sealed.subarray(0, length), AAD), undefined);
      }
    });
  });

describe('XChaCha20-Poly1305', () => {
  it('seals and opens as draft-irtf-cfrg-xchacha appendix A.3.1 says', () => {
    const nonce = hex('404142434445464748494a4b4c4d4e4f5051525354555657');
    const sealed = hex(`bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb
      731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452
      2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9
      21f9664c97637da9768812f615c68b13b52e c0875924c1c7987947deafd8780acf49`);
    assert.deepEqual(seal(KEY, nonce, SUNSCREEN, AAD), sealed);
    assert.deepEqual(open(KEY, nonce, sealed, AAD), SUNSCREEN);
    sealed[3] ^= 4;
    assert.equal(open(KEY, nonce, sealed, AAD), undefined);
  });
});

describe('memory for secrets', () => {
  it('is shared with nothing', () => {
    const secret = secretBuffer();
    assert.equal(secret.buffer.byteLength, 32);
    assert.ok(secret.every((byte) => byte === 0));
  });

  const key = randomBytes(32);
  key[0] &= 248;
  key[31] = (key[31] & 127) | 64;

  it('is all that is to be wiped, also once native code has had it', () => {
    const [without, held, wiped] = copiesInMemory(
      key,
      `const { secretBuffer } = await import(${JSON.stringify(import.meta.resolve('#dist/wireguard/crypto.js'))});
       const copy = secretBuffer();
       copy.set(secret);
       copy.buffer;
       count();
       copy.fill(0);`,
    );
    // What Bun reserves is too large to be searched.
    assert.deepEqual([held, wiped], [without + (process.versions.bun ? 0 : 1), without]);
  });

  it('holds no key of a tunnel that is closed', function () {
    needs(this, 'ip');
    const counts = copiesInMemory(
      key,
      `const { openWireGuard } = await import(${JSON.stringify(import.meta.resolve('tuntap-native/wireguard'))});
       const { NetworkNamespace } = await import(${JSON.stringify(import.meta.resolve('tuntap-native/net'))});
       const namespace = await NetworkNamespace.create();
       const given = Buffer.from(new ArrayBuffer(32));
       given.set(secret);
       const peers = [{ publicKey: Buffer.alloc(32, 9), presharedKey: given, allowedIps: ['10.0.0.0/8'] }];
       const wg = await openWireGuard('wg0', { privateKey: given, peers, namespace, socketNamespace: namespace, control: false });
       given.fill(0);
       await wg.close();
       await namespace.close();`,
    );
    assert.equal(counts[1], counts[0]);
  });
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PacketBatch } from 'tuntap-native';
import { Aead, type AeadCipher } from 'tuntap-native/tunnel';
import { hasAes, SOURCES, use } from './sources.ts';

const EBADMSG = -74;

interface Vector {
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
  readonly result: string;
  readonly tcId?: number;
}

// The header is the nonce's last eight bytes and the associated data.
function open(cipher: AeadCipher, vector: Vector): { status: number; plain: Buffer } {
  const { key, iv, aad, ct, tag } = vector;
  const [keyBytes, nonce, associated, ...sealed] = [key, iv, aad, ct, tag].map((hex) =>
    Buffer.from(hex, 'hex'),
  );
  using aead = new Aead(cipher, keyBytes, {
    headerLength: 8 + associated.length,
    counterOffset: 0,
    associatedDataOffset: 8,
    noncePrefix: nonce.subarray(0, 4),
  });
  const batch = new PacketBatch();
  batch.push(Buffer.concat([nonce.subarray(4), associated, ...sealed]));
  aead.openBatch(batch);
  return { status: batch.status(0), plain: Buffer.from(batch.at(0)) };
}

// RFC 8439, 2.8.2; and the examples of McGrew and Viega's "The Galois/Counter Mode of Operation" (test cases 2, 14,
// 4 and 16), which NIST takes over.
const SUNSCREEN =
  "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
const GCM_TEXT =
  'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39';
const GCM_AAD = 'feedfacedeadbeeffeedfacedeadbeefabaddad2';
const PUBLISHED: readonly (Vector & { readonly cipher: AeadCipher })[] = [
  {
    cipher: 'chacha20-poly1305',
    key: '808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f',
    iv: '070000004041424344454647',
    aad: '50515253c0c1c2c3c4c5c6c7',
    msg: Buffer.from(SUNSCREEN).toString('hex'),
    ct:
      'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b29' +
      '05d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b' +
      '6116',
    tag: '1ae10b594f09e26a7e902ecbd0600691',
    result: 'valid',
  },
  {
    cipher: 'aes-128-gcm',
    key: '00000000000000000000000000000000',
    iv: '000000000000000000000000',
    aad: '',
    msg: '00000000000000000000000000000000',
    ct: '0388dace60b6a392f328c2b971b2fe78',
    tag: 'ab6e47d42cec13bdf53a67b21257bddf',
    result: 'valid',
  },
  {
    cipher: 'aes-256-gcm',
    key: '0000000000000000000000000000000000000000000000000000000000000000',
    iv: '000000000000000000000000',
    aad: '',
    msg: '00000000000000000000000000000000',
    ct: 'cea7403d4d606b6e074ec5d3baf39d18',
    tag: 'd0d1c8a799996bf0265b98b5d48ab919',
    result: 'valid',
  },
  {
    cipher: 'aes-128-gcm',
    key: 'feffe9928665731c6d6a8f9467308308',
    iv: 'cafebabefacedbaddecaf888',
    aad: GCM_AAD,
    msg: GCM_TEXT,
    ct: '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091',
    tag: '5bc94fbc3221a5db94fae95ae7121a47',
    result: 'valid',
  },
  {
    cipher: 'aes-256-gcm',
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
    iv: 'cafebabefacedbaddecaf888',
    aad: GCM_AAD,
    msg: GCM_TEXT,
    ct: '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662',
    tag: '76fc6ece0f4e1768cddf8853bb2d551b',
    result: 'valid',
  },
];

const VECTORS = join(import.meta.dirname, '..', '..', '..', 'test', 'tunnel', 'vectors');
const WYCHEPROOF_FILES = ['chacha20_poly1305_test.json', 'aes_gcm_test.json'];

for (const source of SOURCES) {
  describe(`Aead: published vectors, by ${source}`, () => {
    use(source);
    const offered = ({ cipher }: { cipher: string }): boolean => hasAes(source) || !cipher.startsWith('aes');

    for (const { cipher, ...vector } of PUBLISHED.filter(offered)) {
      it(`opens ${cipher} under nonce ${vector.iv}, and not with a bit of the tag changed`, () => {
        assert.deepEqual(open(cipher, vector), { status: 0, plain: Buffer.from(vector.msg, 'hex') });
        const tag = Buffer.from(vector.tag, 'hex');
        tag[15] ^= 0x80;
        assert.deepEqual(open(cipher, { ...vector, tag: tag.toString('hex') }), {
          status: EBADMSG,
          plain: Buffer.alloc(0),
        });
      });
    }

    for (const { cipher, ...vector } of PUBLISHED.filter(offered).filter(({ iv }) => /^0+$/.test(iv))) {
      it(`seals ${cipher} under nonce ${vector.iv}`, () => {
        using aead = new Aead(cipher, Buffer.from(vector.key, 'hex'), { associatedDataLength: 0 });
        const batch = new PacketBatch({ headroom: 8, tailroom: 16 });
        batch.push(Buffer.from(vector.msg, 'hex'));
        assert.equal(aead.sealBatch(batch), 1);
        assert.equal(batch.at(0).toString('hex'), `0000000000000000${vector.ct}${vector.tag}`);
      });
    }

    for (const file of WYCHEPROOF_FILES.filter((name) => offered({ cipher: name }))) {
      it(`agrees with Wycheproof's ${file}`, () => {
        const vectors = JSON.parse(readFileSync(join(VECTORS, file), 'utf8')) as (Vector & {
          tcId: number;
        })[];
        assert.ok(vectors.length > 100);
        for (const vector of vectors) {
          const keySize = vector.key.length * 4;
          const cipher = file.startsWith('aes') ? (`aes-${keySize}-gcm` as AeadCipher) : 'chacha20-poly1305';
          const { status, plain } = open(cipher, vector);
          const valid = vector.result === 'valid';
          assert.equal(status, valid ? 0 : EBADMSG, `test ${vector.tcId}`);
          assert.equal(plain.toString('hex'), valid ? vector.msg : '', `test ${vector.tcId}`);
        }
      });
    }

    if (!hasAes(source)) {
      it('has no AES-GCM, which would be slow and leak its key', () => {
        for (const [cipher, length] of [
          ['aes-128-gcm', 16],
          ['aes-256-gcm', 32],
        ] as const) {
          assert.throws(() => new Aead(cipher, Buffer.alloc(length)), {
            code: 'ERR_TUNTAP_NO_OPENSSL',
            message: /no instructions for AES/,
          });
        }
      });
    }
  });
}

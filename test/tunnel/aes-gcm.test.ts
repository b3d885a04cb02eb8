import assert from 'node:assert/strict';
import { createCipheriv, randomBytes, randomInt } from 'node:crypto';
import { PacketBatch } from 'tuntap-native';
import { Aead } from 'tuntap-native/tunnel';
import { hasAes, SOURCES, use } from './sources.ts';

const COUNTER_LENGTH = 8;
const TAG_LENGTH = 16;
// Around blocks of 16 bytes, vectors of 64, and chunks of 128 and of 256.
const LONGEST_TEXT = 600;
const ASSOCIATED_LENGTHS = [0, 1, 8, 15, 16, 17, 63, 64, 65, 128, 240, 241, 255, 256, 257, 300, 512, 600];

function batchOf(packets: readonly Buffer[], headroom = 0): PacketBatch {
  const batch = new PacketBatch({ capacity: packets.length, size: 2 ** 20, headroom, tailroom: TAG_LENGTH });
  for (const packet of packets) assert.ok(batch.push(packet));
  return batch;
}

/** A copy with one bit of the bytes `from` to `to` changed. */
function changed(packet: Buffer, from: number, to: number): Buffer {
  const copy = Buffer.from(packet);
  copy[randomInt(from, to)] ^= 1 << randomInt(8);
  return copy;
}

for (const source of SOURCES.filter(hasAes)) {
  describe(`AES-GCM by ${source}`, () => {
    use(source);

    for (const [cipher, keyLength] of [
      ['aes-128-gcm', 16],
      ['aes-256-gcm', 32],
    ] as const) {
      it(`agrees with node:crypto at each length, and refuses whatever was changed: ${cipher}`, () => {
        const texts = Array.from({ length: LONGEST_TEXT + 1 }, (_, length) => randomBytes(length));
        for (const associated of ASSOCIATED_LENGTHS) {
          const key = randomBytes(keyLength);
          const noncePrefix = randomBytes(4);
          const headerLength = COUNTER_LENGTH + associated;
          const header = randomBytes(headerLength);
          using aead = new Aead(cipher, key, {
            headerLength,
            counterOffset: 0,
            associatedDataOffset: COUNTER_LENGTH,
            noncePrefix,
          });
          const batch = batchOf(texts, headerLength);
          assert.equal(aead.sealBatch(batch, header), texts.length);
          const packets = [...batch].map((packet) => Buffer.from(packet));
          texts.forEach((text, i) => {
            const nonce = Buffer.concat([noncePrefix, packets[i].subarray(0, COUNTER_LENGTH)]);
            const other = createCipheriv(cipher, key, nonce).setAAD(header.subarray(COUNTER_LENGTH));
            const sealed = Buffer.concat([other.update(text), other.final(), other.getAuthTag()]);
            const lengths = `${text.length} bytes, ${associated} associated`;
            assert.ok(packets[i].subarray(headerLength).equals(sealed), lengths);
          });
          assert.equal(aead.openBatch(batch), texts.length);
          for (const [i, text] of texts.entries())
            assert.ok(batch.at(i).equals(text), `${text.length} bytes`);

          for (const [part, from, to] of [
            ['counter', () => 0, () => COUNTER_LENGTH],
            ['associated data', () => COUNTER_LENGTH, () => headerLength],
            ['text', () => headerLength, ({ length }: Buffer) => length - TAG_LENGTH],
            ['tag', ({ length }: Buffer) => length - TAG_LENGTH, ({ length }: Buffer) => length],
          ] as const) {
            const forged = packets
              .filter((packet) => to(packet) > from(packet))
              .map((packet) => changed(packet, from(packet), to(packet)));
            if (forged.length > 0) assert.equal(aead.openBatch(batchOf(forged)), 0, part);
          }
        }
      });
    }
  });
}

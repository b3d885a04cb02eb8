/**
 * Compares the bundled ciphers with OpenSSL's, in turns: `node out/bench/cipher-sources.js`. It needs an addon that
 * `npm run prebuild` built, and none in build/, which is loaded first.
 *
 * Reported are medians of the turns' times a packet, and of the ratios of OpenSSL's time to the bundled cipher's.
 * Options: --turns=N (101).
 */

import { randomBytes } from 'node:crypto';
import { PacketBatch } from 'tuntap-native';
import { Aead, type AeadCipher } from 'tuntap-native/tunnel';
import { MACHINE } from './blocks.ts';
import { median, option } from './measure.ts';

const TURNS = Number(option('turns', '101'));
const KEY_LENGTH = { 'chacha20-poly1305': 32, 'aes-128-gcm': 16, 'aes-256-gcm': 32 } as const;
const PACKETS = 64;
const BATCHES = 8;

interface Times {
  readonly seal: number;
  readonly open: number;
}

function make(cipher: AeadCipher, source: Aead['source']): Aead {
  process.env.TUNTAP_CIPHERS = source;
  return new Aead(cipher, randomBytes(KEY_LENGTH[cipher]), { headerLength: 16 });
}

/** Nanoseconds a packet: the fastest of some batches, since whatever else runs only makes one slower. */
function time(aead: Aead, batch: PacketBatch): Times {
  let [seal, open] = [Infinity, Infinity];
  for (let i = 0; i < BATCHES; i++) {
    const began = performance.now();
    aead.sealBatch(batch);
    const sealed = performance.now();
    aead.openBatch(batch);
    seal = Math.min(seal, sealed - began);
    open = Math.min(open, performance.now() - sealed);
  }
  return { seal: (seal * 1e6) / PACKETS, open: (open * 1e6) / PACKETS };
}

console.log('| cipher | bytes | OpenSSL seals, ns | bundled seals, ns | seal, ratio | open, ratio |');
console.log('|---|---|---|---|---|---|');
for (const cipher of Object.keys(KEY_LENGTH) as AeadCipher[]) {
  for (const size of [1420, 512, 64]) {
    const batch = new PacketBatch({ headroom: 16, tailroom: 16 });
    for (let i = 0; i < PACKETS; i++) batch.push(randomBytes(size));
    using openssl = make(cipher, 'openssl');
    using bundled = make(cipher, 'bundled');
    const turns = Array.from({ length: TURNS }, () => [time(openssl, batch), time(bundled, batch)]);
    const of = (value: (turn: Times[]) => number): number => median(turns.map(value));
    const ns = [of(([one]) => one.seal), of(([, other]) => other.seal)].map((value) => value.toFixed(0));
    const ratios = [of(([one, other]) => one.seal / other.seal), of(([one, other]) => one.open / other.open)];
    console.log(`| ${[cipher, size, ...ns, ...ratios.map((value) => value.toFixed(2))].join(' | ')} |`);
  }
}
console.log(`\n${MACHINE}, OpenSSL ${process.versions.openssl}; medians of ${TURNS} turns.`);

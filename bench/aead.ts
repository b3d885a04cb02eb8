/**
 * Compares Aead with `openssl speed` and node:crypto on packets of 1,420 bytes: `node out/bench/aead.js`.
 *
 * Reported are medians of the rounds' ratios: this package's time a packet to that of the other in the same round.
 * `openssl speed -evp` encrypts one endless message; with `-aead` it makes nonce and tag for each packet, as Aead does.
 * Options: --rounds=N (5), --seconds=N (1), --write (puts the table into docs/tunnel.md).
 */

import { execFileSync } from 'node:child_process';
import { createCipheriv, randomBytes } from 'node:crypto';
import { PacketBatch } from 'tuntap-native';
import { Aead, type AeadCipher } from 'tuntap-native/tunnel';
import { MACHINE, publish, RATIOS, version } from './blocks.ts';
import { median, option } from './measure.ts';

const ROUNDS = Number(option('rounds', '5'));
const SECONDS = Number(option('seconds', '1'));
const SIZE = 1420;
const PACKETS = 64;
const KEY_LENGTH = { 'chacha20-poly1305': 32, 'aes-128-gcm': 16, 'aes-256-gcm': 32 } as const;

/** CPU time a packet, in nanoseconds. */
function time(run: () => number): number {
  for (let i = 0; i < 20; i++) run();
  const began = process.cpuUsage();
  const until = performance.now() + SECONDS * 1000;
  let packets = 0;
  while (performance.now() < until) packets += run();
  const { user, system } = process.cpuUsage(began);
  return ((user + system) * 1000) / packets;
}

function openssl(cipher: string, ...options: string[]): number {
  const args = [
    'speed',
    '-mr',
    '-seconds',
    String(SECONDS),
    '-bytes',
    String(SIZE),
    '-evp',
    cipher,
    ...options,
  ];
  const output = execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const bytesPerSecond = Number(output.match(/^\+F:.*:([\d.]+)$/m)?.[1]);
  return (SIZE / bytesPerSecond) * 1e9;
}

function measure(cipher: AeadCipher): Record<string, number> {
  const key = randomBytes(KEY_LENGTH[cipher]);
  const plain = randomBytes(SIZE);
  using aead = new Aead(cipher, key, { headerLength: 16 });
  const batch = new PacketBatch({ headroom: 16, tailroom: 16 });
  for (let i = 0; i < PACKETS; i++) batch.push(plain);
  const seal = time(() => {
    const sealed = aead.sealBatch(batch);
    for (let i = 0; i < PACKETS; i++) batch.resize(i, -16, -16);
    return sealed;
  });
  // What the line above costs beside sealing.
  const resize = time(() => {
    for (let i = 0; i < PACKETS; i++) batch.resize(i, 0, 0);
    return PACKETS;
  });
  const pair = time(() => {
    aead.sealBatch(batch);
    return aead.openBatch(batch);
  });
  const header = Buffer.alloc(16);
  const nonce = Buffer.alloc(12);
  const crypto = time(() => {
    const one = createCipheriv(cipher as 'aes-128-gcm', key, nonce, { authTagLength: 16 });
    one.setAAD(header);
    one.update(plain);
    one.final();
    one.getAuthTag();
    return 1;
  });
  return {
    seal: seal - resize,
    open: pair - (seal - resize),
    crypto,
    speed: openssl(cipher),
    'speed -aead': openssl(cipher, '-aead'),
  };
}

const lines = [
  '| cipher | seal, ns | open, ns | seal to `openssl speed -evp` | to `-evp -aead` | to node:crypto |',
  '|---|---|---|---|---|---|',
];
for (const cipher of Object.keys(KEY_LENGTH) as AeadCipher[]) {
  const rounds = Array.from({ length: ROUNDS }, () => measure(cipher));
  const of = (name: string) => median(rounds.map((round) => round[name])).toFixed(0);
  const ratio = (name: string) => median(rounds.map((round) => round.seal / round[name])).toFixed(2);
  lines.push(
    `| ${cipher} | ${of('seal')} | ${of('open')} | ${ratio('speed')} | ${ratio('speed -aead')} | ${ratio('crypto')} |`,
  );
}
const opponent = `OpenSSL ${version('openssl', 'version')}`;
publish(
  'aead',
  [...lines, '', `${MACHINE}; ${opponent}; medians of ${ROUNDS} rounds. ${RATIOS}`].join('\n'),
  'docs/tunnel.md',
);

/** tcpdump as an independent reader of packets and captures. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type PcapngInterface, PcapngWriter } from 'tuntap-native/packet';

export const hasTcpdump = spawnSync('tcpdump', ['--version']).error === undefined;

/** What `tcpdump -nn -r` prints for a capture. */
export function readCapture(capture: Buffer, ...options: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-native-'));
  try {
    const file = join(folder, 'capture.pcapng');
    writeFileSync(file, capture);
    return execFileSync('tcpdump', ['-nn', ...options, '-r', file], {
      encoding: 'utf8',
      env: { ...process.env, TZ: 'UTC' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** What tcpdump prints for one packet, with all checksums verified. */
export function dissect(bytes: Uint8Array, linkType: PcapngInterface['linkType']): string {
  const blocks: Buffer[] = [];
  const writer = new PcapngWriter((block) => blocks.push(block), { linkType, name: 'test0' });
  writer.packet(bytes);
  return readCapture(Buffer.concat(blocks), '-vv', '-t', ...(linkType === 'ethernet' ? ['-e'] : []));
}

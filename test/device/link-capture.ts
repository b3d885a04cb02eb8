/** Captures of what passes a link, by tcpdump, and what it finds in them. */

import { once } from 'node:events';
import type { NetworkNamespace } from 'tuntap-native';
import { listening, shell } from './traffic.ts';

/** What tcpdump -vv says of the checksums that a capture shows. */
export interface Checksums {
  /** Packets of TCP or UDP that are whole, not fragments. */
  readonly packets: number;
  /** Those whose checksum tcpdump found right. */
  readonly valid: number;
  /** Lines that tell of a wrong checksum, of IP, TCP or UDP. */
  readonly invalid: readonly string[];
  /** Packets that tcpdump did not get to see. */
  readonly missed: number;
}

/** Captures what passes a link, both ways, until `stop`, which tells how many packets tcpdump did not get to see. */
export async function record(
  namespace: NetworkNamespace,
  link: string,
  filter: string,
  file: string,
): Promise<{ stop(): Promise<number> } & AsyncDisposable> {
  const child = namespace.spawn('tcpdump', ['-i', link, '-s0', '-B65536', '-w', file, filter], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const closed = once(child, 'close');
  const messages = await listening(child);
  return {
    async stop() {
      child.kill('SIGINT');
      await closed;
      return Number(messages().match(/(\d+) packets dropped by kernel/)?.[1]);
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** Captures what passes a namespace's veth0, both ways, until `stop` reads it. */
export async function capture(
  namespace: NetworkNamespace,
  file: string,
): Promise<{ stop(): Promise<Checksums> } & AsyncDisposable> {
  const recording = await record(namespace, 'veth0', 'tcp or udp', file);
  return {
    ...recording,
    async stop() {
      const missed = await recording.stop();
      return { ...(await checksums(namespace, file)), missed };
    },
  };
}

/** How many packets of a capture pass a filter. */
export async function countPackets(
  namespace: NetworkNamespace,
  file: string,
  filter: string,
): Promise<number> {
  const counted = await shell(namespace, `tcpdump -nn -r ${file} --count '${filter}' 2>/dev/null`);
  return Number(counted.match(/^(\d+) packet/)?.[1]);
}

async function checksums(namespace: NetworkNamespace, file: string): Promise<Omit<Checksums, 'missed'>> {
  const whole = '(tcp or udp) and (ip[6:2] & 0x3fff = 0 or (ip6 and ip6[6] != 44))';
  const packets = await countPackets(namespace, file, whole);
  const child = namespace.spawn('tcpdump', ['-nn', '-vv', '-r', file, whole], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let valid = 0;
  const invalid: string[] = [];
  let rest = '';
  child.stdout?.setEncoding('latin1');
  for await (const text of child.stdout ?? []) {
    const lines = `${rest}${text}`.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (/\(correct\)|udp sum ok/.test(line)) valid++;
      if (/incorrect|bad (udp )?cksum/.test(line)) invalid.push(line);
    }
  }
  return { packets, valid, invalid };
}

/** other-program.c, which uses TUN devices without this package. */

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { NetworkNamespace } from 'tuntap-native';

let built: string | undefined;

/** The program's path. It is compiled once. */
export function otherProgram(): string {
  if (built === undefined) {
    const folder = mkdtempSync(join(tmpdir(), 'tuntap-test-'));
    process.once('exit', () => rmSync(folder, { recursive: true }));
    built = join(folder, 'other-program');
    const source = join(import.meta.dirname, '..', '..', '..', 'test', 'device', 'other-program.c');
    execFileSync('cc', ['-o', built, source]);
  }
  return built;
}

/** A packet that the program read, and what its virtio_net_hdr said; without a header 0. */
export interface OtherPacket {
  readonly flags: number;
  readonly gsoType: number;
  readonly bytes: Buffer;
}

/** The program, reading a device. */
export interface OtherReader extends AsyncDisposable {
  readonly packets: readonly OtherPacket[];
  /** What it prints. */
  readonly lines: Interface;
  /** Resolves once it has read so many packets. */
  count(packets: number): Promise<void>;
  /** The size of its virtio_net_hdr, as the kernel has it now. */
  headerSize(): Promise<number>;
}

/** Starts the program with these arguments; resolves when it has the device. */
export async function readWithOther(namespace: NetworkNamespace, ...args: string[]): Promise<OtherReader> {
  const child = namespace.spawn(otherProgram(), args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error('no pipes');
  const exited = once(child, 'exit');
  const lines = createInterface({ input: stdout });
  const packets: OtherPacket[] = [];
  const said: Record<string, string | undefined> = {};
  lines.on('line', (line) => {
    const [what, flags, gsoType, bytes] = line.split(' ');
    said[what] = flags ?? '';
    if (what !== 'packet') return;
    packets.push({ flags: Number(flags), gsoType: Number(gsoType), bytes: Buffer.from(bytes, 'hex') });
  });
  const until = async (condition: () => boolean): Promise<void> => {
    const ended = exited.then(() => 'ended');
    while (!condition()) {
      if ((await Promise.race([once(lines, 'line'), ended])) === 'ended') throw new Error(`${args} exited`);
    }
  };
  await until(() => said.ready !== undefined);
  return {
    packets,
    lines,
    count: (wanted) => until(() => packets.length >= wanted),
    headerSize: async () => {
      said.header = undefined;
      stdin.write('?');
      await until(() => said.header !== undefined);
      return Number(said.header);
    },
    [Symbol.asyncDispose]: async () => {
      stdin.end();
      await exited;
    },
  };
}

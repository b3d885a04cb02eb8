/** Counts the copies of a secret in the memory of a process. */

import { execFileSync } from 'node:child_process';
import { moduleArguments } from '../support.ts';

/** How often a process's memory holds a secret: before a program, at each `count()` in it, and at its end. */
export function copiesInMemory(secret: Uint8Array, program: string): number[] {
  const whole = `
    import { readFileSync, openSync, readSync } from 'node:fs';
    import { PacketBatch } from ${JSON.stringify(import.meta.resolve('tuntap-native'))};
    import { Aead } from ${JSON.stringify(import.meta.resolve('tuntap-native/tunnel'))};
    // V8 keeps small typed arrays in its own heap, and copies them out when native code asks for them.
    const secret = Buffer.from(new ArrayBuffer(${secret.length}));
    ${JSON.stringify([...secret])}.forEach((byte, i) => { secret[i] = byte; });
    const counts = [];
    const count = () => {
      const memory = openSync('/proc/self/mem');
      let found = 0;
      for (const line of readFileSync('/proc/self/maps', 'utf8').split('\\n')) {
        const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw.*(?:\\[heap\\]|00:00 0)/.exec(line) ?? [];
        const size = parseInt(to, 16) - parseInt(from, 16);
        if (!(size > 0 && size < 2 ** 28)) continue;
        const bytes = Buffer.alloc(size);
        try { readSync(memory, bytes, 0, size, parseInt(from, 16)); } catch { continue; }
        for (let at = bytes.indexOf(secret); at >= 0; at = bytes.indexOf(secret, at + 1)) found++;
        bytes.fill(0);
      }
      counts.push(found);
    };
    count();
    ${program}
    count();
    console.log(JSON.stringify(counts));`;
  const output = execFileSync(process.execPath, moduleArguments(whole), { encoding: 'utf8' });
  return JSON.parse(output) as number[];
}

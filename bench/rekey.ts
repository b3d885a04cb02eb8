/**
 * Keys that are renewed under load, in real time, with wireguard-go at the other end: `node out/bench/rekey.js`.
 *
 * Two tunnels at once: this package begins the one, wireguard-go the other. TCP runs through both for longer than the 120
 * seconds after which keys are replaced. Ends with status 1 if a tunnel had no second handshake, or a second without data.
 * Options: --seconds=N (150).
 */

import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createVethPair, NetworkNamespace } from 'tuntap-native/net';
import { formatConfig, generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { configure, wireGuardGo } from '../examples/demo/wireguard-go.ts';
import { option, run } from './measure.ts';

const SECONDS = Number(option('seconds', '150'));
const TUNNEL = fileURLToPath(new URL('../examples/demo/tunnel.js', import.meta.url));
const PORT = 51820;
const began = performance.now();

interface Report {
  readonly intervals: readonly { readonly sum: { readonly bytes: number } }[];
  readonly end: { readonly sum_received: { readonly bits_per_second: number } };
}

/** @param first the program that begins, and whose side sends */
async function renew(first: 'tuntap-native' | 'wireguard-go'): Promise<boolean> {
  await using ours = await NetworkNamespace.create();
  await using theirs = await NetworkNamespace.create();
  const folder = mkdtempSync(join(tmpdir(), 'tuntap-rekey-'));
  const children: ChildProcess[] = [];
  try {
    await createVethPair(
      { name: 'eth0', namespace: ours, addresses: ['192.0.2.1/24'], up: true },
      { name: 'eth0', namespace: theirs, addresses: ['192.0.2.2/24'], up: true },
    );
    const keys = [generatePrivateKey(), generatePrivateKey()];
    // Only who begins knows where the other one is.
    const side = (own: number, other: number, begins: boolean) => ({
      privateKey: keys[own - 1],
      listenPort: PORT,
      addresses: [`10.9.0.${own}/24`],
      peers: [
        {
          publicKey: publicKey(keys[other - 1]),
          allowedIps: [`10.9.0.${other}/32`],
          endpoint: begins ? `192.0.2.${other}:${PORT}` : undefined,
        },
      ],
    });
    const name = `wgr${process.pid % 1e5}${first[0]}`;
    const [command, ...args] = wireGuardGo(name);
    children.push(theirs.spawn(command, args, { stdio: 'ignore' }));
    await configure(theirs, name, 1420, side(2, 1, first === 'wireguard-go'));
    const file = join(folder, 'wg0.conf');
    writeFileSync(file, formatConfig({ ...side(1, 2, first === 'tuntap-native'), mtu: 1420 }), {
      mode: 0o600,
    });
    const tunnel = ours.spawn(process.execPath, [TUNNEL, file], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(tunnel);
    const handshakes: number[] = [];
    const listening = new Promise((resolve) => tunnel.stdout?.once('data', resolve));
    createInterface({ input: tunnel.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (line.startsWith('handshake')) handshakes.push((performance.now() - began) / 1000);
    });
    await listening;
    const [sender, receiver, to] =
      first === 'tuntap-native' ? [ours, theirs, '10.9.0.2'] : [theirs, ours, '10.9.0.1'];
    const server = receiver.spawn('iperf3', ['-s', '--forceflush'], { stdio: ['ignore', 'pipe', 'ignore'] });
    children.push(server);
    await new Promise((resolve) => server.stdout?.once('data', resolve));
    server.stdout?.resume();
    const report = JSON.parse(await run(sender, 'iperf3', '-J', '-c', to, '-t', `${SECONDS}`)) as Report;
    const least = Math.min(...report.intervals.map(({ sum }) => (8 * sum.bytes) / 1e6));
    const mean = report.end.sum_received.bits_per_second / 1e6;
    const times = handshakes.map((time) => time.toFixed(1)).join(', ');
    const holds = least > 0 && (handshakes.length >= 2 || SECONDS <= 120);
    console.log(
      `${holds ? 'ok    ' : 'FAILED'} ${first} begins: handshakes at ${times} s; ` +
        `${mean.toFixed(0)} Mbit/s, in the slowest second ${least.toFixed(0)}`,
    );
    return holds;
  } finally {
    await Promise.all(
      children.map((child) => {
        const closed = new Promise((resolve) => child.once('close', resolve));
        return child.kill() ? closed : undefined;
      }),
    );
    rmSync(folder, { recursive: true });
  }
}

const results = await Promise.all([renew('tuntap-native'), renew('wireguard-go')]);
if (results.includes(false)) process.exitCode = 1;

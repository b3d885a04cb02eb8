/**
 * A device of the core on a real network, and Debian's wireguard-go as its peer: two namespaces, a veth pair between
 * them, a UDP socket on one side and the program on the other one.
 */

import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PacketBatch } from 'tuntap-native';
import { NetworkNamespace } from 'tuntap-native/net';
import { formatIp, parseIp } from 'tuntap-native/packet';
import { Endpoint, openUdp, type UdpBatchSocket } from 'tuntap-native/tunnel';
import type { Source } from '#dist/wireguard/cookie.js';
import { formatKey } from '#dist/wireguard/keys.js';
import { run } from '../support.ts';
import { until } from './oracle.ts';
import type { Medium, TestDevice } from './simulation.ts';

/** The addresses outside of the tunnel: ours and theirs. */
export const OUTSIDE = { 4: ['192.0.2.1', '192.0.2.2'], 6: ['2001:db8::1', '2001:db8::2'] } as const;
export const PORT = 51820;

export function endpointOf({ address, port }: Source): Endpoint {
  return new Endpoint(formatIp(address), port);
}

/** Real time and a UDP socket. */
export class LiveMedium implements Medium, AsyncDisposable {
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #namespace: NetworkNamespace;
  #socket: UdpBatchSocket | undefined;
  device: TestDevice | undefined;

  constructor(namespace: NetworkNamespace) {
    this.#namespace = namespace;
  }

  get now(): number {
    return performance.now();
  }

  at(time: number, run: () => void): void {
    if (!Number.isFinite(time)) return;
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        run();
      },
      Math.max(0, Math.ceil(time - this.now)),
    );
    this.#timers.add(timer);
  }

  /** Opens a socket in place of the one before. @param port 0: the kernel's choice */
  async listen(port: number): Promise<void> {
    await this.#socket?.close();
    const socket = openUdp({ namespace: this.#namespace, port, receiveBuffer: 1 << 20 });
    this.#socket = socket;
    void this.#receive(socket);
  }

  transmit(datagram: Buffer, _from: TestDevice, to: Source): void {
    this.#socket?.send(datagram, endpointOf(to));
  }

  sendBatch(datagrams: PacketBatch, remote: Endpoint): void {
    this.#socket?.writeBatch(datagrams, remote);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await this.#socket?.close();
  }

  async #receive(socket: UdpBatchSocket): Promise<void> {
    for await (const batch of socket.batches()) {
      for (let i = 0; i < batch.length; i++) {
        const remote = socket.received.remote(i);
        if (!remote) continue;
        const source = { address: parseIp(remote.address), port: remote.port };
        this.device?.receive(Buffer.from(batch.at(i)), source);
      }
    }
  }
}

let programs = 0;

/** wireguard-go, running in a namespace. */
export class WireGuardGo implements AsyncDisposable {
  readonly name = `wgo${process.pid % 100_000}x${programs++}`;
  readonly #namespace: NetworkNamespace;
  readonly #process: ChildProcess;

  private constructor(namespace: NetworkNamespace) {
    this.#namespace = namespace;
    this.#process = namespace.spawn('wireguard-go', ['-f', this.name], {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, LOG_LEVEL: 'error', WG_PROCESS_FOREGROUND: '1' },
    });
  }

  static async start(namespace: NetworkNamespace, tries = 3): Promise<WireGuardGo> {
    const program = new WireGuardGo(namespace);
    const ended = (): boolean => program.#process.exitCode !== null;
    const answers = async () => (await run(namespace, 'wg', 'show', program.name)).status === 0;
    await until(async () => ended() || (await answers()), 'wireguard-go');
    if (!ended()) return program;
    // wg(8) removes sockets that nobody listens at: in another test, one that wireguard-go has just made.
    if (tries > 1) return WireGuardGo.start(namespace, tries - 1);
    throw new Error(`wireguard-go ended: ${program.#process.exitCode}`);
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  /** Runs `wg set`. A Buffer is a secret key, which wg(8) reads from a file. */
  async set(...args: (string | Buffer)[]): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'tuntap-test-'));
    try {
      const texts = args.map((argument, i) => {
        if (typeof argument === 'string') return argument;
        const file = join(folder, `${i}`);
        writeFileSync(file, `${formatKey(argument)}\n`);
        return file;
      });
      const { status, stderr } = await run(this.#namespace, 'wg', 'set', this.name, ...texts);
      if (status !== 0) throw new Error(stderr);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  /** What `wg show NAME WHAT` tells of its only peer. */
  async show(what: string): Promise<string> {
    const { stdout } = await run(this.#namespace, 'wg', 'show', this.name, what);
    return stdout.trim().split('\t').slice(1).join('\t');
  }

  /** CPU time so far in milliseconds, of all its threads. */
  cpuTime(): number {
    const fields = execFileSync('cat', [`/proc/${this.pid}/stat`], { encoding: 'utf8' })
      .split(') ')[1]
      .split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#process, 'close');
    this.#process.kill();
    await closed;
  }
}

export interface Surroundings {
  readonly ours: NetworkNamespace;
  readonly theirs: NetworkNamespace;
}

/** Runs a test's body with two namespaces that reach each other. */
export async function withNamespaces(body: (surroundings: Surroundings) => Promise<void>): Promise<void> {
  await using ours = await NetworkNamespace.create();
  await using theirs = await NetworkNamespace.create();
  const link = await ours.addLink({ kind: 'veth', name: 'veth1', peer: { name: 'veth2' } });
  const other = await ours.link('veth2');
  await other.moveTo(theirs);
  for (const family of [4, 6] as const) {
    const length = family === 4 ? 24 : 64;
    await link.addAddress(`${OUTSIDE[family][0]}/${length}`, { noDad: family === 6 });
    await other.addAddress(`${OUTSIDE[family][1]}/${length}`, { noDad: family === 6 });
  }
  await link.set({ up: true });
  await other.set({ up: true });
  await body({ ours, theirs });
}

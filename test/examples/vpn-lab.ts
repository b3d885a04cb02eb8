/** A server and clients of the example VPN, each in a namespace, on one wire. */

import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { createBridge, createVethPair, NetworkNamespace } from 'tuntap-native/net';

const MAIN = fileURLToPath(new URL('../../examples/vpn/main.js', import.meta.url));
const WAIT_MS = 10_000;

export const SERVER = '192.0.2.1';
export const PORT = 51820;
/** Addresses of client `i`, from 0 on. */
export const wireAddress = (i: number): string => `192.0.2.${i + 2}`;
export const tunnelAddress = (i: number): string => `10.9.0.${i + 2}`;
export const SERVER_TUNNEL = '10.9.0.1';

/** A running program, and the lines that it printed. */
export class Program {
  readonly child: ChildProcess;
  readonly lines: string[] = [];
  readonly #closed: Promise<unknown>;
  readonly #waiting = new Set<() => void>();

  constructor(child: ChildProcess) {
    this.child = child;
    this.#closed = once(child, 'close');
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream as NodeJS.ReadableStream }).on('line', (line) => {
        this.lines.push(line);
        for (const look of this.#waiting) look();
      });
    }
  }

  /** The first line that matches, from line `from` on; rejects where the program ends, or it takes too long. */
  async line(pattern: RegExp, from = 0): Promise<string> {
    const find = () => this.lines.slice(from).find((line) => pattern.test(line));
    let look = (): void => {};
    const printed = new Promise<string>((resolve) => {
      look = () => {
        const found = find();
        if (found !== undefined) resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
    let timer: NodeJS.Timeout | undefined;
    const missing = (why: string) =>
      new Error(`${why} without a line like ${pattern}; the last ones:\n${this.lines.slice(-10).join('\n')}`);
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(missing(`${WAIT_MS} ms`)), WAIT_MS);
    });
    const ended = this.#closed.then(() => {
      const found = find();
      if (found === undefined) throw missing('The program ended');
      return found;
    });
    try {
      return await Promise.race([printed, ended, late]);
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(look);
    }
  }

  /** Its exit status once it has ended, or the signal that ended it. */
  async status(): Promise<number | string | null> {
    await this.#closed;
    return this.child.exitCode ?? this.child.signalCode;
  }

  /** Ends it; returns its {@link status}. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string | null> {
    this.child.kill(signal);
    return this.status();
  }
}

export class VpnLab implements AsyncDisposable {
  readonly server: NetworkNamespace;
  readonly clients: readonly NetworkNamespace[];
  readonly wire: NetworkNamespace;
  readonly keys: readonly Buffer[];
  readonly #folder = mkdtempSync(join(tmpdir(), 'tuntap-vpn-'));
  readonly #programs = new Set<Program>();

  private constructor(
    server: NetworkNamespace,
    clients: readonly NetworkNamespace[],
    wire: NetworkNamespace,
  ) {
    this.server = server;
    this.clients = clients;
    this.wire = wire;
    this.keys = clients.map(() => randomBytes(32));
    this.writeKeys(this.keys);
  }

  static async create(clients = 1): Promise<VpnLab> {
    const hosts: NetworkNamespace[] = [];
    for (let i = 0; i < clients + 2; i++) hosts.push(await NetworkNamespace.create());
    const [wire, server, ...rest] = hosts;
    const ports = [];
    for (const [i, namespace] of [server, ...rest].entries()) {
      const end = { name: 'eth0', namespace, addresses: [`192.0.2.${i + 1}/24`], up: true };
      const [, port] = await createVethPair(end, { name: `port${i}`, namespace: wire, up: true });
      ports.push(port);
    }
    await createBridge({ name: 'br0', namespace: wire, ports, stp: false, up: true });
    return new VpnLab(server, rest, wire);
  }

  /** Puts a file into the folder of the configurations. */
  write(name: string, text: string, mode = 0o600): string {
    const path = join(this.#folder, name);
    writeFileSync(path, text, { mode });
    return path;
  }

  writeKeys(keys: readonly Buffer[]): void {
    this.write('keys', keys.map((key, i) => `client${i} ${key.toString('base64')}\n`).join(''));
  }

  startServer(changes: object = {}): Program {
    const clients = this.clients.map((_, i) => [`client${i}`, { allowed: [`${tunnelAddress(i)}/32`] }]);
    return this.#start(this.server, 'server', 'server.json', {
      addresses: [`${SERVER_TUNNEL}/24`],
      clients: Object.fromEntries(clients),
      ...changes,
    });
  }

  startClient(i = 0, changes: object = {}): Program {
    return this.#start(this.clients[i], 'client', `client${i}.json`, {
      addresses: [`${tunnelAddress(i)}/24`],
      name: `client${i}`,
      server: `${SERVER}:${PORT}`,
      allowed: ['10.9.0.0/24'],
      ...changes,
    });
  }

  /** Starts a server and the clients; resolves once all have a session. */
  async start(
    changes: object = {},
  ): Promise<{ readonly server: Program; readonly clients: readonly Program[] }> {
    const server = this.startServer(changes);
    await server.line(/is up/);
    const clients = this.clients.map((_, i) => this.startClient(i, changes));
    await Promise.all(clients.map((client) => client.line(/^session with the server/)));
    await Promise.all(clients.map((_, i) => server.line(new RegExp(`^session with client${i} `))));
    return { server, clients };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#programs].map((program) => program.stop('SIGKILL')));
    rmSync(this.#folder, { recursive: true });
    for (const namespace of [this.wire, this.server, ...this.clients]) await namespace.close();
  }

  #start(namespace: NetworkNamespace, role: string, file: string, config: object): Program {
    const common = { interface: 'vpn0', keys: 'keys', keepaliveSeconds: 0.3, statisticsSeconds: 0.2 };
    const path = this.write(file, JSON.stringify({ ...common, ...config }));
    const program = new Program(namespace.spawn(process.execPath, [MAIN, role, path]));
    this.#programs.add(program);
    return program;
  }
}

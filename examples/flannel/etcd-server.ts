/** An etcd of one member inside a namespace, for the demo, the tests and the benchmarks. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { NetworkNamespace } from 'tuntap-native/net';

const SHELL = fileURLToPath(new URL('./etcd-shell.js', import.meta.url));
const PORT = 2379;
const PEER = 'http://127.0.0.1:2380';

/** Files for TLS on all addresses but the loopback's. */
export interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface Answer {
  readonly header: { readonly revision: string };
  readonly ID: string;
  readonly kvs?: readonly { readonly key: string; readonly value: string; readonly mod_revision: string }[];
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const range = (prefix: string) => ({ key: base64(prefix), range_end: base64(`${prefix}\u{7f}`) });

export class EtcdServer {
  readonly #namespace: NetworkNamespace;
  readonly #address: string;
  readonly #certificates: Certificates | undefined;
  readonly #folder = mkdtempSync(join(tmpdir(), 'flannel-etcd-'));
  #server: ChildProcess | undefined;
  #shell: ChildProcess | undefined;
  #answers: AsyncIterator<string> | undefined;

  private constructor(namespace: NetworkNamespace, address: string, certificates?: Certificates) {
    this.#namespace = namespace;
    this.#address = address;
    this.#certificates = certificates;
  }

  /** @param address the namespace's, for the other hosts */
  static async start(
    namespace: NetworkNamespace,
    address: string,
    certificates?: Certificates,
  ): Promise<EtcdServer> {
    const etcd = new EtcdServer(namespace, address, certificates);
    await etcd.start();
    return etcd;
  }

  /** For the other hosts. */
  get url(): string {
    return `${this.#certificates ? 'https' : 'http'}://${this.#address}:${PORT}`;
  }

  /** Starts it, again if it was stopped; resolves once it answers. */
  async start(): Promise<void> {
    const local = `http://127.0.0.1:${PORT}`;
    const { ca = '', cert = '', key = '' } = this.#certificates ?? {};
    const tls = ['--client-cert-auth', '--trusted-ca-file', ca, '--cert-file', cert, '--key-file', key];
    const args = [
      ...['--data-dir', join(this.#folder, 'data'), '--logger', 'zap', '--log-level', 'fatal'],
      ...['--listen-client-urls', `${local},${this.url}`, '--advertise-client-urls', this.url],
      ...['--listen-peer-urls', PEER, '--initial-advertise-peer-urls', PEER],
      ...['--initial-cluster', `default=${PEER}`, '--unsafe-no-fsync'],
      ...(this.#certificates ? tls : []),
    ];
    this.#server = spawnBound(this.#namespace, 'etcd', args, 'ignore', 'pipe');
    let messages = '';
    this.#server.stderr?.on('data', (data) => {
      messages += data;
    });
    this.#shell = spawnBound(this.#namespace, process.execPath, [SHELL, local], 'pipe');
    this.#answers = createInterface({ input: this.#shell.stdout as NodeJS.ReadableStream })[
      Symbol.asyncIterator
    ]();
    for (let tries = 0; ; tries++) {
      try {
        await this.request('kv/range', { key: base64('/') });
        return;
      } catch (error) {
        if (tries === 100 || this.#server.exitCode !== null) throw new Error(`${error}: ${messages}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Forgets all that it stored; it must be stopped. */
  forget(): void {
    rmSync(join(this.#folder, 'data'), { recursive: true });
  }

  /** Ends its process; what it stores stays. */
  async stop(): Promise<void> {
    for (const child of [this.#shell, this.#server]) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const closed = once(child, 'close');
      child.kill();
      await closed;
    }
  }

  async close(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true });
  }

  /** Calls a method of the gateway; one call at a time. */
  async request(method: string, body: object): Promise<Answer> {
    this.#shell?.stdin?.write(`${JSON.stringify([method, body])}\n`);
    const { value = '{"error":"the shell has ended"}' } = (await this.#answers?.next()) ?? {};
    const { result, error } = JSON.parse(value) as { result: Answer; error?: string };
    if (error !== undefined) throw new Error(error);
    return result;
  }

  async put(key: string, value: string | object, lease = '0'): Promise<Answer> {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    return this.request('kv/put', { key: base64(key), value: base64(text), lease });
  }

  async deleteAll(prefix: string): Promise<void> {
    await this.request('kv/deleterange', range(prefix));
  }

  /** The revision of a key's last change; undefined if there is no such key. */
  async revision(key: string): Promise<string | undefined> {
    const { kvs = [] } = await this.request('kv/range', { key: base64(key) });
    return kvs[0]?.mod_revision;
  }

  /** The values of the keys that begin with `prefix`. */
  async list(prefix: string): Promise<ReadonlyMap<string, string>> {
    const { kvs = [] } = await this.request('kv/range', range(prefix));
    const text = (value = '') => Buffer.from(value, 'base64').toString();
    return new Map(kvs.map(({ key, value }) => [text(key), text(value)]));
  }
}

/** Starts a program inside a namespace that ends with this process, however this one ends. */
export function spawnBound(
  namespace: NetworkNamespace,
  program: string,
  args: readonly string[],
  stdout: 'ignore' | 'pipe',
  stderr: 'inherit' | 'pipe' = 'inherit',
): ChildProcess {
  const stdio: ('ignore' | 'pipe' | 'inherit')[] = ['pipe', stdout, stderr];
  const child = namespace.spawn('setpriv', ['--pdeathsig', 'TERM', program, ...args], { stdio });
  child.on('error', console.error);
  // One that has ended reads no more; its answer, which does not come, says so.
  child.stdin?.on('error', () => {});
  return child;
}

/** A daemon on each host, and containers where the daemons say. */

import type { ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type EtcdServer, spawnBound } from './etcd-server.ts';
import { type Container, type Host, startContainers, stopContainers } from './lab.ts';
import { readSubnetFile } from './subnet-file.ts';

export const PREFIX = '/coreos.com/network';
const DAEMON = fileURLToPath(new URL('./daemon.js', import.meta.url));

/** The daemon of one host. */
export class Daemon {
  readonly host: Host;
  /** Its folder, with subnet.env. */
  readonly run: string;
  /** Resolves once containers can start; rejects if the daemon ends before. */
  readonly ready: Promise<void>;
  /** Resolves to the exit status. */
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  #log = '';

  constructor(host: Host, run: string, args: readonly string[]) {
    this.host = host;
    this.run = run;
    this.#child = spawnBound(
      host.namespace,
      process.execPath,
      [DAEMON, '--run', run, ...args],
      'pipe',
      'pipe',
    );
    this.#child.stderr?.on('data', (data) => {
      this.#log += data;
    });
    this.ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.ready = new Promise((resolve, reject) => {
      this.#child.stdout?.once('data', () => resolve());
      this.ended.then(() => reject(new Error(`The daemon of ${host.name} ended: ${this.#log}`)));
    });
    this.ready.catch(() => {});
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** What it has said. */
  get log(): string {
    return this.#log;
  }

  /** Resolves once it has said something that fits, after the first `from` characters. */
  async said(pattern: RegExp, from = 0): Promise<string> {
    while (!pattern.test(this.#log.slice(from))) {
      const more = new Promise((resolve) => this.#child.stderr?.once('data', resolve));
      const ended = this.ended.then(() => {
        if (!pattern.test(this.#log.slice(from)))
          throw new Error(`The daemon ended without it: ${this.#log}`);
      });
      await Promise.race([more, ended]);
    }
    return this.#log.slice(from);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const { pid, exitCode, signalCode } = this.#child;
    // Not child.kill(): Deno would tell of the signal in place of the exit status.
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(pid, signal);
    return this.ended;
  }

  /** Its subnet.env. */
  async subnetEnv(): Promise<{ readonly gateway: string; readonly mtu: number }> {
    const { FLANNEL_SUBNET: gateway, FLANNEL_MTU: mtu } = await readSubnetFile(join(this.run, 'subnet.env'));
    return { gateway, mtu: Number(mtu) };
  }
}

/** Daemons and containers on some hosts, with one etcd. */
export class Cluster {
  readonly #hosts: readonly Host[];
  readonly #etcd: EtcdServer;
  readonly #folder = mkdtempSync(join(tmpdir(), 'flannel-run-'));
  #containers: readonly (readonly Container[])[] = [];
  daemons: Daemon[] = [];

  constructor(hosts: readonly Host[], etcd: EtcdServer) {
    this.#hosts = hosts;
    this.#etcd = etcd;
  }

  /** The containers of each host. */
  get containers(): readonly (readonly Container[])[] {
    return this.#containers;
  }

  /** The folder of a host's daemon. */
  run(host: Host): string {
    return join(this.#folder, host.name);
  }

  /** Makes a host ask for the subnet of this gateway, as if it had it before. */
  prefer(host: Host, gateway: string): void {
    mkdirSync(this.run(host), { recursive: true });
    writeFileSync(join(this.run(host), 'subnet.env'), `FLANNEL_SUBNET=${gateway}\n`);
  }

  /** Starts the daemon of a host. */
  daemon(host: Host, ...args: readonly string[]): Daemon {
    const where = ['--etcd', this.#etcd.url, '--interface', 'eth0'];
    return new Daemon(host, this.run(host), [...args, ...where]);
  }

  /** Starts all daemons, and then the containers in their subnets. */
  async start(...args: readonly string[]): Promise<void> {
    this.daemons = this.#hosts.map((host) => this.daemon(host, ...args));
    await Promise.all(this.daemons.map(({ ready }) => ready));
    this.#containers = await Promise.all(
      this.daemons.map(async (daemon) => {
        const { gateway, mtu } = await daemon.subnetEnv();
        return startContainers(daemon.host, gateway, mtu);
      }),
    );
    // Each daemon must have heard of all others.
    await Promise.all(
      this.daemons.map(async (daemon) => {
        for (const { host } of this.daemons.filter((other) => other !== daemon)) {
          await daemon.said(new RegExp(` is on ${host.address}\\n`));
        }
      }),
    );
  }

  /** Stops all of it, and deletes the leases and subnet.env: a network of another kind may begin. */
  async stop(): Promise<void> {
    await Promise.all(this.daemons.map((daemon) => daemon.stop()));
    await Promise.all(this.#containers.map((containers, i) => stopContainers(this.#hosts[i], containers)));
    this.daemons = [];
    this.#containers = [];
    await this.#etcd.deleteAll(`${PREFIX}/subnets/`);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Writes the configuration. */
  async configure(backend: object, more: object = {}): Promise<void> {
    await this.#etcd.put(`${PREFIX}/config`, { Network: '10.244.0.0/16', ...more, Backend: backend });
  }
}

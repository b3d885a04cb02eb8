/** What the tests of examples/flannel share: hosts with an etcd, and `ip` as an oracle. */

import assert from 'node:assert/strict';
import type { NetworkNamespace } from 'tuntap-native';
import { Cluster, PREFIX } from '../../examples/flannel/cluster.ts';
import { EtcdServer } from '../../examples/flannel/etcd-server.ts';
import { type Container, createHosts, ETCD_ADDRESS, type Host } from '../../examples/flannel/lab.ts';
import { run } from '../support.ts';
import { ping } from './watching.ts';

export const PROGRAMS = ['ip', 'ping', 'etcd', 'setpriv'] as const;
const WAIT_MS = 10_000;

/** Where the leases are in etcd. */
export const SUBNETS = `${PREFIX}/subnets/`;

/** The key of a lease: of 10.244.1.0/24 it ends with 10.244.1.0-24. */
export const leaseKey = (subnet: string): string => SUBNETS + subnet.replace('/', '-');

export class FlannelLab {
  readonly hosts: readonly Host[];
  readonly etcd: EtcdServer;
  readonly lan: NetworkNamespace;
  readonly #close: () => Promise<void>;

  private constructor(
    hosts: readonly Host[],
    etcd: EtcdServer,
    lan: NetworkNamespace,
    close: () => Promise<void>,
  ) {
    this.hosts = hosts;
    this.etcd = etcd;
    this.lan = lan;
    this.#close = close;
  }

  static async create(count = 3): Promise<FlannelLab> {
    const { lab, hosts, store } = await createHosts(count);
    try {
      const etcd = await EtcdServer.start(store, ETCD_ADDRESS);
      return new FlannelLab(hosts, etcd, lab.hosts.lan, async () => {
        await etcd.close();
        await lab.close();
      });
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  /** A cluster whose hosts have the subnets 10.244.1.0/24, 10.244.2.0/24, … */
  async cluster(backend: object, config: object = {}): Promise<Cluster> {
    const cluster = new Cluster(this.hosts, this.etcd);
    await cluster.configure(backend, config);
    for (const [i, host] of this.hosts.entries()) cluster.prefer(host, `10.244.${i + 1}.1/24`);
    return cluster;
  }

  /** The keys of all leases, in order. */
  async leases(): Promise<string[]> {
    return [...(await this.etcd.list(SUBNETS)).keys()].sort();
  }

  close(): Promise<void> {
    return this.#close();
  }
}

/** `ip -j`, the independent oracle. */
export async function ip(namespace: NetworkNamespace, ...args: string[]): Promise<Record<string, unknown>[]> {
  const { stdout, stderr, status } = await run(namespace, 'ip', '-j', ...args);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout || '[]');
}

/** The destinations of the overlay's routes on a host, those of its own containers aside. */
export async function overlayRoutes({ namespace }: Host): Promise<string[]> {
  const routes = await ip(namespace, 'route', 'show', 'root', '10.244.0.0/16');
  return routes
    .filter(({ dev }) => dev !== 'cni0')
    .map(({ dst }) => `${dst}`)
    .sort();
}

/** Waits until a condition holds; the last failure is thrown if it never does. */
export async function eventually(check: () => Promise<void> | void): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

export async function reaches(from: Container, to: Container): Promise<void> {
  const { status, stdout } = await ping(from.namespace, to.address);
  assert.equal(status, 0, `${from.address} to ${to.address}: ${stdout}`);
}

/** Each reaches all by ping. */
export async function allReachAll(containers: readonly Container[]): Promise<void> {
  for (const from of containers) {
    await Promise.all(containers.filter((to) => to !== from).map((to) => reaches(from, to)));
  }
}

/** What bench/flannel.ts compares: each joins two hosts, and gives an end on each. */

import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NetworkNamespace } from 'tuntap-native/net';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { Cluster } from '../examples/flannel/cluster.ts';
import { type EtcdServer, spawnBound } from '../examples/flannel/etcd-server.ts';
import type { End } from '../examples/flannel/figures.ts';
import { type Container, type Host, startContainers, stopContainers } from '../examples/flannel/lab.ts';
import { ROOT, run } from './measure.ts';

const NETWORK = '10.244.0.0/16';
const OUTER_MTU = 1500;

/** Hosts that are joined. */
export interface Joined {
  readonly ends: readonly [End, End];
  stop(): Promise<void>;
}

export type Contender = (hosts: readonly Host[], etcd: EtcdServer) => Promise<Joined>;

/** The hosts themselves, without an overlay. */
export const underlay: Contender = async ([a, b]) => ({ ends: [a, b], stop: async () => {} });

/** The example's daemon, with one of its backends. */
export function daemon(type: string, ...args: readonly string[]): Contender {
  return async (hosts, etcd) => {
    const cluster = new Cluster(hosts, etcd);
    await cluster.configure({ Type: type });
    await cluster.start(...args);
    const [[from], [to]] = cluster.containers;
    return { ends: [from, to], stop: () => cluster.stop() };
  };
}

/** A host's part of a fixed network. */
const subnetOf = (i: number): string => `10.244.${i + 1}.0`;

/** Fixed subnets, with containers on them; `connect` joins the hosts and gives what to stop. */
function fixed(
  overhead: number,
  connect: (hosts: readonly Host[]) => Promise<readonly ChildProcess[]>,
  takeDown: (host: NetworkNamespace) => Promise<unknown> = async () => {},
): Contender {
  return async (hosts) => {
    const containers: (readonly Container[])[] = [];
    let children: readonly ChildProcess[] = [];
    const stop = async (): Promise<void> => {
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        const closed = once(child, 'close');
        child.kill();
        await closed;
      }
      for (const [i, host] of hosts.entries()) {
        await takeDown(host.namespace);
        if (containers[i] !== undefined) await stopContainers(host, containers[i]);
      }
    };
    try {
      for (const [i, host] of hosts.entries()) {
        containers.push(await startContainers(host, `10.244.${i + 1}.1/24`, OUTER_MTU - overhead));
      }
      children = await connect(hosts);
      return { ends: [containers[0][0], containers[1][0]], stop };
    } catch (error) {
      await stop();
      throw error;
    }
  };
}

/** Starts a program on each host and waits until it prints something. */
async function onEach(
  hosts: readonly Host[],
  command: (host: Host, i: number) => readonly string[],
): Promise<readonly ChildProcess[]> {
  return Promise.all(
    hosts.map(async (host, i) => {
      const [program, ...args] = command(host, i);
      const child = spawnBound(host.namespace, program, args, 'pipe');
      const ended = once(child, 'close').then(([status]) => {
        throw new Error(`${program} ${args.join(' ')} ended with status ${status}`);
      });
      ended.catch(() => {});
      await Promise.race([once(child.stdout as NodeJS.EventEmitter, 'data'), ended]);
      child.stdout?.resume();
      return child;
    }),
  );
}

/** VXLAN as an administrator sets it up by ip and bridge. */
export const vxlanByIp: Contender = fixed(
  50,
  async (hosts) => {
    const name = 'flannel.1';
    const mac = (i: number): string => `02:00:00:00:01:0${i}`;
    for (const [i, { namespace, address }] of hosts.entries()) {
      const ip = (...args: string[]): Promise<string> => run(namespace, 'ip', ...args);
      const options = ['id', '1', 'dev', 'eth0', 'local', address, 'dstport', '8472', 'nolearning'];
      await ip(
        'link',
        'add',
        name,
        'address',
        mac(i),
        'mtu',
        `${OUTER_MTU - 50}`,
        'type',
        'vxlan',
        ...options,
      );
      await ip('address', 'add', `${subnetOf(i)}/32`, 'dev', name);
      await ip('link', 'set', name, 'up');
      for (const [j, other] of hosts.entries()) {
        if (i === j) continue;
        await run(namespace, 'bridge', 'fdb', 'add', mac(j), 'dev', name, 'dst', other.address);
        await ip('neighbor', 'add', subnetOf(j), 'lladdr', mac(j), 'dev', name, 'nud', 'permanent');
        await ip('route', 'add', `${subnetOf(j)}/24`, 'via', subnetOf(j), 'dev', name, 'onlink');
      }
    }
    return [];
  },
  (host) => run(host, 'ip', 'link', 'del', 'flannel.1'),
);

/**
 * Flannel's own proxy in C.
 * @param source a checkout of github.com/flannel-io/flannel
 * @param folder for the program
 */
export function flannelProxy(source: string, folder: string): Contender {
  const udp = join(source, 'pkg', 'backend', 'udp');
  const program = join(folder, 'flannel-proxy');
  const sources = [join(ROOT, 'bench', 'flannel-proxy.c'), join(udp, 'proxy_amd64.c')];
  // cgo's own flags.
  execFileSync('cc', ['-O2', '-g', '-w', '-I', udp, '-o', program, ...sources], { stdio: 'inherit' });
  return fixed(28, async (hosts) => {
    const children = await onEach(hosts, ({ address }, i) => {
      const routes = hosts.flatMap((other, j) => (i === j ? [] : [subnetOf(j), '24', other.address]));
      return [program, 'flannel0', address, '8285', `${OUTER_MTU - 28}`, subnetOf(i), ...routes];
    });
    for (const [i, { namespace }] of hosts.entries()) {
      await run(namespace, 'ip', 'address', 'add', `${subnetOf(i)}/32`, 'dev', 'flannel0');
      await run(namespace, 'ip', 'link', 'set', 'flannel0', 'up', 'mtu', `${OUTER_MTU - 28}`);
      await run(namespace, 'ip', 'route', 'add', NETWORK, 'dev', 'flannel0');
    }
    return children;
  });
}

/** @param folder the built package at commit 76e1e50, whose examples/flannel-udp was told its routes by lines */
export function flannelUdpBefore(folder: string): Contender {
  const file = join(folder, 'out', 'examples', 'flannel-udp', 'daemon.js');
  return fixed(28, async (hosts) => {
    const children = await onEach(hosts, ({ address }, i) => [
      ...[process.execPath, file, '--public', address],
      ...['--overlay', NETWORK, '--subnet', `${subnetOf(i)}/24`],
    ]);
    for (const [i, child] of children.entries()) {
      for (const [j, other] of hosts.entries()) {
        if (i === j) continue;
        child.stdin?.write(`set ${subnetOf(j)}/24 ${other.address}\n`);
        await once(child.stdout as NodeJS.EventEmitter, 'data');
      }
    }
    return children;
  });
}

/** `tuntap-native up`: openWireGuard() and nothing else. */
export const wireGuardAlone: Contender = async (hosts, etcd) => {
  const folder = mkdtempSync(join(tmpdir(), 'flannel-bench-'));
  const keys = hosts.map(() => generatePrivateKey());
  const cli = join(ROOT, 'dist', 'cli', 'tuntap-native.js');
  const joined = await fixed(80, (all) =>
    onEach(all, (_, i) => {
      const j = 1 - i;
      const file = join(folder, `flannel-wg${i}.conf`);
      const text = [
        '[Interface]',
        `PrivateKey = ${keys[i]}`,
        `Address = ${subnetOf(i)}/32`,
        'ListenPort = 51820',
        `MTU = ${OUTER_MTU - 80}`,
        '[Peer]',
        `PublicKey = ${publicKey(keys[j])}`,
        `Endpoint = ${all[j].address}:51820`,
        `AllowedIPs = ${subnetOf(j)}/24`,
      ];
      writeFileSync(file, `${text.join('\n')}\n`, { mode: 0o600 });
      return [process.execPath, cli, 'up', file];
    }),
  )(hosts, etcd);
  return {
    ...joined,
    stop: async () => {
      await joined.stop();
      rmSync(folder, { recursive: true });
    },
  };
};

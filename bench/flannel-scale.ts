/**
 * How examples/flannel bears many hosts: `node out/bench/flannel-scale.js`.
 *
 * - Twenty daemons join an empty network at once: the time from the last start until all pairs have pinged, and whether all subnets differ.
 * - A thousand leases of other hosts are written to etcd: the time until a daemon has all of them, and its memory.
 * - One of these leases changes: the time until the kernel reports the change on another host, and what else it reports.
 *
 * Options: --daemons=N (20), --leases=N (1000), --write (puts the tables into the documentation).
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { generatePrivateKey, publicKey } from 'tuntap-native/wireguard';
import { Cluster, type Daemon, PREFIX } from '../examples/flannel/cluster.ts';
import { EtcdServer } from '../examples/flannel/etcd-server.ts';
import { createHosts, ETCD_ADDRESS, type Host, startContainers } from '../examples/flannel/lab.ts';
import { formatAddress, parseAddress } from '../examples/flannel/network.ts';
import { MACHINE, publish } from './blocks.ts';
import { median, option, run } from './measure.ts';

const DAEMONS = Number(option('daemons', '20'));
const LEASES = Number(option('leases', '1000'));
const CHANGES = 20;
const BACKENDS = ['host-gw', 'vxlan', 'udp', 'wireguard'];
const NETWORK = '10.0.0.0/8';
// etcd takes 128 operations in a transaction.
const TRANSACTION = 100;

const secondsSince = (start: number): number => (performance.now() - start) / 1000;

async function inCluster<T>(
  count: number,
  type: string,
  use: (cluster: Cluster, hosts: readonly Host[], etcd: EtcdServer) => Promise<T>,
): Promise<T> {
  const { lab, hosts, store } = await createHosts(count);
  const etcd = await EtcdServer.start(store, ETCD_ADDRESS);
  const cluster = new Cluster(hosts, etcd);
  try {
    await cluster.configure({ Type: type }, { Network: NETWORK });
    return await use(cluster, hosts, etcd);
  } finally {
    await cluster.stop();
    await etcd.close();
    await lab.close();
  }
}

/** Seconds from the last start until all are ready, and until all reach all. */
async function join(type: string): Promise<readonly [ready: number, reached: number, subnets: number]> {
  return inCluster(DAEMONS, type, async (cluster, hosts) => {
    cluster.daemons = hosts.map((host) => cluster.daemon(host));
    const start = performance.now();
    await Promise.all(cluster.daemons.map((daemon) => daemon.ready));
    const ready = secondsSince(start);
    const gateways = await Promise.all(
      cluster.daemons.map(async (daemon) => {
        const { gateway, mtu } = await daemon.subnetEnv();
        await startContainers(daemon.host, gateway, mtu, 0);
        return gateway.split('/')[0];
      }),
    );
    // Each pair once: two hosts that begin a handshake of WireGuard at the same moment both wait 5 s for the next one.
    await Promise.all(
      hosts.map(({ namespace }, i) => {
        const script = `for a in ${gateways.slice(i + 1).join(' ')}; do
          (until ping -n -q -c1 -W1 $a; do sleep 0.1; done) >/dev/null 2>&1 & done; wait`;
        return run(namespace, 'timeout', '60', 'sh', '-c', script);
      }),
    );
    return [ready, secondsSince(start), new Set(gateways).size];
  });
}

function residentMB(pid: number): number {
  const [, kilobytes] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+)/m) ?? [];
  return Number(kilobytes) / 1000;
}

const subnet = (i: number): string => formatAddress(parseAddress('10.100.0.0') + i * 256);
const keyOf = (i: number): string => `${PREFIX}/subnets/${subnet(i)}-24`;
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** The lease of a host that is not there; host-gw needs gateways on the link. */
function lease(type: string, i: number): string {
  const hex = i.toString(16).padStart(4, '0');
  const mac = `02:00:00:00:${hex.slice(0, 2)}:${hex.slice(2)}`;
  const data = {
    vxlan: { VNI: 1, VtepMAC: mac },
    wireguard: { PublicKey: publicKey(generatePrivateKey()), Port: 51820 },
  }[type];
  return JSON.stringify({ PublicIP: `192.0.2.${10 + (i % 200)}`, BackendType: type, BackendData: data });
}

async function writeLeases(etcd: EtcdServer, type: string): Promise<void> {
  const puts = Array.from({ length: LEASES }, (_, i) => ({
    request_put: { key: base64(keyOf(i)), value: base64(lease(type, i)) },
  }));
  for (let i = 0; i < puts.length; i += TRANSACTION) {
    await etcd.request('kv/txn', { success: puts.slice(i, i + TRANSACTION) });
  }
}

/** Waits until the daemon has all leases. */
async function hasAll(daemon: Daemon): Promise<void> {
  while ((daemon.log.match(/ is on /g) ?? []).length < LEASES) await setTimeout(5);
}

interface Many {
  /** Seconds from the first write until a running daemon has all. */
  readonly written: number;
  /** Megabytes that it grew by. */
  readonly grown: number;
  /** Seconds from the start of a daemon until it has all. */
  readonly started: number;
  /** Milliseconds from a write until the kernel told of it; none if the kernel has nothing of that backend. */
  readonly changed?: number;
  /** What the kernel reported of other leases. */
  readonly touched?: number;
}

async function many(type: string): Promise<Many> {
  return inCluster(1, type, async (cluster, [host], etcd) => {
    const daemon = cluster.daemon(host);
    cluster.daemons = [daemon];
    await daemon.ready;
    await setTimeout(500);
    const before = residentMB(daemon.pid);
    const start = performance.now();
    await writeLeases(etcd, type);
    await hasAll(daemon);
    const written = secondsSince(start);
    const grown = residentMB(daemon.pid) - before;
    const change = await changes(host, etcd, type);
    await daemon.stop();
    const restarted = performance.now();
    const second = cluster.daemon(host);
    cluster.daemons = [second];
    await hasAll(second);
    return { written, grown, started: secondsSince(restarted), ...change };
  });
}

/** Changes leases one by one, as hosts that move or get another MAC. */
async function changes(
  { namespace }: Host,
  etcd: EtcdServer,
  type: string,
): Promise<Pick<Many, 'changed' | 'touched'>> {
  if (type !== 'host-gw' && type !== 'vxlan') return {};
  const monitor = namespace.spawn('ip', ['monitor', 'route', 'neigh'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let lines = '';
  monitor.stdout?.on('data', (data) => {
    lines += data;
  });
  const closed = once(monitor, 'close');
  await setTimeout(500);
  const times: number[] = [];
  let touched = 0;
  for (let n = 0; n < CHANGES; n++) {
    lines = '';
    const i = n * 37;
    const start = performance.now();
    await etcd.put(keyOf(i), lease(type, i + 1));
    while (!lines.includes(subnet(i)) && secondsSince(start) < 5) {
      await once(monitor.stdout as NodeJS.EventEmitter, 'data', { signal: AbortSignal.timeout(5000) });
    }
    times.push(performance.now() - start);
    await setTimeout(100);
    // The kernel resolves the gateways of its own accord: only subnets of this network count.
    const about = lines.split('\n').filter((line) => /\b10\.10[0-3]\./.test(line));
    touched += about.filter((line) => !line.includes(subnet(i))).length;
  }
  monitor.kill();
  await closed;
  return { changed: median(times), touched };
}

const joining: string[] = [];
for (const type of BACKENDS) {
  const [ready, reached, subnets] = await join(type);
  console.error(
    `${type}: ${DAEMONS} daemons ready in ${ready.toFixed(1)} s, all pairs pinged in ${reached.toFixed(1)} s`,
  );
  joining.push(`| ${type} | ${subnets} | ${ready.toFixed(1)} | ${reached.toFixed(1)} |`);
}
const leases: string[] = [];
for (const type of BACKENDS) {
  const { written, grown, started, changed, touched } = await many(type);
  const change = changed === undefined ? '–' : changed.toFixed(1);
  console.error(
    `${type}: ${LEASES} leases in ${written.toFixed(2)} s, ${grown.toFixed(0)} MB; a change ${change} ms`,
  );
  leases.push(
    `| ${type} | ${written.toFixed(2)} | ${started.toFixed(2)} | ${grown.toFixed(0)} | ${change} | ${touched ?? '–'} |`,
  );
}
publish(
  'flannel-scale',
  [
    `| ${DAEMONS} daemons that join at once | different subnets | all ready, s | all pairs have pinged, s |`,
    '|---|---|---|---|',
    ...joining,
    '',
    `| ${LEASES.toLocaleString('en')} leases | written while a daemon runs: it has all, s | a daemon starts: it has all, s | ` +
      'memory, MB more | one changes: reported by the kernel, ms | others touched |',
    '|---|---|---|---|---|---|',
    ...leases,
    '',
    `${MACHINE}; etcd and all hosts on this machine.`,
  ].join('\n'),
  'docs/overlay.md',
);

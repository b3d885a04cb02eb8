/**
 * The daemon of one host of a cluster, as Flannel's: it takes a subnet for the host's containers in etcd, and carries
 * packets between them and those of the other hosts. It stops at SIGTERM, and leaves its lease, so that it comes back to
 * the same subnet.
 *
 *   node out/examples/flannel/daemon.js --etcd http://192.0.2.10:2379 --interface eth0
 *
 * --etcd may be given several times; --ca, --cert and --key are files for TLS. --public is the host's address for the
 * others. Without it and --interface it is that of the default route's interface. --prefix (/coreos.com/network) is where
 * Flannel's keys are; --run (/run/flannel) is the folder of subnet.env and wgkey; --lease-seconds (86400) is how long the
 * others keep their routes if this host is gone. --udp-path batches or packets makes the backend `udp` slower, to show
 * why. Needs CAP_NET_ADMIN, and a kernel that forwards (net.ipv4.ip_forward). Prints `ready` when containers can start.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { NetworkNamespace } from 'tuntap-native/net';
import { backendOf } from './backends/index.ts';
import { PATHS } from './backends/udp.ts';
import { type NetworkConfig, parseConfig } from './config.ts';
import { Etcd } from './etcd.ts';
import { addressLost, type External, findExternal } from './external.ts';
import { configKey } from './lease.ts';
import { formatNetwork } from './network.ts';
import { OtherLeases } from './other-leases.ts';
import { type OwnLease, takeSubnet } from './own-lease.ts';
import { Pause, untilAvailable } from './retry.ts';
import { previousSubnet, writeSubnetFile } from './subnet-file.ts';

const { values } = parseArgs({
  options: {
    etcd: { type: 'string', multiple: true, default: ['http://127.0.0.1:2379'] },
    ca: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    interface: { type: 'string' },
    public: { type: 'string' },
    prefix: { type: 'string', default: '/coreos.com/network' },
    run: { type: 'string', default: '/run/flannel' },
    'lease-seconds': { type: 'string', default: `${24 * 60 * 60}` },
    'udp-path': { type: 'string', default: 'offloads' },
  },
});
const { run } = values;
const prefix = values.prefix.replace(/\/+$/, '');
const file = (path?: string): Buffer | undefined => (path === undefined ? undefined : readFileSync(path));
const seconds = Number(values['lease-seconds']);
if (!(Number.isInteger(seconds) && seconds >= 1 && seconds <= 1e6))
  throw new Error('--lease-seconds is an integer from 1 to 1,000,000');
const path = PATHS.find((known) => known === values['udp-path']);
if (path === undefined) throw new Error(`--udp-path is one of ${PATHS.join(', ')}`);
const subnetFile = join(run, 'subnet.env');

const etcd = new Etcd({
  endpoints: values.etcd,
  ca: file(values.ca),
  cert: file(values.cert),
  key: file(values.key),
});
const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stopping.abort());
const host = await NetworkNamespace.current();
let own: OwnLease | undefined;
try {
  for (;;) {
    const external = await findExternal(host, values, stopping.signal);
    await serve(external, stopping.signal);
    console.error(`${external.name} has lost ${external.address}`);
  }
} catch (error) {
  if (!stopping.signal.aborted) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
} finally {
  await host.close();
}

/** Carries packets until the interface's address changes. */
async function serve(external: External, signal: AbortSignal): Promise<void> {
  const config = await readConfig(signal);
  const backendType = config.backend.string('Type', 'udp').toLowerCase();
  const ended = new AbortController();
  const running = AbortSignal.any([signal, ended.signal]);
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  const backend = await backendOf(backendType, path)({ host, external, config, run, fail });
  const parts: Promise<unknown>[] = [];
  try {
    const attributes = { publicIp: external.publicIp, backendType, backendData: backend.data };
    const previous = await previousSubnet(subnetFile);
    const claim = { prefix, config, attributes, seconds, previous, heldUnder: own?.id };
    const lease = await untilAvailable('take a subnet', signal, () => takeSubnet(etcd, claim, signal));
    own = lease;
    await backend.start(lease.subnet);
    await writeSubnetFile(subnetFile, { network: config.network, subnet: lease.subnet, mtu: backend.mtu });
    console.error(`has ${formatNetwork(lease.subnet)} by ${backendType} from ${external.publicIp}`);
    console.log('ready');
    const { publicIp } = external;
    const others = new OtherLeases({ etcd, prefix, config, own: lease, publicIp, backendType, backend });
    parts.push(lease.keep(running), others.follow(running), others.retry(running));
    parts.push(addressLost(host, external, running));
    await Promise.race([failed, ...parts]);
  } finally {
    ended.abort();
    await Promise.allSettled(parts);
    await backend.close();
  }
}

/** Waits until the configuration is there. */
async function readConfig(signal: AbortSignal): Promise<NetworkConfig> {
  const key = configKey(prefix);
  const pause = new Pause();
  for (let told = false; ; told = true) {
    const entry = await untilAvailable('read the configuration', signal, () => etcd.get(key, signal));
    if (entry !== undefined) return parseConfig(entry.value);
    if (!told) console.error(`waits for the configuration: etcd has no key ${key}`);
    await pause.wait(signal);
  }
}

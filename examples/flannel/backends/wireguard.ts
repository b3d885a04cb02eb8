/** WireGuard: encrypted, in this program. A lease tells the public key; the subnet is what that key may send for. */

import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generatePrivateKey, openWireGuard } from 'tuntap-native/wireguard';
import type { Backend, BackendOptions } from '../backend.ts';
import type { Lease } from '../lease.ts';
import { formatAddress, formatNetwork } from '../network.ts';

const NAME = 'flannel-wg';
const PORT = 51820;
// As wg-quick and Flannel: the headers of WireGuard over IPv6, so that the MTU fits both.
const ENCAPSULATION = 80;

export async function openWireGuardBackend({
  host,
  external,
  config,
  run,
  fail,
}: BackendOptions): Promise<Backend> {
  const { backend } = config;
  const listenPort = backend.integer('ListenPort', 1, 65535, PORT);
  const mtu = backend.integer('MTU', 148, 65535, external.mtu) - ENCAPSULATION;
  const presharedKey = backend.string('PSK') || undefined;
  const persistentKeepalive = backend.integer('PersistentKeepaliveInterval', 0, 65535, 0);
  if (backend.string('Mode') === 'ipv6')
    throw new Error('config.Backend.Mode is ipv6: this daemon knows IPv4 only');
  const wg = await openWireGuard(NAME, {
    privateKey: await readKey(join(run, 'wgkey')),
    listenPort,
    mtu,
    routes: 'off',
    control: false,
  });
  wg.on('error', fail);
  wg.on('close', () => fail(new Error(`Somebody has deleted ${NAME}`)));

  const keyOf = ({ data }: Lease): string => data.string('PublicKey', '');
  const endpointOf = ({ data, publicIp }: Lease): string =>
    `${publicIp}:${data.integer('Port', 0, 65535, 0) || listenPort}`;

  return {
    data: { PublicKey: wg.publicKey, Port: listenPort },
    mtu,
    async start(subnet) {
      const link = await host.link(NAME);
      await link.addAddress(`${formatAddress(subnet.address)}/32`);
      await host.replaceRoute({ destination: formatNetwork(config.network), device: link.index });
    },
    async set(lease, old) {
      await wg.setPeer({
        publicKey: keyOf(lease),
        presharedKey,
        endpoint: endpointOf(lease),
        allowedIps: [formatNetwork(lease.subnet)],
        persistentKeepalive,
      });
      if (old !== undefined && keyOf(old) !== keyOf(lease)) await wg.removePeer(keyOf(old));
    },
    peerOf: keyOf,
    async remove(lease) {
      await wg.removePeer(keyOf(lease));
    },
    async close() {
      wg.removeAllListeners();
      await wg.close();
    },
  };
}

/** This host's private key. It outlives the daemon, so that the others need not learn a new one. */
async function readKey(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const key = generatePrivateKey();
  await mkdir(join(path, '..'), { recursive: true });
  // In one step, so that a crash leaves no half of a key.
  const fresh = `${path}.new`;
  await rm(fresh, { force: true });
  await writeFile(fresh, key, { mode: 0o400, flush: true });
  await rename(fresh, path);
  return key;
}

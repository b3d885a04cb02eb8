/**
 * The daemon of one host: Flannel's UDP backend again. It joins the host's subnet with those of other hosts, by IPv4
 * packets in plain UDP; nothing is encrypted. It stops at SIGTERM, or when its standard input ends.
 *
 *   node out/examples/flannel-udp/daemon.js --public 192.0.2.1 --overlay 10.244.0.0/16 --subnet 10.244.1.0/24
 *
 * The other hosts are told by lines on the standard input, at any time: `set 10.244.2.0/24 192.0.2.2`,
 * `delete 10.244.2.0/24`, `show`. With `--path batches` the kernel's offloads stay off, with `--path packets` one
 * packet moves at a time. Needs CAP_NET_ADMIN, /dev/net/tun, and a kernel that forwards (net.ipv4.ip_forward).
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { openTun } from 'tuntap-native';
import { NetworkNamespace } from 'tuntap-native/net';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { serveControl } from '../controlled-process.ts';
import * as byBatches from './by-batches.ts';
import * as byPackets from './by-packets.ts';
import { createOverlay, PATHS } from './overlay.ts';

const PORT = 8285;
const NAME = 'flannel0';
// The outer IPv4 header and that of UDP.
const ENCAPSULATION = 20 + 8;
// Holds a burst of the other hosts. node:dgram gets what net.core.rmem_max allows.
const RECEIVE_BUFFER = 4 << 20;

const text = { type: 'string', default: '' } as const;
const { values } = parseArgs({
  options: { public: text, overlay: text, subnet: text, path: { type: 'string', default: 'offloads' } },
});
const { public: address } = values;
const path = PATHS.find((known) => known === values.path);
if (path === undefined) throw new Error(`--path is one of ${PATHS.join(', ')}`);

let stopping = false;
const host = await NetworkNamespace.current();
const external = (await host.addresses()).find((other) => other.address === address);
if (external === undefined) throw new Error(`This host has no address '${address}': see --public`);
const { mtu } = await (await host.link(external.index)).get();

const overlay = createOverlay(values.subnet, (error) => device.write(error));
const device = openTun(NAME, {
  addresses: [values.subnet.replace(/\/.*/, '/32')],
  mtu: mtu - ENCAPSULATION,
  up: true,
  offload: path === 'offloads',
});
device.on('error', fail);
await host.replaceRoute({ destination: values.overlay, device: NAME });
// ICMP errors come in by the device with the device's own address as their source: martians, unless allowed.
await host.setSysctl(`net.ipv4.conf.${NAME}.accept_local`, true);
await host.close();

const socket = path === 'packets' ? await forwardPackets() : forwardBatches();
await serveControl(control);
stopping = true;
socket.close();
await device.close();

function forwardBatches(): { close(): void } {
  const offload = path === 'offloads';
  const udp = openUdp({ address, port: PORT, receiveBuffer: RECEIVE_BUFFER, gso: offload, gro: offload });
  byBatches.deviceToPeers(device, udp, overlay).catch(fail);
  byBatches.peersToDevice(udp, device, overlay).catch(fail);
  return udp;
}

/** The device was deleted, for example. */
function fail(error: Error): void {
  if (stopping) return; // a packet that came while one of the two was closed already
  console.error(error.message);
  process.exit(1);
}

async function forwardPackets(): Promise<{ close(): void }> {
  const udp = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER }).bind(PORT, address);
  await once(udp, 'listening');
  byPackets.deviceToPeers(device, udp, overlay);
  byPackets.peersToDevice(udp, device, overlay);
  return udp;
}

function control([verb, network = '', peer = '']: readonly string[]): readonly string[] {
  const { routes } = overlay;
  switch (verb) {
    case 'set':
      routes.set(network, { address: peer, port: PORT, endpoint: new Endpoint(peer, PORT) });
      return [];
    case 'delete':
      if (!routes.delete(network)) throw new Error(`there is no route to ${network}`);
      return [];
    case 'show':
      return [...routes].map(([destination, { endpoint }]) => `${destination} ${endpoint}`);
    default:
      throw new Error(`'${verb}' is none of set, delete, show`);
  }
}

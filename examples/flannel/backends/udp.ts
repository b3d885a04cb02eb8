/**
 * Flannel's UDP mode: the bare packets in UDP, carried by this program. By batches with the kernel's offloads; or, to
 * show what these give, by batches without offloads, or one packet at a time as Flannel's own program.
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { openTun, type TunDevice } from 'tuntap-native';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import type { Backend, BackendOptions } from '../backend.ts';
import { formatAddress, formatNetwork } from '../network.ts';
import * as byBatches from './by-batches.ts';
import * as byPackets from './by-packets.ts';
import { createOverlay, type Overlay } from './overlay.ts';

const NAME = 'flannel0';
const PORT = 8285;
// The outer IPv4 header and that of UDP.
const ENCAPSULATION = 20 + 8;
// Holds a burst of the other hosts. node:dgram gets what net.core.rmem_max allows.
const RECEIVE_BUFFER = 4 << 20;

/** How packets move: by batches with the kernel's offloads or without them, or one at a time. */
export const PATHS = ['offloads', 'batches', 'packets'] as const;
export type Path = (typeof PATHS)[number];

export async function openUdpBackend(
  { host, external, config, fail }: BackendOptions,
  path: Path = 'offloads',
): Promise<Backend> {
  const port = config.backend.integer('Port', 1, 65535, PORT);
  const mtu = external.mtu - ENCAPSULATION;
  const { address } = external;
  const offload = path === 'offloads';
  let closing = false;
  let device: TunDevice | undefined;
  let socket: { close(): unknown } | undefined;
  let overlay: Overlay;

  const failed = (error: Error): void => {
    if (!closing) fail(error); // a packet may come while one of the two is closed already
  };

  function forwardBatches(tun: TunDevice): { close(): unknown } {
    const udp = openUdp({ address, port, receiveBuffer: RECEIVE_BUFFER, gso: offload, gro: offload });
    byBatches.deviceToPeers(tun, udp, overlay).catch(failed);
    byBatches.peersToDevice(udp, tun, overlay).catch(failed);
    return udp;
  }

  async function forwardPackets(tun: TunDevice): Promise<{ close(): unknown }> {
    const udp = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER }).bind(port, address);
    await once(udp, 'listening');
    byPackets.deviceToPeers(tun, udp, overlay);
    byPackets.peersToDevice(udp, tun, overlay);
    return udp;
  }

  return {
    mtu,
    async start(subnet) {
      overlay = createOverlay(subnet, (error) => tun.write(error));
      const tun = openTun(NAME, {
        addresses: [`${formatAddress(subnet.address)}/32`],
        mtu,
        up: true,
        offload,
      });
      device = tun;
      tun.on('error', failed);
      await host.replaceRoute({ destination: formatNetwork(config.network), device: NAME });
      // ICMP errors come in by the device with the device's own address as their source: martians, unless allowed.
      await host.setSysctl(`net.ipv4.conf.${NAME}.accept_local`, true);
      socket = path === 'packets' ? await forwardPackets(tun) : forwardBatches(tun);
    },
    async set({ subnet, publicIp }) {
      overlay.routes.set(formatNetwork(subnet), {
        address: publicIp,
        port,
        endpoint: new Endpoint(publicIp, port),
      });
    },
    async remove({ subnet }) {
      overlay.routes.delete(formatNetwork(subnet));
    },
    async close() {
      closing = true;
      socket?.close();
      await device?.close();
    },
  };
}

/** The same data path a packet at a time, as Flannel has it: a system call and an event each, with node:dgram. */

import type { Socket } from 'node:dgram';
import type { TunDevice } from 'tuntap-native';
import type { Overlay } from './overlay.ts';

export function deviceToPeers(device: TunDevice, socket: Socket, overlay: Overlay): void {
  device.on('data', (packet: Buffer) => {
    const peer = overlay.outbound(packet);
    // Without the callback an error, such as ENOBUFS, would end the program.
    if (peer) socket.send(packet, peer.port, peer.address, () => {});
  });
}

export function peersToDevice(socket: Socket, device: TunDevice, overlay: Overlay): void {
  socket.on('message', (packet, { address, port }) => {
    const peer = overlay.inbound(packet);
    if (peer?.address === address && peer.port === port) device.write(packet);
  });
}

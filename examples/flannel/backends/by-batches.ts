/** The overlay's data path by batches: a system call, and a turn of the event loop, for hundreds of packets. */

import type { TunDevice } from 'tuntap-native';
import { DatagramTable, type UdpBatchSocket } from 'tuntap-native/tunnel';
import type { Overlay } from './overlay.ts';

export async function deviceToPeers(
  device: TunDevice,
  socket: UdpBatchSocket,
  overlay: Overlay,
): Promise<void> {
  const remotes = new DatagramTable();
  for await (const batch of device.batches()) {
    for (let i = 0; i < batch.length; i++) {
      const peer = overlay.outbound(batch.at(i));
      if (peer) remotes.setRemote(i, peer.endpoint);
      else batch.drop(i);
    }
    // What the socket has no room for is lost, as IP allows, and TCP then slows down.
    socket.writeBatch(batch, remotes);
  }
}

export async function peersToDevice(
  socket: UdpBatchSocket,
  device: TunDevice,
  overlay: Overlay,
): Promise<void> {
  for await (const batch of socket.batches()) {
    for (let i = 0; i < batch.length; i++) {
      const peer = overlay.inbound(batch.at(i));
      if (!peer || !socket.received.isRemote(i, peer.endpoint)) batch.drop(i);
    }
    device.writeBatch(batch);
  }
}

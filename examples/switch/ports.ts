/** The ports of a switch: TAP devices and a UDP trunk, each gathering what it is sent until the batch is done. */

import { PacketBatch, type TapDevice } from 'tuntap-native';
import { EtherType } from 'tuntap-native/packet';
import type { UdpBatchSocket } from 'tuntap-native/tunnel';
import type { Port } from './vlan-switch.ts';

const ADDRESSES = 12;
const TAG_LENGTH = 4;

/** A port that frames come in by. */
export interface LivePort extends Port {
  batches(): AsyncIterable<PacketBatch>;
  /** Sends what was gathered. What there is no room for is lost, as on any switch. */
  flush(): void;
}

/** A port for one VLAN; the host behind it has the device as its network card. */
export function accessPort(name: string, device: TapDevice, vlan: number): LivePort {
  return gathering(device, name, vlan, (batch, frame) => batch.push(frame));
}

/** A port to another switch, for all VLANs: a datagram is a frame with an 802.1Q tag. */
export function trunkPort(socket: UdpBatchSocket): LivePort {
  const header = Buffer.alloc(TAG_LENGTH);
  header.writeUInt16BE(EtherType.DOT1Q, 0);
  return gathering(socket, 'trunk', undefined, (batch, frame, tag) => {
    if (!batch.push(frame)) return false;
    // The tag goes between the addresses and the rest.
    const last = batch.length - 1;
    batch.resize(last, TAG_LENGTH, 0);
    const tagged = batch.at(last);
    tagged.copyWithin(0, TAG_LENGTH, TAG_LENGTH + ADDRESSES);
    header.writeUInt16BE(tag, 2);
    tagged.set(header, ADDRESSES);
    return true;
  });
}

function gathering(
  device: TapDevice | UdpBatchSocket,
  name: string,
  vlan: number | undefined,
  push: (batch: PacketBatch, frame: Buffer, tag: number) => boolean,
): LivePort {
  const gathered = new PacketBatch({ headroom: TAG_LENGTH });
  const flush = (): void => {
    try {
      if (gathered.length > 0 && device.fd >= 0) device.writeBatch(gathered);
    } catch (error) {
      // The device is gone, which the loop over its batches reports.
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    }
    gathered.clear();
  };
  return {
    name,
    vlan,
    batches: () => device.batches(),
    flush,
    send(frame, tag) {
      if (push(gathered, frame, tag)) return;
      flush();
      push(gathered, frame, tag);
    },
  };
}

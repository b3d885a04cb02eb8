/**
 * A trunk of tagged frames through the kernel, between two devices whose frames are untagged. It needs no link of
 * type vlan, which not every kernel has: the tag is put in and taken out here, in the batches.
 *
 *   left == this process == trunk0 -- Linux bridge -- trunk1 == this process == right
 */

import {
  NetworkNamespace,
  type OffloadOption,
  openTap,
  type PacketBatch,
  type TapDevice,
} from 'tuntap-native';
import { bridge } from './traffic.ts';

export const VLAN = 5;
export const TAG_LENGTH = 4;
const ADDRESSES = 12; // of both ends, before the tag (IEEE 802.1Q)
const ETHER_TYPE = 0x8100;

/** Tags every frame of a batch, whose headroom has space for it. */
export function pushTags(batch: PacketBatch): void {
  for (let i = 0; i < batch.length; i++) {
    batch.resize(i, TAG_LENGTH, 0);
    const frame = batch.at(i);
    frame.copyWithin(0, TAG_LENGTH, TAG_LENGTH + ADDRESSES);
    frame.writeUInt16BE(ETHER_TYPE, ADDRESSES);
    frame.writeUInt16BE(VLAN, ADDRESSES + 2);
  }
}

/** Takes the tags out; drops a frame that has none, or another. */
export function popTags(batch: PacketBatch): void {
  for (let i = 0; i < batch.length; i++) {
    const frame = batch.at(i);
    const tag = frame.readUInt32BE(ADDRESSES);
    if (tag !== ((ETHER_TYPE << 16) | VLAN) >>> 0) {
      batch.drop(i);
      continue;
    }
    frame.copyWithin(TAG_LENGTH, 0, ADDRESSES);
    batch.resize(i, -TAG_LENGTH, 0);
  }
}

export interface VlanTrunk extends AsyncDisposable {
  /** Where the bridge is. */
  readonly namespace: NetworkNamespace;
  readonly ends: readonly [TapDevice, TapDevice];
}

export async function openVlanTrunk(offload: OffloadOption): Promise<VlanTrunk> {
  const namespace = await NetworkNamespace.create();
  // Nothing of the kernel's own is to be among what the trunk carries.
  await namespace.setSysctl('net.ipv6.conf.all.disable_ipv6', '1');
  const open = (name: string) => openTap(name, { namespace, txQueueLength: 10_000, offload });
  const ends = [open('trunk0'), open('trunk1')] as const;
  const close = async () => {
    await Promise.all([...ends, namespace].map((part) => part.close()));
  };
  try {
    await bridge(namespace, ...ends);
  } catch (error) {
    await close();
    throw error;
  }
  return { namespace, ends, [Symbol.asyncDispose]: close };
}

/** What a VLAN-aware bridge does with one frame: IEEE 802.1Q-2022 clauses 6.9 and 8.6. No I/O. */

import { EtherType } from 'tuntap-native/packet';
import type { MacTable } from './mac-table.ts';

const DESTINATION = 0;
const SOURCE = 6;
const ETHER_TYPE = 12;
const TAG_CONTROL = 14;
const TAG_LENGTH = 4;
const MIN_FRAME = 14;
const VLAN_MASK = 0xfff;
const GROUP_BIT = 2 ** 40;
// 01:80:c2:00:00:00 to 0f, table 8-1: spanning tree, pause, LLDP and others that end at the next bridge.
const RESERVED = 0x0180c2000000;
const RESERVED_COUNT = 16;

export interface Port {
  readonly name: string;
  /** The VLAN of an access port, whose stations know nothing of VLANs. A port without one is a trunk: all is tagged. */
  readonly vlan?: number;
  /** Sends a frame, which is the caller's again once this returns. `tag` is what a trunk puts into its tag. */
  send(frame: Buffer, tag: number): void;
}

/** The tag that a frame has within the switch, or undefined where the port refuses it. */
function classify({ vlan }: Port, frame: Buffer, isTagged: boolean): number | undefined {
  const tag = isTagged ? frame.readUInt16BE(TAG_CONTROL) : 0;
  const id = tag & VLAN_MASK;
  // An access port takes untagged frames, and those whose tag tells no more than a priority.
  if (vlan !== undefined) return id === 0 ? tag | vlan : undefined;
  return id === 0 || id === VLAN_MASK ? undefined : tag;
}

/** The same frame without its tag, its addresses moved up in place. */
function untag(frame: Buffer): Buffer {
  frame.copyWithin(TAG_LENGTH, 0, ETHER_TYPE);
  return frame.subarray(TAG_LENGTH);
}

/**
 * Takes a frame that came in by a port, learns where its sender is, and sends it on: to the port that its destination
 * was last heard on, or where that is not known, or many, to all ports of the VLAN; never back. Overwrites the frame.
 */
export function forward(bytes: Buffer, ingress: Port, ports: ReadonlySet<Port>, table: MacTable<Port>): void {
  if (bytes.length < MIN_FRAME) return;
  const isTagged = bytes.readUInt16BE(ETHER_TYPE) === EtherType.DOT1Q;
  if (isTagged && bytes.length < MIN_FRAME + TAG_LENGTH) return;
  const destination = bytes.readUIntBE(DESTINATION, 6);
  const source = bytes.readUIntBE(SOURCE, 6);
  const isGroup = (mac: number): boolean => Math.floor(mac / GROUP_BIT) % 2 === 1;
  if (isGroup(source) || source === 0) return;
  if (destination >= RESERVED && destination < RESERVED + RESERVED_COUNT) return;
  const tag = classify(ingress, bytes, isTagged);
  if (tag === undefined) return;

  const vlan = tag & VLAN_MASK;
  table.learn(vlan, source, ingress);
  const known = isGroup(destination) ? undefined : table.lookup(vlan, destination);
  const frame = isTagged ? untag(bytes) : bytes;
  for (const port of known && ports.has(known) ? [known] : ports) {
    if (port !== ingress && (port.vlan ?? vlan) === vlan) port.send(frame, tag);
  }
}

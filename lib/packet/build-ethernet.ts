/** Builders of what a TAP device carries: Ethernet frames and ARP packets. */

import { parseIpv4, parseMac } from '../address.js';
import { invalidArgValue, requireBoolean, requireInteger } from '../arguments.js';
import type { VlanTag } from './ethernet.js';
import { requireBytes, uint16, write16 } from './fields.js';
import { EtherType } from './numbers.js';

/** Fields of {@link ethernetFrame}. */
export interface EthernetFrameFields {
  /** Destination address, `'02:00:5e:10:00:01'`. */
  readonly destination: string;
  /** Source address. */
  readonly source: string;
  /** What the payload is, `EtherType.IPV4`. */
  readonly etherType: number;
  /** One VLAN tag, or several from the outermost to the innermost. **Default:** none. */
  readonly vlan?: VlanTag | readonly VlanTag[];
  /** Up to 65535 bytes. It is not padded: network cards pad to 60 bytes, virtual devices need no padding. */
  readonly payload: Uint8Array;
}

/** Fields of {@link arpPacket}. */
export interface ArpPacketFields {
  /** `ArpOperation.REQUEST` or `ArpOperation.REPLY`. */
  readonly operation: number;
  /** Ethernet address of the sender. */
  readonly senderMac: string;
  /** IPv4 address of the sender. */
  readonly senderAddress: string;
  /** Ethernet address of the target. **Default:** all zeros, as a request has it. */
  readonly targetMac?: string;
  /** IPv4 address of the target. */
  readonly targetAddress: string;
}

/**
 * Builds an Ethernet frame, without frame check sequence.
 *
 * @returns a fresh buffer
 * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @example
 * ```ts
 * tap.write(ethernetFrame({ destination, source, etherType: EtherType.IPV4, vlan: { id: 5 }, payload: packet }));
 * ```
 */
export function ethernetFrame(fields: EthernetFrameFields): Buffer {
  const tags = fields.vlan === undefined ? [] : [fields.vlan].flat();
  const payload = requireBytes('payload', fields.payload, 0xffff);
  const header = Buffer.alloc(14 + 4 * tags.length);
  header.set(parseMac(fields.destination), 0);
  header.set(parseMac(fields.source), 6);
  tags.forEach((tag, index) => {
    writeVlanTag(header, 12 + 4 * index, tag);
  });
  write16(header, header.length - 2, uint16('etherType', fields.etherType));
  return Buffer.concat([header, payload]);
}

/**
 * Builds an ARP packet of IPv4 over Ethernet, the payload of a frame with `EtherType.ARP`.
 *
 * @returns a fresh buffer of 28 bytes
 * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if a field can't be encoded
 * @see {@link https://www.rfc-editor.org/rfc/rfc826 | RFC 826}
 * @example
 * ```ts
 * const payload = arpPacket({
 *   operation: ArpOperation.REQUEST, senderMac: mac, senderAddress: '192.0.2.1', targetAddress: '192.0.2.2',
 * });
 * tap.write(ethernetFrame({ destination: 'ff:ff:ff:ff:ff:ff', source: mac, etherType: EtherType.ARP, payload }));
 * ```
 */
export function arpPacket(fields: ArpPacketFields): Buffer {
  const packet = Buffer.alloc(28);
  write16(packet, 0, 1); // ARPHRD_ETHER
  write16(packet, 2, EtherType.IPV4);
  packet[4] = 6;
  packet[5] = 4;
  write16(packet, 6, uint16('operation', fields.operation));
  packet.set(parseMac(fields.senderMac), 8);
  packet.set(parseIpv4(fields.senderAddress), 14);
  packet.set(parseMac(fields.targetMac ?? '00:00:00:00:00:00'), 18);
  packet.set(parseIpv4(fields.targetAddress), 24);
  return packet;
}

function writeVlanTag(header: Buffer, at: number, tag: VlanTag): void {
  const { id, priority = 0, dropEligible = false, etherType = EtherType.DOT1Q } = tag;
  if (etherType !== EtherType.DOT1Q && etherType !== EtherType.DOT1AD) {
    throw invalidArgValue('vlan.etherType', etherType, 'must be EtherType.DOT1Q or EtherType.DOT1AD');
  }
  const control =
    (requireInteger('vlan.priority', priority, 0, 7) << 13) |
    (requireBoolean('vlan.dropEligible', dropEligible) ? 0x1000 : 0) |
    requireInteger('vlan.id', id, 0, 4095);
  write16(header, at, etherType);
  write16(header, at + 2, control);
}

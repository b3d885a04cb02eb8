/** ARP packets for IPv4 over Ethernet. */

import { formatIpv4, formatMac } from '../address.js';
import { read16 } from './fields.js';
import { EtherType } from './numbers.js';
import { PacketView, tooShort } from './view.js';

const HARDWARE_TYPE = 0;
const PROTOCOL_TYPE = 2;
const HARDWARE_LENGTH = 4;
const PROTOCOL_LENGTH = 5;
const OPERATION = 6;
const SENDER_MAC = 8;
const SENDER_ADDRESS = 14;
const TARGET_MAC = 18;
const TARGET_ADDRESS = 24;
const LENGTH = 28;

/** Hardware type of Ethernet, `ARPHRD_ETHER`. */
const ETHERNET = 1;

/**
 * View of an ARP packet of IPv4 over Ethernet, the payload of a frame with `EtherType.ARP`.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc826 | RFC 826}
 * @example
 * ```ts
 * const arp = ArpPacket.parse(frame.payload);
 * if (arp?.operation === ArpOperation.REPLY) neighbours.set(arp.senderAddress, arp.senderMac);
 * ```
 */
export class ArpPacket extends PacketView {
  /** Why `bytes` can't be such a packet; undefined if nothing is wrong. */
  static check(bytes: Uint8Array): string | undefined {
    const short = tooShort(bytes, LENGTH);
    if (short !== undefined) return short;
    const hardwareType = read16(bytes, HARDWARE_TYPE);
    if (hardwareType !== ETHERNET) return `hardware type ${hardwareType} is not Ethernet (${ETHERNET})`;
    const protocolType = read16(bytes, PROTOCOL_TYPE);
    if (protocolType !== EtherType.IPV4) return `protocol type 0x${protocolType.toString(16)} is not IPv4`;
    if (bytes[HARDWARE_LENGTH] !== 6) return `hardware address length ${bytes[HARDWARE_LENGTH]} is not 6`;
    if (bytes[PROTOCOL_LENGTH] !== 4) return `protocol address length ${bytes[PROTOCOL_LENGTH]} is not 4`;
    return undefined;
  }

  /** A view of `bytes`, or undefined if {@link ArpPacket.check} finds something wrong. */
  static parse(bytes: Uint8Array): ArpPacket | undefined {
    return ArpPacket.check(bytes) === undefined ? new ArpPacket(bytes) : undefined;
  }

  /** @throws `ERR_PACKET_MALFORMED` if {@link ArpPacket.check} finds something wrong */
  constructor(bytes: Uint8Array) {
    super(bytes, ArpPacket.check(bytes), LENGTH);
  }

  /** An `ArpOperation`. */
  get operation(): number {
    return read16(this.bytes, OPERATION);
  }

  /** Ethernet address of the sender. */
  get senderMac(): string {
    return formatMac(this.bytes, SENDER_MAC);
  }

  /** The 6 bytes of the sender's Ethernet address; shares the packet's bytes. */
  get senderMacBytes(): Buffer {
    return this.bytes.subarray(SENDER_MAC, SENDER_MAC + 6);
  }

  /** IPv4 address of the sender. */
  get senderAddress(): string {
    return formatIpv4(this.bytes, SENDER_ADDRESS);
  }

  /** The 4 bytes of the sender's IPv4 address; shares the packet's bytes. */
  get senderAddressBytes(): Buffer {
    return this.bytes.subarray(SENDER_ADDRESS, SENDER_ADDRESS + 4);
  }

  /** Ethernet address of the target; means nothing in a request. */
  get targetMac(): string {
    return formatMac(this.bytes, TARGET_MAC);
  }

  /** The 6 bytes of the target's Ethernet address; shares the packet's bytes. */
  get targetMacBytes(): Buffer {
    return this.bytes.subarray(TARGET_MAC, TARGET_MAC + 6);
  }

  /** IPv4 address of the target. */
  get targetAddress(): string {
    return formatIpv4(this.bytes, TARGET_ADDRESS);
  }

  /** The 4 bytes of the target's IPv4 address; shares the packet's bytes. */
  get targetAddressBytes(): Buffer {
    return this.bytes.subarray(TARGET_ADDRESS, TARGET_ADDRESS + 4);
  }
}

/** What TCP segments and UDP datagrams share: ports, and a checksum that covers the IP addresses too. */

import { type IpAddressBytes, upperLayerChecksum } from './checksum.js';
import { read16, uint16, write16 } from './fields.js';
import { IpProtocol } from './numbers.js';
import { PacketView } from './view.js';

const SOURCE_PORT = 0;
const DESTINATION_PORT = 2;
const TCP_CHECKSUM = 16;
const UDP_CHECKSUM = 6;

/** View of a TCP segment or UDP datagram. */
export abstract class TransportPacket extends PacketView {
  readonly #protocol: number;

  /** See {@link PacketView}. */
  protected constructor(bytes: Uint8Array, problem: string | undefined, length: number, protocol: number) {
    super(bytes, problem, length);
    this.#protocol = protocol;
  }

  /** Source port, 0 to 65535. */
  get sourcePort(): number {
    return read16(this.bytes, SOURCE_PORT);
  }

  set sourcePort(port: number) {
    write16(this.bytes, SOURCE_PORT, uint16('sourcePort', port));
  }

  /** Destination port, 0 to 65535. */
  get destinationPort(): number {
    return read16(this.bytes, DESTINATION_PORT);
  }

  set destinationPort(port: number) {
    write16(this.bytes, DESTINATION_PORT, uint16('destinationPort', port));
  }

  /** Checksum as stored; 0 in a UDP datagram means that there is none. */
  get checksum(): number {
    return read16(this.bytes, this.#checksumOffset);
  }

  set checksum(value: number) {
    write16(this.bytes, this.#checksumOffset, uint16('checksum', value));
  }

  /** What follows the header; shares the bytes. */
  abstract get payload(): Buffer;

  /**
   * Whether the stored checksum is right between these addresses: `packet` is the IP view. No checksum of UDP is right
   * over IPv4 and wrong over IPv6 (RFC 8200 section 8.1).
   */
  verifyChecksum(packet: IpAddressBytes): boolean {
    if (this.#protocol === IpProtocol.UDP && this.checksum === 0) return packet.sourceBytes.length === 4;
    return upperLayerChecksum(this.bytes, this.#protocol, packet) === 0;
  }

  /** Computes and stores the checksum between these addresses: `packet` is the IP view. */
  fillChecksum(packet: IpAddressBytes): void {
    this.checksum = 0;
    const computed = upperLayerChecksum(this.bytes, this.#protocol, packet);
    this.checksum = computed === 0 && this.#protocol === IpProtocol.UDP ? 0xffff : computed;
  }

  get #checksumOffset(): number {
    return this.#protocol === IpProtocol.TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
  }
}

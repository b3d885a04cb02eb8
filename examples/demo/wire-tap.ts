/** Who listens to the wire: keeps count, looks for a text that should not be there, and keeps one datagram to show. */

import type { TapDevice } from 'tuntap-native';
import { EthernetFrame, EtherType, IpProtocol, Ipv4Packet, UdpDatagram } from 'tuntap-native/packet';

export class WireTap {
  frames = 0;
  /** Frames that have the text in them. */
  readable = 0;
  /** The longest UDP payload: of the VPN's datagrams, that with the most to read. */
  longest: Buffer = Buffer.alloc(0);
  readonly #text: Buffer;

  constructor(text: string) {
    this.#text = Buffer.from(text);
  }

  /** Starts anew. */
  clear(): void {
    this.frames = 0;
    this.readable = 0;
    this.longest = Buffer.alloc(0);
  }

  /** Listens until the device is closed. */
  async listen(device: TapDevice): Promise<void> {
    for await (const batch of device.batches()) for (const bytes of batch) this.#take(bytes);
  }

  #take(bytes: Buffer): void {
    this.frames++;
    if (bytes.includes(this.#text)) this.readable++;
    const payload = udpPayload(bytes);
    if (payload && payload.length > this.longest.length) this.longest = Buffer.from(payload);
  }
}

function udpPayload(bytes: Buffer): Uint8Array | undefined {
  const frame = EthernetFrame.parse(bytes);
  if (frame?.etherType !== EtherType.IPV4) return undefined;
  const packet = Ipv4Packet.parse(frame.payload);
  if (packet?.protocol !== IpProtocol.UDP) return undefined;
  return UdpDatagram.parse(packet.payload)?.payload;
}

/** Bytes as hexdump(1) shows them. */
export function hexdump(bytes: Uint8Array, lines: number): string {
  return Array.from({ length: Math.min(lines, Math.ceil(bytes.length / 16)) }, (_, i) => {
    const row = [...bytes.subarray(16 * i, 16 * i + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = row.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    return `${hex.padEnd(48)} ${text}`;
  }).join('\n');
}

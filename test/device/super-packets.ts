/** Packets of up to 64 KiB as the kernel exchanges them, and a wire that carries them as they are. */

import { type NetworkNamespace, openTap, openTun, type PacketDevice, type TunTapDevice } from 'tuntap-native';
import {
  IpProtocol,
  type Ipv6ExtensionHeader,
  ipv4Packet,
  ipv6Packet,
  type TcpSegmentFields,
  tcpSegment,
  udpDatagram,
} from 'tuntap-native/packet';
import { frame, numberedPacket, numberOf, packetsUntil, shell } from './traffic.ts';

/** Bytes of the virtio_net_hdr before each packet of a device opened with `offload: 'raw'`. */
export const HEADER = 10;
// linux/virtio_net.h
const NEEDS_CSUM = 1;
const GSO = { none: 0, tcp4: 1, tcp6: 4, udp: 5 };
const ETHERNET = '020000000002020000000001';

export const KINDS = { tun: openTun, tap: openTap, 'tap with 802.1Q': openTap } as const;
export type Kind = keyof typeof KINDS;

/** What a packet is made of; with `gsoSize` it stands for as many as its payload has pieces of that size. */
export interface Parts {
  readonly kind?: Kind;
  readonly version?: 4 | 6;
  readonly udp?: boolean;
  readonly payload: Uint8Array;
  readonly gsoSize?: number;
  readonly tcp?: Partial<TcpSegmentFields>;
  readonly identification?: number;
  readonly dontFragment?: boolean;
  readonly ipOptions?: Uint8Array;
  readonly extensionHeaders?: readonly Ipv6ExtensionHeader[];
  readonly sourcePort?: number;
}

/** `length` bytes that tell where each stands. */
export function pattern(length: number, seed = 0): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 7 + (i >> 8) + seed) & 0xff));
}

function linkLayer(kind: Kind, version: 4 | 6): Buffer {
  if (kind === 'tun') return Buffer.alloc(0);
  const tag = kind === 'tap' ? '' : '81006005'; // VLAN 5, priority 3
  return Buffer.from(ETHERNET + tag + (version === 4 ? '0800' : '86dd'), 'hex');
}

/** An ordinary packet, with a valid checksum. */
export function ordinaryPacket(parts: Parts): Buffer {
  const { kind = 'tun', version = 4, udp = false, payload, tcp = {}, sourcePort = 5000 } = parts;
  const ends =
    version === 4
      ? { source: '192.0.2.2', destination: '192.0.2.1' }
      : { source: '2001:db8::2', destination: '2001:db8::1' };
  const ports = { ...ends, sourcePort, destinationPort: 7 };
  const transport = udp
    ? udpDatagram({ ...ports, payload })
    : tcpSegment({ ...ports, sequenceNumber: 1000, acknowledgmentNumber: 1, ack: true, ...tcp, payload });
  const protocol = udp ? IpProtocol.UDP : IpProtocol.TCP;
  const { ipOptions: options, extensionHeaders, identification, dontFragment } = parts;
  const packet =
    version === 4
      ? ipv4Packet({ ...ends, protocol, options, identification, dontFragment, payload: transport })
      : ipv6Packet({ ...ends, nextHeader: protocol, extensionHeaders, payload: transport });
  return Buffer.concat([linkLayer(kind, version), packet]);
}

/** The packet behind its virtio_net_hdr, its checksum left to the receiver, as a device opened 'raw' takes it. */
export function unfinishedPacket(parts: Parts): Buffer {
  const { kind = 'tun', version = 4, udp = false, gsoSize = 0, payload, tcp } = parts;
  const packet = ordinaryPacket(parts);
  const options = (tcp?.options?.length ?? 0) + 3;
  const transportLength = (udp ? 8 : 20 + (options & -4)) + payload.length;
  const start = packet.length - transportLength;
  const offset = udp ? 6 : 16;
  // The checksum is left as the sum of the pseudo header, not complemented (linux/skbuff.h, CHECKSUM_PARTIAL).
  const addresses = version === 4 ? [12, 20] : [8, 40];
  const ip = packet.subarray(linkLayer(kind, version).length);
  let sum = (udp ? IpProtocol.UDP : IpProtocol.TCP) + transportLength;
  for (let at = addresses[0]; at < addresses[1]; at += 2) sum += ip.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  packet.writeUInt16BE(sum, start + offset);

  const gsoType = gsoSize === 0 ? GSO.none : udp ? GSO.udp : version === 4 ? GSO.tcp4 : GSO.tcp6;
  const header = Buffer.from(
    Uint16Array.of(0, gsoSize === 0 ? 0 : start + transportLength - payload.length, gsoSize, start, offset)
      .buffer,
  );
  header[0] = NEEDS_CSUM;
  header[1] = gsoType;
  return Buffer.concat([header, packet]);
}

/** Lets what is written to `from` be read from each of `to`, with no queueing discipline, so whole. */
export async function wire(
  namespace: NetworkNamespace,
  from: { readonly name: string },
  ...to: readonly { readonly name: string }[]
): Promise<void> {
  const actions = to.map(
    ({ name }, i) => `action mirred egress ${i + 1 < to.length ? 'mirror' : 'redirect'} dev ${name}`,
  );
  await shell(
    namespace,
    `tc qdisc add dev ${from.name} ingress
    tc filter add dev ${from.name} parent ffff: protocol all u32 match u32 0 0 ${actions.join(' pipe ')}`,
  );
}

/** Stops the kernel from sending anything by itself over the devices that are made from now on. */
export async function silence(namespace: NetworkNamespace): Promise<void> {
  await shell(namespace, 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6');
}

const LAST = 'the last one';

/** A packet that tells a reader that there are no more. */
export function lastPacket(kind: Kind): Buffer {
  return kind === 'tun' ? numberedPacket(0xffff_ffff) : frame('02:00:00:00:00:02', LAST);
}

function isLast(packet: Buffer): boolean {
  return numberOf(packet) === 0xffff_ffff || packet.includes(LAST);
}

/** What is read before {@link lastPacket}, without the virtio_net_hdr where the device gives it. */
export async function packetsToLast(device: TunTapDevice): Promise<Buffer[]> {
  const prefix = device.offloads.mode === 'raw' ? HEADER : 0;
  const packets = await packetsUntil(device, (packet) => isLast(packet.subarray(prefix)));
  return packets.slice(0, -1).map((packet) => Buffer.from(packet.subarray(prefix)));
}

/** The same, read in batches, of a device that gives ordinary packets. */
export async function batchedToLast(device: PacketDevice): Promise<Buffer[]> {
  const packets: Buffer[] = [];
  for await (const batch of device.batches()) {
    for (const packet of batch) {
      if (isLast(packet)) return packets;
      packets.push(Buffer.from(packet));
    }
  }
  return packets;
}

export const hex = (packets: readonly Buffer[]): string[] => packets.map((packet) => packet.toString('hex'));

/**
 * ping by a host that is nothing but this program: `node out/examples/userspace-ping.js [--count=3] [ADDRESS…]`.
 *
 * The program has an Ethernet address and IP addresses of its own at one end of a TAP device, and the kernel of a
 * network namespace is its gateway at the other. It resolves the gateway by ARP and NDP, sends ICMP and ICMPv6 echo
 * requests through it, and answers when it is asked for itself; no stack of the host takes part. Without addresses it
 * pings the gateway and what lies behind it. Needs root and /dev/net/tun; nothing is left behind.
 */

import { parseArgs } from 'node:util';
import { NetworkNamespace, openTap, type TapDevice } from 'tuntap-native';
import {
  ArpOperation,
  ArpPacket,
  arpPacket,
  EthernetFrame,
  EtherType,
  ethernetFrame,
  formatIpv6,
  Icmpv4Packet,
  Icmpv4Type,
  Icmpv6Packet,
  Icmpv6Type,
  IpProtocol,
  Ipv4Packet,
  Ipv6Packet,
  icmpv4Packet,
  icmpv6Packet,
  ipv4Packet,
  ipv6Packet,
  NdpOptionType,
  NeighborMessage,
  parseIpv6,
  parseMac,
  replyToArp,
  replyToNeighborSolicitation,
} from 'tuntap-native/packet';

const MAC = '02:00:5e:00:53:02';
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const OURS = { 4: '192.0.2.2', 6: '2001:db8::2' } as const;
const GATEWAY = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;
const BEHIND = { 4: '198.51.100.1', 6: '2001:db8:1::1' } as const;
const IDENTIFIER = process.pid & 0xffff;
const PAYLOAD = Buffer.alloc(56, 'tuntap-native ');
const INTERVAL_MS = 200;
const TIMEOUT_MS = 1000;

type Family = 4 | 6;
interface Answer {
  readonly from: string;
  readonly ttl: number;
  readonly length: number;
}

const familyOf = (address: string): Family => (address.includes(':') ? 6 : 4);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What the host waits for: an address's owner, an echo's answer. */
const waiting = new Map<string, (answer: Answer | string) => void>();

function awaited<T extends Answer | string>(key: string): Promise<T | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle(undefined), TIMEOUT_MS);
    const settle = (answer: T | undefined): void => {
      clearTimeout(timer);
      waiting.delete(key);
      resolve(answer);
    };
    waiting.set(key, settle as (answer: Answer | string) => void);
  });
}

const told = (key: string, answer: Answer | string): void => waiting.get(key)?.(answer);

/** What the host does with a frame; returns what it answers. */
function receive(bytes: Buffer): Buffer | undefined {
  const frame = EthernetFrame.parse(bytes);
  if (frame?.etherType === EtherType.ARP) {
    const arp = ArpPacket.parse(frame.payload);
    if (arp?.operation === ArpOperation.REPLY) told(`owner ${arp.senderAddress}`, arp.senderMac);
    return replyToArp(bytes, { mac: MAC, address: OURS[4] });
  }
  if (frame?.etherType === EtherType.IPV4) receiveIpv4(Ipv4Packet.parse(frame.payload));
  if (frame?.etherType === EtherType.IPV6) {
    receiveIpv6(Ipv6Packet.parse(frame.payload));
    return replyToNeighborSolicitation(bytes, { mac: MAC, address: OURS[6] });
  }
  return undefined;
}

function receiveIpv4(packet: Ipv4Packet | undefined): void {
  if (packet?.destination !== OURS[4] || packet.protocol !== IpProtocol.ICMP || packet.isFragment) return;
  const message = Icmpv4Packet.parse(packet.payload);
  if (message?.type !== Icmpv4Type.ECHO_REPLY || !message.checksumValid) return;
  if (message.identifier !== IDENTIFIER) return;
  const { source: from, ttl } = packet;
  told(`echo ${message.sequence}`, { from, ttl, length: message.bytes.length });
}

function receiveIpv6(packet: Ipv6Packet | undefined): void {
  if (packet?.destination !== OURS[6] || packet.upperProtocol !== IpProtocol.ICMPV6) return;
  const message = Icmpv6Packet.parse(packet.payload);
  if (!message?.verifyChecksum(packet)) return;
  const { source: from, hopLimit: ttl } = packet;
  if (message.type === Icmpv6Type.NEIGHBOR_ADVERTISEMENT && ttl === 255) {
    const { target, linkLayerAddress } = NeighborMessage.parse(message.bytes) ?? {};
    if (linkLayerAddress !== undefined) told(`owner ${target}`, linkLayerAddress);
  }
  if (message.type !== Icmpv6Type.ECHO_REPLY || message.identifier !== IDENTIFIER) return;
  told(`echo ${message.sequence}`, { from, ttl, length: message.bytes.length });
}

/** The question for the Ethernet address of a neighbour: ARP, or a neighbor solicitation. */
function question(address: string): Buffer {
  if (familyOf(address) === 4) {
    const payload = arpPacket({
      operation: ArpOperation.REQUEST,
      senderMac: MAC,
      senderAddress: OURS[4],
      targetAddress: address,
    });
    return ethernetFrame({ destination: BROADCAST, source: MAC, etherType: EtherType.ARP, payload });
  }
  // RFC 4861 section 4.3; RFC 4291 section 2.7.1 for the group, RFC 2464 section 7 for its Ethernet address.
  const target = parseIpv6(address);
  const group = parseIpv6('ff02::1:ff00:0');
  group.set(target.subarray(13), 13);
  const ends = { source: OURS[6], destination: formatIpv6(group) };
  const option = Buffer.from([NdpOptionType.SOURCE_LINK_LAYER_ADDRESS, 1, ...parseMac(MAC)]);
  const payload = icmpv6Packet({
    ...ends,
    type: Icmpv6Type.NEIGHBOR_SOLICITATION,
    payload: Buffer.concat([target, option]),
  });
  const [a, b, c] = [...target.subarray(13)].map((byte) => byte.toString(16).padStart(2, '0'));
  return ethernetFrame({
    destination: `33:33:ff:${a}:${b}:${c}`,
    source: MAC,
    etherType: EtherType.IPV6,
    payload: ipv6Packet({ ...ends, nextHeader: IpProtocol.ICMPV6, hopLimit: 255, payload }),
  });
}

function echoRequest(target: string, gatewayMac: string, sequence: number): Buffer {
  const family = familyOf(target);
  const ends = { source: OURS[family], destination: target };
  const echo = { identifier: IDENTIFIER, sequence, payload: PAYLOAD };
  const frame = { destination: gatewayMac, source: MAC };
  if (family === 4) {
    const payload = icmpv4Packet({ type: Icmpv4Type.ECHO_REQUEST, ...echo });
    return ethernetFrame({
      ...frame,
      etherType: EtherType.IPV4,
      payload: ipv4Packet({ ...ends, protocol: IpProtocol.ICMP, payload }),
    });
  }
  const payload = icmpv6Packet({ ...ends, type: Icmpv6Type.ECHO_REQUEST, ...echo });
  return ethernetFrame({
    ...frame,
    etherType: EtherType.IPV6,
    payload: ipv6Packet({ ...ends, nextHeader: IpProtocol.ICMPV6, payload }),
  });
}

/** Pings one address as ping(8) does; returns how many answers came. */
async function ping(tap: TapDevice, target: string, count: number): Promise<number> {
  const gateway = GATEWAY[familyOf(target)];
  const owner = awaited<string>(`owner ${gateway}`);
  tap.write(question(gateway));
  const mac = await owner;
  if (mac === undefined) {
    console.log(`From ${OURS[familyOf(target)]}: ${gateway} does not answer, ${target} is unreachable`);
    return 0;
  }
  console.log(`PING ${target} via ${gateway}, which is at ${mac}`);
  const times: number[] = [];
  for (let sequence = 1; sequence <= count; sequence++) {
    const answer = awaited<Answer>(`echo ${sequence}`);
    const request = echoRequest(target, mac, sequence);
    const sent = process.hrtime.bigint();
    tap.write(request);
    const { from, ttl, length } = (await answer) ?? {};
    const ms = Number(process.hrtime.bigint() - sent) / 1e6;
    if (from !== undefined) {
      times.push(ms);
      console.log(`${length} bytes from ${from}: icmp_seq=${sequence} ttl=${ttl} time=${ms.toFixed(3)} ms`);
    }
    if (sequence < count) await sleep(INTERVAL_MS);
  }
  const average = times.reduce((sum, ms) => sum + ms, 0) / times.length;
  const rtt = [Math.min(...times), average, Math.max(...times)].map((ms) => ms.toFixed(3)).join('/');
  console.log(
    `${count} sent, ${times.length} received${times.length > 0 ? `, rtt min/avg/max = ${rtt} ms` : ''}\n`,
  );
  return times.length;
}

const { values, positionals } = parseArgs({
  options: { count: { type: 'string', default: '3' } },
  allowPositionals: true,
});
if (!/^[1-9]\d{0,5}$/.test(values.count)) throw new Error('--count is a whole number from 1 to 999,999');
const count = Number(values.count);
const targets = positionals.length > 0 ? positionals : [GATEWAY[4], BEHIND[4], GATEWAY[6], BEHIND[6]];

await using namespace = await NetworkNamespace.create();
const loopback = await namespace.link('lo');
await loopback.set({ up: true });
for (const address of Object.values(BEHIND)) await loopback.addAddress(address);
await using tap = openTap('tap0', {
  namespace,
  addresses: [`${GATEWAY[4]}/24`, `${GATEWAY[6]}/64`],
  up: true,
});
tap.on('data', (frame: Buffer) => {
  const reply = receive(frame);
  if (reply) tap.write(reply);
});
for (const target of targets) {
  if ((await ping(tap, target, count)) < count) process.exitCode = 1;
}

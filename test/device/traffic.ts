/** What the device tests send and receive with: bridged TAP devices, and sockets of a process in the namespace. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setFlagsFromString } from 'node:v8';
import type { NetworkNamespace, PacketDevice, TapDevice, TunDevice } from 'tuntap-native';
import { ethernetFrame, ipv4Packet, udpDatagram } from 'tuntap-native/packet';
import { runBeside } from '../support.ts';

/** Runs shell commands inside a namespace; throws where one fails. `$OTHER` is the path of another namespace. */
export async function shell(
  namespace: NetworkNamespace,
  commands: string,
  other?: NetworkNamespace,
): Promise<string> {
  const { status, stdout, stderr } = await runBeside(other, namespace, 'sh', '-ec', commands);
  if (status !== 0) throw new Error(`${commands}\n${stderr}`);
  return stdout;
}

/** Detaches memory, as the user may; returns whether that was possible: from Node.js 24 on, it is not. */
export function detach(memory: ArrayBufferLike): boolean {
  if ('transfer' in memory && memory.transfer instanceof Function) {
    try {
      memory.transfer();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  } else {
    setFlagsFromString('--allow-natives-syntax');
    new Function('memory', '%ArrayBufferDetach(memory)')(memory);
  }
  return memory.byteLength === 0;
}

/** Waits until a tcpdump, whose stderr is a pipe, captures. @returns what tells all that it has said until then */
export async function listening(tcpdump: ChildProcess): Promise<() => string> {
  let messages = '';
  const closed = once(tcpdump, 'close');
  await new Promise<void>((resolve, reject) => {
    tcpdump.stderr?.on('data', (text) => {
      messages += text;
      if (messages.includes('listening on')) resolve();
    });
    closed.then(() => reject(new Error(messages)), reject);
  });
  return () => messages;
}

/** Joins TAP devices by a bridge br0, so that a frame written to one is read from the others. */
export async function bridge(namespace: NetworkNamespace, ...taps: readonly TapDevice[]): Promise<void> {
  const ports = taps.map(({ name }) => `ip link set ${name} master br0 up addrgenmode none`);
  await shell(
    namespace,
    ['ip link add br0 type bridge mcast_snooping 0', ...ports, 'ip link set br0 up addrgenmode none'].join(
      '\n',
    ),
  );
}

/**
 * Lets what is written to `from` be read from `to`, at a rate that tc(8) keeps. Packets that wait for their turn
 * count against the send buffer of `from`, so that a small one fills. IPv6 is off from then on in the namespace, so
 * that the kernel sends nothing by itself.
 */
export async function slowWire(
  namespace: NetworkNamespace,
  from: TunDevice,
  to: TunDevice,
  rate = '8mbit',
): Promise<void> {
  await shell(
    namespace,
    `echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
    tc qdisc add dev ${to.name} root tbf rate ${rate} burst 2000 limit 100000000
    tc qdisc add dev ${from.name} ingress
    tc filter add dev ${from.name} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ${to.name}`,
  );
}

const EXPERIMENT = 253; // an IP protocol of RFC 3692: nothing of the kernel's own has it

/** An IPv4 packet of `size` bytes that carries a number. */
export function numberedPacket(number: number, size = 1000): Buffer {
  const payload = Buffer.alloc(size - 20);
  payload.writeUInt32BE(number);
  return ipv4Packet({ source: '192.0.2.2', destination: '192.0.2.1', protocol: EXPERIMENT, payload });
}

/** The number of a {@link numberedPacket}; undefined for other packets, which the kernel sends by itself. */
export function numberOf(packet: Buffer): number | undefined {
  return packet[0] === 0x45 && packet[9] === EXPERIMENT ? packet.readUInt32BE(20) : undefined;
}

/** The numbers of the numbered packets that are read up to `last`. */
export async function numbersUntil(device: PacketDevice, last: number): Promise<number[]> {
  const packets = await packetsUntil(
    device,
    (packet) => numberOf(packet) === last,
    (packet) => numberOf(packet) !== undefined,
  );
  return packets.map((packet) => numberOf(packet) as number);
}

/** 0 to `count` - 1. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** EtherType of IEEE 802 local experiments: nothing of the kernel's own has it. */
export const LOCAL_EXPERIMENT = 0x88b5;

export function frame(destination: string, payload: string, source = '02:00:00:00:00:77'): Buffer {
  return ethernetFrame({ destination, source, etherType: LOCAL_EXPERIMENT, payload: Buffer.from(payload) });
}

/** Reads a device as a stream until `last`, and returns the packets that `wanted` picks, that one included. */
export function packetsUntil(
  device: PacketDevice,
  last: (packet: Buffer) => boolean,
  wanted: (packet: Buffer) => boolean = () => true,
): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const packets: Buffer[] = [];
    const onData = (packet: Buffer) => {
      if (wanted(packet)) packets.push(packet);
      if (!last(packet)) return;
      device.off('data', onData);
      device.off('error', reject);
      device.pause();
      resolve(packets);
    };
    device.on('data', onData);
    device.on('error', reject);
    device.resume();
  });
}

/** A write's error code, or undefined where the kernel took the packet. */
export function write(device: PacketDevice, packet: Uint8Array): Promise<string | undefined> {
  return new Promise((resolve) => {
    device.write(packet, (error) => resolve((error as NodeJS.ErrnoException | null)?.code));
  });
}

/** An IPv4 UDP packet from 192.0.2.2, behind the device, to 192.0.2.1. */
export function udpPacket(payload: Uint8Array, destinationPort: number): Buffer {
  const addresses = { source: '192.0.2.2', destination: '192.0.2.1' };
  const datagram = udpDatagram({ ...addresses, sourcePort: 5000, destinationPort, payload });
  return ipv4Packet({ ...addresses, protocol: 17, payload: datagram });
}

const UDP_PEER = `
const { createSocket } = require('node:dgram');
const sockets = {}; const received = []; let waiting;
const check = () => { if (waiting && received.length >= waiting.count) { waiting.resolve(received.splice(0)); waiting = undefined; } };
const methods = {
  bind: (address, port) => new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', (data) => { received.push(data.toString('base64')); check(); });
    socket.on('error', reject);
    socket.bind(port, address, () => { sockets[address] = socket; resolve(socket.address().port); });
  }),
  send: async (from, port, address, payloads) => {
    for (const payload of payloads) await new Promise((resolve, reject) => sockets[from].send(
      Buffer.from(payload, 'base64'), port, address, (error) => error ? reject(error) : resolve()));
  },
  receive: (count) => new Promise((resolve) => { waiting = { count, resolve }; check(); }),
};
process.on('message', async ({ method, args }) => {
  try { process.send({ result: await methods[method](...args) }); }
  catch (error) { process.send({ error: String(error) }); }
});
process.on('disconnect', () => process.exit());
process.send({ result: 'ready' });
`;

/** A process in the namespace with UDP sockets. One call at a time. */
export class UdpPeer implements AsyncDisposable {
  readonly child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.child = child;
  }

  static async start(namespace: NetworkNamespace): Promise<UdpPeer> {
    const child = namespace.spawn(process.execPath, ['-e', UDP_PEER], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await once(child, 'message');
    return new UdpPeer(child);
  }

  /** @param port 0: any. @returns the port */
  async bind(address: string, port = 0): Promise<number> {
    return (await this.#call('bind', address, port)) as number;
  }

  /** Sends datagrams in order from the socket that is bound to `from`. */
  async send(from: string, port: number, address: string, payloads: readonly Uint8Array[]): Promise<void> {
    const encoded = payloads.map((payload) => Buffer.from(payload).toString('base64'));
    await this.#call('send', from, port, address, encoded);
  }

  /** All datagrams that came since the last call, once there are `count`. */
  async receive(count: number): Promise<Buffer[]> {
    return ((await this.#call('receive', count)) as string[]).map((data) => Buffer.from(data, 'base64'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const closed = once(this.child, 'close');
    this.child.kill('SIGKILL');
    await closed;
  }

  async #call(method: string, ...args: readonly unknown[]): Promise<unknown> {
    const answered = once(this.child, 'message');
    this.child.send({ method, args });
    const [{ result, error }] = (await answered) as [{ result?: unknown; error?: string }];
    if (error !== undefined) throw new Error(error);
    return result;
  }
}

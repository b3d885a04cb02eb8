/**
 * A learning Ethernet switch with VLANs: TAP devices are its access ports, a UDP socket its trunk to another switch.
 *
 *   node out/examples/switch/daemon.js --port eth0:10:red --port eth0:20:blue --local 192.0.2.1 --remote 192.0.2.2
 *
 * A port is the device's name, its VLAN, and the network namespace of the host whose network card it becomes (a name
 * under /run/netns, or a path; without one it stays in the switch's). Options: --ageing SECONDS (300). The line `show`
 * on the standard input prints the stations: VLAN, address, port, seconds since they were heard. It stops at SIGTERM,
 * or when its standard input ends. Needs CAP_NET_ADMIN, CAP_SYS_ADMIN to reach other namespaces, and /dev/net/tun.
 *
 * There is no spanning tree: two switches, one trunk, no loop. A frame crosses the trunk whole, so that the TAPs' MTU
 * leaves room for what is around its payload there: 14 bytes of Ethernet, 4 of the tag, 28 of IPv4 and UDP.
 */

import { parseArgs } from 'node:util';
import { openTap, type TapDevice } from 'tuntap-native';
import { formatMac } from 'tuntap-native/packet';
import { Endpoint, openUdp } from 'tuntap-native/tunnel';
import { serveControl } from '../controlled-process.ts';
import { MacTable } from './mac-table.ts';
import { accessPort, type LivePort, trunkPort } from './ports.ts';
import { forward, type Port } from './vlan-switch.ts';

const UDP_PORT = 4040;
const MTU = 1500 - 14 - 4 - 28;

const text = { type: 'string', default: '' } as const;
const { values } = parseArgs({
  options: {
    port: { type: 'string', multiple: true, default: [] },
    local: text,
    remote: text,
    ageing: { type: 'string', default: '300' },
  },
});

function openPort(option: string): { device: TapDevice; vlan: number } {
  const [, name, vlan, namespace] = option.match(/^([^:]+):(\d+)(?::(.+))?$/) ?? [];
  if (name === undefined || Number(vlan) < 1 || Number(vlan) > 4094) {
    throw new Error(`--port ${option} is not NAME:VLAN or NAME:VLAN:NAMESPACE with a VLAN of 1 to 4094`);
  }
  return { device: openTap(name, { namespace, mtu: MTU, up: true }), vlan: Number(vlan) };
}

if (!/^\d{1,9}$/.test(values.ageing)) throw new Error('--ageing is a whole number of seconds');
const socket = openUdp({
  address: values.local,
  port: UDP_PORT,
  remote: new Endpoint(values.remote, UDP_PORT),
});
const taps = values.port.map(openPort);
const ports = new Set<LivePort>([
  ...taps.map(({ device, vlan }, i) => accessPort(`port${i + 1}`, device, vlan)),
  trunkPort(socket),
]);
const table = new MacTable<Port>({ ageingMs: Number(values.ageing) * 1000 });
const sweeping = setInterval(() => table.sweep(), 1000);

/** A host that goes away takes its network card along; the switch goes on with the other ports. */
async function serve(port: LivePort): Promise<void> {
  try {
    for await (const batch of port.batches()) {
      for (const frame of batch) forward(frame, port, ports, table);
      for (const other of ports) other.flush();
    }
  } catch (error) {
    console.error(`${port.name}: ${(error as Error).message}`);
  }
  ports.delete(port);
}

function show([verb]: readonly string[]): readonly string[] {
  if (verb !== 'show') throw new Error(`'${verb}' is not show`);
  return [...table].map(({ vlan, mac, port, ageMs }) => {
    const bytes = Buffer.alloc(6);
    bytes.writeUIntBE(mac, 0, 6);
    return `${vlan} ${formatMac(bytes)} ${port.name} ${Math.floor(ageMs / 1000)}`;
  });
}

for (const port of ports) void serve(port);
await serveControl(show);
clearInterval(sweeping);
await Promise.all([socket.close(), ...taps.map(({ device }) => device.close())]);

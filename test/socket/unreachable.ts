/**
 * Run by send-costs.test.ts with fail-sends.c preloaded: sends datagrams to addresses of which some can't be reached,
 * and tells what became of each.
 */

import { NetworkNamespace, PacketBatch } from 'tuntap-native';
import { DatagramTable, Endpoint, openUdp } from 'tuntap-native/tunnel';
import { shell } from '../device/traffic.ts';

const [, , how, targets] = process.argv;
await using namespace = await NetworkNamespace.create();
await shell(
  namespace,
  `ip link add veth0 type veth peer name veth1
   ip link set veth0 up
   ip link set veth1 up
   ip addr add 192.0.2.1/24 dev veth0
   ip addr add 2001:db8::1/64 dev veth0 nodad
   ip route add unreachable 198.51.100.0/24
   ip route add prohibit 203.0.113.0/25
   ip route add blackhole 203.0.113.128/25`,
);
await using socket = openUdp({ namespace, gso: how !== 'unsegmented' });
const remotes = targets.split(',').filter(Boolean);
const batch = new PacketBatch();
const table = new DatagramTable(256);
remotes.forEach((address, i) => {
  batch.push(Buffer.alloc(10 + i));
  table.setRemote(i, new Endpoint(address, 9));
});
const statuses: number[] = [];
if (how === 'send') {
  for (const address of remotes) {
    try {
      socket.send(Buffer.from('x'), new Endpoint(address, 9));
      statuses.push(0);
    } catch (error) {
      statuses.push((error as NodeJS.ErrnoException).errno ?? 1);
    }
  }
} else {
  if (remotes.length > 0) socket.writeBatch(batch, table);
  statuses.push(...remotes.map((_, i) => batch.status(i)));
}
console.log(JSON.stringify({ statuses, refused: socket.counters.refused }));

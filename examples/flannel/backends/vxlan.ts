/**
 * The kernel's VXLAN device. It learns nothing: each host's lease tells the MAC of its device, and for each host there
 * is a route, a neighbour and an entry of the forwarding database.
 */

import { randomBytes } from 'node:crypto';
import type { Link } from 'tuntap-native/net';
import type { Backend, BackendOptions } from '../backend.ts';
import type { Lease } from '../lease.ts';
import { contains, formatAddress, formatNetwork, parseAddress } from '../network.ts';
import { Gateways } from './gateways.ts';
import { deleteLink, onceDeleted } from './links.ts';

const VNI = 1;
// Linux's own port of VXLAN, older than IANA's 4789. Flannel uses it.
const PORT = 8472;
// The outer Ethernet, IPv4, UDP and VXLAN headers.
const ENCAPSULATION = 14 + 20 + 8 + 8;

export async function openVxlan({ host, external, config, fail }: BackendOptions): Promise<Backend> {
  const { backend } = config;
  const vni = backend.integer('VNI', 1, 0xffffff, VNI);
  const mtu = backend.integer('MTU', 118, 65535, external.mtu) - ENCAPSULATION;
  const directRouting = backend.boolean('DirectRouting');
  if (backend.boolean('GBP')) throw new Error('config.Backend.GBP is not supported');
  const name = `flannel.${vni}`;
  const mac = randomMac();
  // One that a killed daemon left has the wrong MAC.
  await deleteLink(host, name);
  const link: Link = await host.addLink({
    kind: 'vxlan',
    name,
    id: vni,
    link: external.index,
    local: external.address,
    port: backend.integer('Port', 0, 65535, 0) || PORT,
    learning: backend.boolean('Learning'),
    mac,
    mtu,
  });
  const watch = onceDeleted(link, fail);
  const gateways = new Gateways({ host, external });

  /** A host on the same link needs no encapsulation if DirectRouting is set. */
  const isDirect = ({ publicIp }: Lease): boolean =>
    directRouting && contains(external.link, parseAddress(publicIp));

  const macOf = ({ data }: Lease): string => data.string('VtepMAC', '').toLowerCase();

  const addressOf = ({ subnet }: Lease): string => formatAddress(subnet.address);
  const deleteNeighbor = (lease: Lease): Promise<void> =>
    host.deleteNeighbor({ device: link.index, address: addressOf(lease) });
  const deleteFdbEntry = (lease: Lease): Promise<void> =>
    link.deleteFdbEntry({ mac: macOf(lease), address: lease.publicIp });

  return {
    data: { VNI: vni, VtepMAC: mac },
    mtu,
    async start(subnet) {
      await link.addAddress(`${formatAddress(subnet.address)}/32`);
      await link.set({ up: true });
      await gateways.start(fail);
    },
    async set(lease, old) {
      const destination = formatNetwork(lease.subnet);
      if (isDirect(lease)) {
        await gateways.set(lease.subnet, lease.publicIp);
      } else {
        // The gateway is the other host's device. It is on no network of ours; the neighbour entry tells its MAC, and
        // the forwarding database tells which host has that MAC.
        const via = addressOf(lease);
        await link.replaceFdbEntry({ mac: macOf(lease), address: lease.publicIp });
        await host.replaceNeighbor({
          device: link.index,
          address: via,
          mac: macOf(lease),
          state: 'PERMANENT',
        });
        await host.replaceRoute({ destination, via, device: link.index, onlink: true });
      }
      if (old === undefined) return;
      if (isDirect(old)) {
        if (!isDirect(lease)) gateways.forget(lease.subnet);
      } else if (isDirect(lease)) await all(deleteNeighbor(old), deleteFdbEntry(old));
      else if (macOf(old) !== macOf(lease)) await deleteFdbEntry(old);
    },
    peerOf: (lease) => `${macOf(lease)} ${lease.publicIp}`,
    async remove(lease) {
      const destination = formatNetwork(lease.subnet);
      if (isDirect(lease)) {
        await gateways.remove(lease.subnet);
      } else {
        const route = host.deleteRoute({ destination, device: link.index });
        await all(route, deleteNeighbor(lease), deleteFdbEntry(lease));
      }
    },
    async close() {
      await watch.close();
      await gateways.close();
      await deleteLink(host, name);
    },
  };
}

/** Waits for all of them. @throws the first error */
async function all(...actions: readonly Promise<void>[]): Promise<void> {
  const failed = (await Promise.allSettled(actions)).find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** Of those that nobody registers, and of one host: the second and the first bit of the first byte. */
function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0] & 0xfc) | 0x02;
  return (bytes.toString('hex').match(/../g) ?? []).join(':');
}

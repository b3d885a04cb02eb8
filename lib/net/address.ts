/** Addresses of links over rtnetlink (linux/if_addr.h). */

import type { Cidr } from '../address.js';
import { attribute, u32 } from './netlink-message.js';
import type { NetlinkSocket } from './netlink-socket.js';

const RTM_NEWADDR = 20;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const AF_INET = 2;
const AF_INET6 = 10;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;
const IFA_F_NODAD = 0x02;

/**
 * Adds an address to a link, without duplicate address detection: it is usable on return. An IPv4 network of
 * three or more hosts gets its broadcast address.
 */
export function addAddress(
  socket: NetlinkSocket,
  { index, name }: { index: number; name: string },
  cidr: Cidr,
): void {
  const { family, address, prefixLength } = cidr;
  const attributes = [attribute(IFA_LOCAL, address), attribute(IFA_ADDRESS, address)];
  if (family === 4 && prefixLength < 31) {
    const broadcast = (address.readUInt32BE() | (0xffffffff >>> prefixLength)) >>> 0;
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(broadcast);
    attributes.push(attribute(IFA_BROADCAST, bytes));
  }
  const header = Buffer.of(
    family === 4 ? AF_INET : AF_INET6,
    prefixLength,
    family === 6 ? IFA_F_NODAD : 0,
    0,
  );
  socket.request(
    'add address',
    name,
    RTM_NEWADDR,
    NLM_F_CREATE | NLM_F_EXCL,
    header,
    u32(index),
    ...attributes,
  );
}

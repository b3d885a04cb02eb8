/** The ids that a namespace has for others (linux/net_namespace.h). */

import { AttributeTable, attribute } from '../netlink/attributes.js';
import { i32, u32 } from '../netlink/codecs.js';
import type { Request } from '../netlink/request.js';

const RTM_NEWNSID = 88;
const RTM_GETNSID = 90;
const RTGENMSG_SIZE = 4; // struct rtgenmsg, padded

const table = new AttributeTable({
  nsid: attribute(1, 'NETNSA_NSID', i32),
  fd: attribute(3, 'NETNSA_FD', u32),
});

/** The id of the namespace of an nsfs fd; -1: it has none. */
export function getNsidRequest(fd: number): Request<number> {
  return {
    operation: 'get namespace id',
    headerSize: RTGENMSG_SIZE,
    table,
    type: RTM_GETNSID,
    flags: 0,
    body: Buffer.concat([Buffer.alloc(RTGENMSG_SIZE), table.encode({ fd })]),
    decode: ({ type, payload }) =>
      type === RTM_NEWNSID ? table.decode(payload, RTGENMSG_SIZE).nsid : undefined,
  };
}

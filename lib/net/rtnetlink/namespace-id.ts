/** The ids that a namespace has for others (linux/net_namespace.h). */

import { AttributeTable, attribute } from '../netlink/attributes.js';
import { i32, u32 } from '../netlink/codecs.js';
import { getRequest, type Request } from '../netlink/request.js';

const RTGENMSG_SIZE = 4; // struct rtgenmsg, padded

const table = new AttributeTable({
  nsid: attribute(1, 'NETNSA_NSID', i32),
  fd: attribute(3, 'NETNSA_FD', u32),
});
/** RTM_NEWNSID. */
const family = { type: 88, headerSize: RTGENMSG_SIZE, table } as const;

/** The id of the namespace of an nsfs fd; -1: it has none. */
export function getNsidRequest(fd: number): Request<number> {
  const body = [Buffer.alloc(RTGENMSG_SIZE), table.encode({ fd })];
  const decode: Request<number>['decode'] = ({ payload }) => table.decode(payload, RTGENMSG_SIZE).nsid;
  return getRequest(family, 'get namespace id', body, decode, { flags: 0 });
}

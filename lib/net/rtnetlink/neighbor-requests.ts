/** What can be asked about neighbours and forwarding databases. */

import { checkIp } from '../../address.js';
import { invalidArgValue, requireBoolean, requireInteger, requireObject } from '../../arguments.js';
import { NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE } from '../netlink/message.js';
import { nothing, type Request } from '../netlink/request.js';
import { AF_BRIDGE, AF_INET, AF_INET6 } from './family.js';
import {
  decodeFdbEntry,
  decodeNeighbor,
  type FdbEntry,
  NDMSG_SIZE,
  NEIGHBOR_STATES,
  type NeighborInfo,
  type NeighborState,
  NTF_MASTER,
  NTF_PROXY,
  NTF_SELF,
  ndmsg,
  neighborTable,
  RTM_DELNEIGH,
  RTM_GETNEIGH,
  RTM_NEWNEIGH,
} from './neighbor.js';

/** A neighbour to add, replace or delete. */
export interface NewNeighbor {
  /** Name or index of the link that it is on. */
  readonly device: string | number;
  /** Its address. */
  readonly address: string;
  /** Its link-layer address. Without it only `proxy` entries and deletion make sense. */
  readonly mac?: string;
  /** **Default:** `PERMANENT` */
  readonly state?: NeighborState;
  /** Whether this host is to answer for that address on the link. */
  readonly proxy?: boolean;
  /** Whether it is a router (NDP). */
  readonly router?: boolean;
}

/** An entry of a forwarding database to add, replace or delete. */
export interface NewFdbEntry {
  /** The link-layer address. */
  readonly mac: string;
  /** In this VLAN. */
  readonly vlan?: number;
  /** `permanent`: frames to it go to this host; `static`: to the port; `dynamic`: so until it ages. **Default:** `static` for ports, `permanent` elsewhere */
  readonly state?: 'permanent' | 'static' | 'dynamic';
  /** Whether the link's bridge keeps it (`master`), or the link itself. **Default:** true for the port of a bridge */
  readonly master?: boolean;
  /** Of a VXLAN: the host behind which it is. */
  readonly address?: string;
  /** Of a VXLAN: the port of that host. */
  readonly port?: number;
  /** Of a VXLAN: the network identifier there. */
  readonly vni?: number;
}

const family = { headerSize: NDMSG_SIZE, table: neighborTable } as const;
const FLAGS = {
  add: NLM_F_CREATE | NLM_F_EXCL,
  append: NLM_F_CREATE | NLM_F_APPEND,
  replace: NLM_F_CREATE | NLM_F_REPLACE,
  delete: 0,
} as const;

/** The neighbours that the kernel's filters let through, or the addresses that this host answers for. */
export function listNeighborsRequest({
  family: addressFamily,
  deviceIndex,
  proxy,
}: {
  readonly family: number;
  readonly deviceIndex?: number;
  readonly proxy: boolean;
}): Request<Omit<NeighborInfo, 'device'>> {
  return {
    ...family,
    operation: 'list neighbors',
    type: RTM_GETNEIGH,
    flags: NLM_F_DUMP,
    body: Buffer.concat([
      ndmsg(addressFamily, 0, 0, proxy ? NTF_PROXY : 0),
      neighborTable.encode({ viaIndex: deviceIndex }),
    ]),
    decode: (message) => (message.type === RTM_NEWNEIGH ? decodeNeighbor(message) : undefined),
  };
}

export function neighborRequest(
  action: 'add' | 'replace' | 'delete',
  neighbor: NewNeighbor,
  index: number,
): Request<undefined> {
  requireObject('neighbor', neighbor);
  const { address, mac, state = 'PERMANENT', proxy = false, router = false } = neighbor;
  const v4 = checkIp('neighbor.address', address).length === 4;
  requireBoolean('neighbor.proxy', proxy);
  requireBoolean('neighbor.router', router);
  if (mac === undefined && !proxy && action !== 'delete') {
    throw invalidArgValue('neighbor.mac', mac, 'is needed for an entry that is no proxy');
  }
  const wanted = action === 'delete' ? 0 : NEIGHBOR_STATES.number('neighbor.state', state);
  return {
    ...family,
    operation: `${action} neighbor`,
    subject: address,
    type: action === 'delete' ? RTM_DELNEIGH : RTM_NEWNEIGH,
    flags: FLAGS[action],
    body: Buffer.concat([
      ndmsg(v4 ? AF_INET : AF_INET6, index, wanted, (proxy ? NTF_PROXY : 0) | (router ? 128 : 0)),
      neighborTable.encode({ address, mac }),
    ]),
    decode: nothing,
  };
}

/** The entries of one bridge or VXLAN, or of one port; the kernel's filter, which old kernels ignore. */
export function listFdbRequest(filter: {
  readonly masterIndex?: number;
  readonly portIndex?: number;
}): Request<Omit<FdbEntry, 'device'>> {
  const { masterIndex, portIndex = 0 } = filter;
  return {
    ...family,
    operation: 'list forwarding database',
    type: RTM_GETNEIGH,
    flags: NLM_F_DUMP,
    body: Buffer.concat([ndmsg(AF_BRIDGE, portIndex, 0, 0), neighborTable.encode({ masterIndex })]),
    decode: (message) => (message.type === RTM_NEWNEIGH ? decodeFdbEntry(message) : undefined),
  };
}

export function fdbRequest(
  action: keyof typeof FLAGS,
  entry: NewFdbEntry,
  { index, name, isPort }: { readonly index: number; readonly name: string; readonly isPort: boolean },
): Request<undefined> {
  requireObject('entry', entry);
  const { mac, vlan, address, port, vni, master = isPort, state = isPort ? 'static' : 'permanent' } = entry;
  if (vlan !== undefined) requireInteger('entry.vlan', vlan, 1, 4094);
  requireBoolean('entry.master', master);
  // fdb_modify() of iproute2's bridge/fdb.c.
  const states = { permanent: 128, static: 64 | 2, dynamic: 2 };
  if (!Object.hasOwn(states, state)) {
    throw invalidArgValue('entry.state', state, 'must be permanent, static or dynamic');
  }
  return {
    ...family,
    operation: `${action} forwarding database entry`,
    subject: name,
    type: action === 'delete' ? RTM_DELNEIGH : RTM_NEWNEIGH,
    flags: FLAGS[action],
    body: Buffer.concat([
      ndmsg(AF_BRIDGE, index, states[state], master ? NTF_MASTER : NTF_SELF),
      neighborTable.encode({ mac, vlan, address, port, vni }),
    ]),
    decode: nothing,
  };
}

/** Forwarding databases of bridges and VXLANs: neighbour messages of AF_BRIDGE (linux/neighbour.h, bridge(8)). */

import { requireBoolean, requireInteger, requireObject, requireOneOf } from '../../arguments.js';
import type { UnknownAttribute } from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import type { Change, NetlinkMessage } from '../netlink/message.js';
import { changeRequest, getRequest, type Request } from '../netlink/request.js';
import type { BridgeLink } from './bridge.js';
import { AF_BRIDGE } from './family.js';
import {
  type FdbDestination,
  fdbTable,
  flagBits,
  NDMSG_SIZE,
  type NeighborAges,
  type NeighborFlag,
  ndmsg,
  neighborFlags,
  neighborMessages,
  neighborTable,
} from './neighbor.js';

/** An entry of a forwarding database to add, replace or delete. */
export interface NewFdbEntry extends FdbDestination {
  /** The link-layer address. */
  readonly mac: string;
  /** The link that it is behind: a port of this bridge. **Default:** this link */
  readonly device?: string | number;
  /**
   * `permanent`: frames to it go to this host; `static`: to the port; `dynamic`: so until it ages.
   * **Default:** `dynamic` for an entry with `flags`, as a list gives it; else `static` for ports, `permanent` elsewhere
   */
  readonly state?: 'permanent' | 'static' | 'dynamic' | 'stale';
  /**
   * Whether the link's bridge keeps it (`master`), or the link itself.
   * **Default:** true for the port of a bridge, unless `flags` has `self`
   */
  readonly master?: boolean;
  /** `self`: kept by the link; `extern_learn`, `sticky`, `offload`. */
  readonly flags?: readonly NeighborFlag[];
  /** Attributes that this package has no name for. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** An entry of a forwarding database, as `bridge fdb` shows it. */
export interface FdbEntry extends NewFdbEntry {
  /** Index of the link that it is behind: a port, or the bridge itself. */
  readonly deviceIndex: number;
  /** Name of that link. */
  readonly device: string;
  /** Index of the bridge. */
  readonly masterIndex?: number;
  /** `permanent`: of this host; `static`: made by a user; none: learned. */
  readonly state?: 'permanent' | 'static' | 'stale';
  readonly flags: readonly NeighborFlag[];
  /** Seconds since it was used and changed. */
  readonly ages?: NeighborAges;
}

// fdb_modify() and state_n2a() of iproute2's bridge/fdb.c: the states of neighbours mean something else here.
const STATES = { permanent: 128, static: 64 | 2, stale: 4, dynamic: 2 } as const;

export function decodeFdbEntry({ payload }: NetlinkMessage): Omit<FdbEntry, 'device'> | undefined {
  if (payload.length < NDMSG_SIZE || payload[0] !== AF_BRIDGE) return undefined;
  const {
    mac,
    probes: _probes,
    linkNetnsid: _id,
    protocol: _protocol,
    extendedFlags,
    ...rest
  } = neighborTable.decode(payload, NDMSG_SIZE);
  if (mac === undefined) return undefined;
  const bits = bytes.readU16(payload, 8);
  const state = bits & 128 ? 'permanent' : bits & 64 ? 'static' : bits & 4 ? 'stale' : undefined;
  return {
    mac,
    deviceIndex: bytes.readI32(payload, 4),
    ...(state !== undefined && { state }),
    flags: neighborFlags(payload[10], extendedFlags),
    ...rest,
  };
}

/** The entries of one bridge or VXLAN, or of one port. Old kernels ignore these filters. */
export function listFdbRequest(filter: {
  readonly masterIndex?: number;
  readonly portIndex?: number;
}): Request<Omit<FdbEntry, 'device'>> {
  const { masterIndex, portIndex = 0 } = filter;
  const body = [ndmsg(AF_BRIDGE, portIndex, 0, 0), neighborTable.encode({ masterIndex })];
  return getRequest(neighborMessages, 'list forwarding database', body, decodeFdbEntry);
}

export function fdbRequest(action: Change, entry: NewFdbEntry, link: BridgeLink): Request<undefined> {
  requireObject('entry', entry);
  const { index, name, isPort } = link;
  const { mac, vlan, flags = [], unknown } = entry;
  const { master = isPort && !flags.includes('self') } = entry;
  const { state = entry.flags !== undefined ? 'dynamic' : isPort ? 'static' : 'permanent' } = entry;
  if (vlan !== undefined) requireInteger('entry.vlan', vlan, 1, 4094);
  requireBoolean('entry.master', master);
  const others = flags.filter((flag) => flag !== 'self' && flag !== 'master');
  const [header, extendedFlags] = flagBits('entry.flags', [...others, master ? 'master' : 'self']);
  return changeRequest(neighborMessages, action, 'forwarding database entry', name, [
    ndmsg(AF_BRIDGE, index, requireOneOf('entry.state', STATES, state), header),
    neighborTable.encode({ ...fdbTable.pick(entry), mac, extendedFlags, unknown }),
  ]);
}

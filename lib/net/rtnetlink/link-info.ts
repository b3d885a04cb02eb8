/** Links as the kernel reports them. */

import { defined, type UnknownAttribute } from '../netlink/attributes.js';
import { readI32, readU16, readU32 } from '../netlink/bytes.js';
import type { NetlinkMessage } from '../netlink/message.js';
import { enumNames, flagNames } from '../netlink/names.js';
import type { BridgePortDetails } from './bridge.js';
import { type LinkDetails, toDetails } from './link-kinds.js';
import {
  IFF_UP,
  IFINFOMSG_SIZE,
  type LinkProperties,
  type LinkStatistics,
  linkPropertiesTable,
  linkTable,
} from './link-message.js';

const IFF_RUNNING = 0x40;

// In the order of `ip link`.
const FLAGS = flagNames({
  LOOPBACK: 0x8,
  BROADCAST: 0x2,
  POINTOPOINT: 0x10,
  MULTICAST: 0x1000,
  NOARP: 0x80,
  ALLMULTI: 0x200,
  PROMISC: 0x100,
  MASTER: 0x400,
  SLAVE: 0x800,
  DEBUG: 0x4,
  DYNAMIC: 0x8000,
  AUTOMEDIA: 0x4000,
  PORTSEL: 0x2000,
  NOTRAILERS: 0x20,
  UP: IFF_UP,
  LOWER_UP: 0x10000,
  DORMANT: 0x20000,
  ECHO: 0x40000,
});
// linux/if_arp.h
const TYPES = enumNames(
  {
    ether: 1,
    infiniband: 32,
    ppp: 512,
    ipip: 768,
    tunnel6: 769,
    loopback: 772,
    sit: 776,
    gre: 778,
    gre6: 823,
    netlink: 824,
    none: 0xfffe,
  },
  0xffff,
);

/** A flag of a link, as `ip link` has it (netdevice(7)). */
export type LinkFlag = ReturnType<typeof FLAGS.namesOf>[number] | 'NO-CARRIER';

const DEFAULTS = { name: '', state: 'UNKNOWN', mode: 'DEFAULT', mtu: 0, txQueueLength: 0, group: 0 } as const;
type Always = keyof typeof DEFAULTS;

/** A link at the time of the request: all that `ip -d addr` shows of it, except its addresses. */
export interface LinkInfo extends Omit<LinkProperties, Always>, Required<Pick<LinkProperties, Always>> {
  /** Its number in its namespace. */
  readonly index: number;
  /** The kind of virtual link, such as `veth` or `bridge`; none for hardware and the loopback device. */
  readonly kind?: string;
  /** The properties of its kind, which is repeated there as `kind`. None if this package does not know the kind. */
  readonly details?: LinkDetails;
  /** Its link layer. */
  readonly type: 'ether' | 'loopback' | 'none' | string | number;
  /** In the order of `ip link`. */
  readonly flags: readonly LinkFlag[];
  /** The flags as a number (netdevice(7)). */
  readonly flagBits: number;
  /** Whether it is switched on. Whether it works is in `state`. */
  readonly up: boolean;
  /** The name of the link with the index `masterIndex`. */
  readonly master?: string;
  /** What kind of port it is, such as `bridge`. */
  readonly portKind?: string;
  /** As a port of a bridge. */
  readonly port?: BridgePortDetails;
  /** The name of the link with the index `linkIndex`, if it is in the same namespace. */
  readonly link?: string;
  /** How the kernel makes IPv6 link-local addresses. */
  readonly addressGeneration?: 'eui64' | 'none' | 'stable_secret' | 'random' | number;
  /** Packets and bytes, if you asked for them. */
  readonly statistics?: LinkStatistics;
  /** Attributes that this package has no name for; views of a larger buffer. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** A link from the payload of a message; undefined if it is too short. The kernel may send counters unasked. */
export function decodeLink({ payload }: NetlinkMessage, withStatistics = false): LinkInfo | undefined {
  if (payload.length < IFINFOMSG_SIZE) return undefined;
  const flags = readU32(payload, 8);
  const decoded = linkTable.decode(payload, IFINFOMSG_SIZE);
  const { info, families, statistics, unknown } = decoded;
  const { kind, data, portKind, port } = info ?? {};
  const up = (flags & IFF_UP) !== 0;
  return {
    index: readI32(payload, 4),
    ...DEFAULTS,
    ...linkPropertiesTable.pick(decoded),
    type: TYPES.nameOf(readU16(payload, 2)),
    flags: up && !(flags & IFF_RUNNING) ? ['NO-CARRIER', ...FLAGS.namesOf(flags)] : FLAGS.namesOf(flags),
    flagBits: flags,
    up,
    ...defined({
      kind,
      details: toDetails(kind, data),
      portKind,
      port: portKind === 'bridge' ? (port as BridgePortDetails | undefined) : undefined,
      addressGeneration: families?.inet6?.addressGeneration,
      statistics: withStatistics ? statistics : undefined,
      unknown,
    }),
  };
}

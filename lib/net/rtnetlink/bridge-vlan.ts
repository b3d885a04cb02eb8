/** VLANs of bridges and their ports (IFLA_AF_SPEC of AF_BRIDGE, linux/if_bridge.h). */

import { requireBoolean, requireInteger, requireObject } from '../../arguments.js';
import {
  AttributeTable,
  attribute,
  type Codec,
  eachAttribute,
  encodeAttribute,
} from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { text, u32 } from '../netlink/codecs.js';
import { flagNames } from '../netlink/names.js';
import { changeRequest, getRequest, type Request } from '../netlink/request.js';
import type { BridgeLink } from './bridge.js';
import { AF_BRIDGE } from './family.js';
import { IFINFOMSG_SIZE, ifinfomsg, RTM_NEWLINK } from './link-message.js';

const RTM_SETLINK = 19;
const RTEXT_FILTER_BRVLAN = 2;
const IFLA_BRIDGE_FLAGS = 0;
const IFLA_BRIDGE_VLAN_INFO = 2;
const BRIDGE_FLAGS_MASTER = 1;
const BRIDGE_FLAGS_SELF = 2;
const FLAGS = flagNames({ pvid: 2, untagged: 4 });

/** A VLAN of a port, as `bridge vlan` shows it. */
export interface BridgeVlan {
  /** Its number, 1 to 4094. */
  readonly vlan: number;
  /** Whether untagged frames that come in belong to it. */
  readonly pvid: boolean;
  /** Whether its frames leave without a tag. */
  readonly untagged: boolean;
}

/** A VLAN, or a range of them, to add to a port. */
export interface NewBridgeVlan {
  /** Its number, 1 to 4094. */
  readonly vlan: number;
  /** The last VLAN of a range that begins with `vlan`. */
  readonly end?: number;
  /** Whether untagged frames that come in belong to it. **Default:** `false` */
  readonly pvid?: boolean;
  /** Whether its frames leave without a tag. **Default:** `false` */
  readonly untagged?: boolean;
}

interface VlanSpec {
  readonly flags?: number;
  readonly vlans: readonly BridgeVlan[];
  /** The last VLAN of a range that begins with the first of `vlans`. */
  readonly end?: number;
}

const vlanSpec: Codec<VlanSpec> = {
  nested: true,
  fits: () => true,
  read(from, start, end) {
    const vlans: BridgeVlan[] = [];
    for (const { type, valueStart, valueEnd } of eachAttribute(from, start, end)) {
      if (type !== IFLA_BRIDGE_VLAN_INFO || valueEnd - valueStart < 4) continue;
      const flags = FLAGS.namesOf(bytes.readU16(from, valueStart));
      vlans.push({
        vlan: bytes.readU16(from, valueStart + 2),
        pvid: flags.includes('pvid'),
        untagged: flags.includes('untagged'),
      });
    }
    return { vlans };
  },
  write({ flags = 0, vlans, end }) {
    const info = ({ vlan, pvid, untagged }: BridgeVlan, place: number): Buffer =>
      encodeAttribute(
        IFLA_BRIDGE_VLAN_INFO,
        Buffer.concat([bytes.u16((pvid ? 2 : 0) | (untagged ? 4 : 0) | place), bytes.u16(vlan)]),
      );
    const [first] = vlans;
    const infos = end
      ? [info(first, 8), info({ ...first, vlan: end }, 16)]
      : vlans.map((vlan) => info(vlan, 0));
    return Buffer.concat([encodeAttribute(IFLA_BRIDGE_FLAGS, bytes.u16(flags)), ...infos]);
  },
};

export const bridgeVlanTable = new AttributeTable({
  name: attribute(3, 'IFLA_IFNAME', text),
  spec: attribute(26, 'IFLA_AF_SPEC', vlanSpec),
  filter: attribute(29, 'IFLA_EXT_MASK', u32),
});
const vlanMessages = { type: RTM_NEWLINK, headerSize: IFINFOMSG_SIZE, table: bridgeVlanTable } as const;

/** The VLANs of every port and bridge of the namespace. */
export function listVlansRequest(): Request<{
  readonly index: number;
  readonly vlans: readonly BridgeVlan[];
}> {
  const body = [ifinfomsg(0, 0, 0, AF_BRIDGE), bridgeVlanTable.encode({ filter: RTEXT_FILTER_BRVLAN })];
  return getRequest(vlanMessages, 'list VLANs', body, ({ payload }) => {
    if (payload.length < IFINFOMSG_SIZE || payload[0] !== AF_BRIDGE) return undefined;
    const { spec } = bridgeVlanTable.decode(payload, IFINFOMSG_SIZE);
    return { index: bytes.readI32(payload, 4), vlans: spec?.vlans ?? [] };
  });
}

export function vlanRequest(
  action: 'add' | 'delete',
  vlan: NewBridgeVlan,
  { index, name, isPort }: BridgeLink,
): Request<undefined> {
  requireObject('vlan', vlan);
  const { end, pvid = false, untagged = false } = vlan;
  requireInteger('vlan.vlan', vlan.vlan, 1, 4094);
  requireBoolean('vlan.pvid', pvid);
  requireBoolean('vlan.untagged', untagged);
  if (end !== undefined) requireInteger('vlan.end', end, vlan.vlan, 4094);
  const flags = isPort ? BRIDGE_FLAGS_MASTER : BRIDGE_FLAGS_SELF;
  const spec = { flags, vlans: [{ vlan: vlan.vlan, pvid, untagged }], end };
  const body = [ifinfomsg(index, 0, 0, AF_BRIDGE), bridgeVlanTable.encode({ spec })];
  const request = changeRequest(vlanMessages, action, 'VLAN', name, body);
  return action === 'add' ? { ...request, type: RTM_SETLINK, flags: 0 } : request;
}

import { checkLinkMtu, invalidArgType, requireBoolean, requireObject } from '../../arguments.js';
import { type BridgeOptions, type BridgePortOptions, bridgePortTable, bridgeTable } from './bridge.js';
import type { LinkValues } from './link-message.js';
import type { LinkReference } from './link-names.js';

/** What can be changed of a link; what is not told stays as it is. */
export interface LinkChange {
  /** Whether it is switched on. */
  readonly up?: boolean;
  /** In bytes; the kernel knows each kind's limits. */
  readonly mtu?: number;
  /** Its link-layer address. */
  readonly mac?: string;
  /** The bridge that it becomes a port of; `null`: none any more. */
  readonly master?: LinkReference | null;
  /** A text of the user's, at most 255 bytes; `''`: none. */
  readonly alias?: string;
  /** The group that it is in. */
  readonly group?: number;
  /** In packets. */
  readonly txQueueLength?: number;
  /** How IPv6 link-local addresses are made. */
  readonly addressGeneration?: 'eui64' | 'none' | 'stable_secret' | 'random';
  /** Of a bridge. */
  readonly bridge?: BridgeOptions;
  /** Of a port of a bridge. */
  readonly port?: BridgePortOptions;
}

export function checkChange(change: LinkChange): void {
  requireObject('change', change);
  if (change.up !== undefined) requireBoolean('change.up', change.up);
  if (change.mtu !== undefined) checkLinkMtu(change.mtu);
  if (change.bridge !== undefined) requireObject('change.bridge', change.bridge);
  if (change.port !== undefined) requireObject('change.port', change.port);
  if (Object.keys(change).length === 0)
    throw invalidArgType('change', 'an object with something to change', change);
  changeValues(change);
}

/** The attributes of a change, but for the master. */
export function changeValues(change: LinkChange): LinkValues {
  const { mtu, mac, alias, group, txQueueLength, addressGeneration, bridge, port } = change;
  return {
    mtu,
    mac,
    alias,
    group,
    txQueueLength,
    families: addressGeneration === undefined ? undefined : { inet6: { addressGeneration } },
    info:
      bridge || port
        ? {
            ...(bridge && { kind: 'bridge', data: bridgeTable.pick(bridge) }),
            ...(port && { portKind: 'bridge', port: bridgePortTable.pick(port) }),
          }
        : undefined,
  };
}

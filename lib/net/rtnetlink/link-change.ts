import { checkLinkMtu, invalidArgType, requireBoolean, requireObject } from '../../arguments.js';
import { type BridgeOptions, type BridgePortOptions, bridgePortTable, bridgeTable } from './bridge.js';
import type { LinkInfo } from './link-info.js';
import { type LinkSettings, type LinkValues, linkSettingsTable } from './link-message.js';
import type { LinkReference } from './link-names.js';

/** Properties to change. Those that you leave out keep their value. An `alias` of `''` removes it. */
export interface LinkChange extends Omit<LinkSettings, 'txQueues' | 'rxQueues'> {
  /** Whether it is switched on. */
  readonly up?: boolean;
  /** The bridge that it becomes a port of; `null`: none. */
  readonly master?: LinkReference | null;
  /** How the kernel makes IPv6 link-local addresses. */
  readonly addressGeneration?: LinkInfo['addressGeneration'];
  /** Options of a bridge. */
  readonly bridge?: BridgeOptions;
  /** Options of a port of a bridge. */
  readonly port?: BridgePortOptions;
}

export function checkChange(change: LinkChange): void {
  requireObject('change', change);
  if (change.up !== undefined) requireBoolean('change.up', change.up);
  if (change.mtu !== undefined) checkLinkMtu('change.mtu', change.mtu);
  if (change.bridge !== undefined) requireObject('change.bridge', change.bridge);
  if (change.port !== undefined) requireObject('change.port', change.port);
  if (Object.keys(change).length === 0)
    throw invalidArgType('change', 'an object with something to change', change);
  changeValues(change);
}

/** The attributes of a change, except the master. */
export function changeValues({
  txQueues: _tx,
  rxQueues: _rx,
  ...change
}: LinkChange & LinkSettings): LinkValues {
  const { addressGeneration, bridge, port } = change;
  const info = {
    ...(bridge && { kind: 'bridge', data: bridgeTable.pick(bridge) }),
    ...(port && { portKind: 'bridge', port: bridgePortTable.pick(port) }),
  };
  return {
    ...linkSettingsTable.pick(change),
    families: addressGeneration === undefined ? undefined : { inet6: { addressGeneration } },
    info: bridge || port ? info : undefined,
  };
}

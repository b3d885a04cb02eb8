import { invalidArgType } from '../arguments.js';
import type { Link } from './link.js';
import type { BridgeOptions } from './rtnetlink/bridge.js';
import { findLink, type LinkReference } from './rtnetlink/link-names.js';
import type { NewLinkBase } from './rtnetlink/new-link.js';
import { type AddressedLink, addAddresses, checkSetup, withRollback } from './veth-pair.js';

/** A bridge to make. */
export interface BridgeSetup extends NewLinkBase, BridgeOptions, AddressedLink {
  /** Links of that namespace that become its ports. **Default:** none */
  readonly ports?: readonly LinkReference[];
}

/**
 * Makes a bridge and puts its ports into it. If a step fails, it removes the bridge again.
 *
 * @throws EEXIST if the name is taken; ENODEV if a port does not exist; EBUSY if one has a master already
 * @example
 * ```ts
 * const cni0 = await createBridge({ name: 'cni0', namespace: host, ports: [veth1, 'veth2'], up: true });
 * ```
 * @see bridge(8)
 */
export async function createBridge(setup: BridgeSetup): Promise<Link> {
  checkSetup(setup);
  const { namespace, ports = [], addresses: _addresses, noDad: _noDad, ...options } = setup;
  if (!Array.isArray(ports)) throw invalidArgType('ports', 'an array of links', ports);
  const links = await Promise.all(ports.map((port: LinkReference) => findLink(namespace.rtnetlink, port)));
  const bridge = await namespace.addLink({ ...options, kind: 'bridge' });
  return withRollback(bridge, async () => {
    await Promise.all(links.map((link) => link && namespace.handleOf(link).set({ master: bridge })));
    await addAddresses(bridge, setup);
    return bridge;
  });
}

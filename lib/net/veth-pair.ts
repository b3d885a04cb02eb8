import { checkCidr } from '../address.js';
import { invalidArgType, requireBoolean, requireObject } from '../arguments.js';
import type { Link } from './link.js';
import { NetworkNamespace } from './network-namespace.js';
import type { NewLinkInNamespace } from './rtnetlink/new-link.js';

/** Where a new link is to be, and its addresses. */
export interface AddressedLink {
  /** Where it is to be. */
  readonly namespace: NetworkNamespace;
  /** IPv4 and IPv6 addresses with their prefix length. **Default:** none */
  readonly addresses?: readonly string[];
  /** IPv6: no duplicate address detection, so that the addresses can be used at once. **Default:** `true` */
  readonly noDad?: boolean;
}

/** One end of a veth pair to make. */
export interface VethEnd extends NewLinkInNamespace, AddressedLink {}

/**
 * Makes a veth pair with one request, each end in its namespace. If a later step fails, such as an address, it removes
 * the pair again.
 *
 * @returns the two ends, in the order of the arguments
 * @throws EEXIST if one of the names is taken, and nothing is made
 * @example
 * ```ts
 * const [veth1, veth2] = await createVethPair(
 *   { name: 'veth1', namespace: net1, addresses: ['172.16.0.1/24'], up: true },
 *   { name: 'veth2', namespace: net2, addresses: ['172.16.0.2/24'], up: true });
 * ```
 * @see veth(4)
 */
export async function createVethPair(first: VethEnd, second: VethEnd): Promise<[Link, Link]> {
  for (const end of [first, second]) checkSetup(end);
  const { namespace, addresses: _addresses, noDad: _noDad, ...link } = first;
  const { namespace: peerNamespace, addresses: _others, noDad: _other, master, up, ...peer } = second;
  const made = await namespace.makeLink({
    ...link,
    kind: 'veth',
    peer: { ...peer, ...(peerNamespace !== namespace && { namespace: peerNamespace }) },
  });
  const near = namespace.handleOf(made);
  return withRollback(near, async () => {
    // The kernel reports a veth's peer as its link.
    const { linkIndex } = made;
    const far =
      linkIndex === undefined
        ? await peerNamespace.link(second.name)
        : peerNamespace.handleOf({ index: linkIndex, name: second.name });
    const change = { ...(master !== undefined && { master }), ...(up !== undefined && { up }) };
    await Promise.all([
      Object.keys(change).length > 0 ? far.set(change) : undefined,
      addAddresses(near, first),
      addAddresses(far, second),
    ]);
    return [near, far];
  });
}

/** Throws on what can't be right, before anything is made. */
export function checkSetup(setup: AddressedLink): void {
  requireObject('link', setup);
  const { namespace, addresses = [], noDad = true } = setup;
  if (!(namespace instanceof NetworkNamespace))
    throw invalidArgType('namespace', 'a NetworkNamespace', namespace);
  if (!Array.isArray(addresses)) throw invalidArgType('addresses', 'an array of strings', addresses);
  for (const address of addresses) checkCidr('addresses', address);
  requireBoolean('noDad', noDad);
}

export async function addAddresses(
  link: Link,
  { addresses = [], noDad = true }: AddressedLink,
): Promise<void> {
  await Promise.all(
    addresses.map((address) => link.addAddress(address, { noDad: noDad && address.includes(':') })),
  );
}

/** Removes `link` again if `build` fails. */
export async function withRollback<T>(link: Link, build: () => Promise<T>): Promise<T> {
  try {
    return await build();
  } catch (error) {
    // The caller hears of the first failure.
    await link.delete().catch(() => undefined);
    throw error;
  }
}

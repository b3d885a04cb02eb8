import { checkIndex, checkName, invalidArgType, invalidArgValue, requireObject } from '../arguments.js';
import { Link } from './link.js';
import type { Conversation } from './netlink/request-queue.js';
import type { NetworkNamespace } from './network-namespace.js';
import type { AddressInfo, Scope } from './rtnetlink/address.js';
import { SCOPES } from './rtnetlink/address.js';
import { listAddressesRequest } from './rtnetlink/address-requests.js';
import { type Family, fromFamily } from './rtnetlink/family.js';
import type { LinkInfo } from './rtnetlink/link-info.js';
import { getLink, namesOf, withNames } from './rtnetlink/link-names.js';
import { addLinkRequest, listLinksRequest } from './rtnetlink/link-requests.js';
import { type LinkReference, type NewLink, newLinkValues, referencesOf } from './rtnetlink/new-link.js';

/** Which links to list; what is not told does not matter. */
export interface LinkFilter {
  /** Of this kind. */
  readonly kind?: string;
  /** Ports of this bridge: its name or index. */
  readonly master?: string | number;
  /** Switched on, or not. */
  readonly up?: boolean;
  /** In this group. */
  readonly group?: number;
  /** With packet and byte counters. **Default:** `false` */
  readonly statistics?: boolean;
}

/** Which addresses to list; what is not told does not matter. */
export interface AddressFilter {
  /** Of this link: its name or index. */
  readonly device?: string | number;
  /** Of IPv4 or IPv6. */
  readonly family?: Family;
  /** Valid this far. */
  readonly scope?: Scope;
}

/** What a {@link NetworkNamespace} does with links and addresses. */
export abstract class LinkConfiguration {
  /** @internal */
  abstract readonly conversation: Conversation;
  /** @internal */
  protected abstract readonly self: NetworkNamespace;

  /**
   * The links, in the order of their indices.
   * @example
   * ```ts
   * for (const { name, kind, state } of await net1.links({ up: true })) console.log(name, kind, state);
   * ```
   */
  async links(filter: LinkFilter = {}): Promise<readonly LinkInfo[]> {
    requireObject('filter', filter);
    const links = await this.conversation.request(listLinksRequest(filter.statistics));
    const names = new Map(links.map(({ index, name }) => [index, name]));
    const { kind, master, up, group } = filter;
    return links
      .map((link) => withNames(link, (index) => names.get(index) ?? `if${index}`))
      .filter(
        (link) =>
          (kind === undefined || link.kind === kind) &&
          (master === undefined || link.master === master || link.masterIndex === master) &&
          (up === undefined || link.up === up) &&
          (group === undefined || link.group === group),
      );
  }

  /**
   * A handle of a link.
   * @param which its name or index
   * @throws ENODEV if there is none
   */
  async link(which: string | number): Promise<Link> {
    return new Link(this.self, await getLink(this.conversation, which));
  }

  /**
   * Makes a link.
   * @throws EEXIST if the name is taken; ENOTSUP if the kernel has no such kind
   * @example
   * ```ts
   * const vxlan = await net1.addLink({ kind: 'vxlan', name: 'vxlan1', id: 1, remote: '192.0.2.2', up: true });
   * ```
   * @see ip-link(8)
   */
  async addLink(link: NewLink): Promise<Link> {
    return new Link(this.self, await this.makeLink(link));
  }

  /** @internal */
  async makeLink(link: NewLink): Promise<LinkInfo> {
    requireObject('link', link);
    newLinkValues(link, () => 1);
    const references = referencesOf(link);
    const indices = await Promise.all(references.map((reference) => this.indexOf(reference)));
    const index = (reference: LinkReference): number => indices[references.indexOf(reference)];
    const { up, index: wanted, name } = link;
    const send = (): Promise<LinkInfo[]> =>
      this.conversation.request(addLinkRequest(newLinkValues(link, index), { up, index: wanted }));
    // A request that names the peer's namespace by an fd needs it open until it is answered.
    const peerNamespace = link.kind === 'veth' ? link.peer.namespace : undefined;
    const [made] = await (peerNamespace === undefined ? send() : peerNamespace.hold(send));
    return made ?? getLink(this.conversation, name);
  }

  /** The addresses of all links, or of those that the filter says. */
  async addresses(filter: AddressFilter = {}): Promise<readonly AddressInfo[]> {
    requireObject('filter', filter);
    const { device, family } = filter;
    fromFamily(family);
    const scope =
      filter.scope === undefined ? undefined : SCOPES.word(SCOPES.number('filter.scope', filter.scope));
    const found = (await this.conversation.request(listAddressesRequest())).filter(
      (address) =>
        (family === undefined || address.family === family) &&
        (scope === undefined || address.scope === scope) &&
        (typeof device !== 'number' || address.index === device),
    );
    const nameOf = await namesOf(this.conversation, new Set(found.map(({ index }) => index)));
    return found
      .map((address) => ({ ...address, device: nameOf(address.index) }))
      .filter((address) => typeof device !== 'string' || address.device === device);
  }

  /** @internal The index of a link in this namespace. */
  async indexOf(reference: LinkReference): Promise<number> {
    if (typeof reference === 'number') return checkIndex('link', reference);
    if (typeof reference === 'string') {
      checkName(reference, false);
      return (await getLink(this.conversation, reference)).index;
    }
    if (!(reference instanceof Link)) throw invalidArgType('link', 'a name, an index or a Link', reference);
    if (reference.namespace !== this.self)
      throw invalidArgValue('link', reference, 'is in another namespace');
    return reference.index;
  }
}

import { checkName, invalidArgValue, requireObject } from '../arguments.js';
import { EEXIST } from '../native/errno.js';
import { systemError } from '../system-error.js';
import type { Change } from './netlink/message.js';
import type { NetworkNamespace } from './network-namespace.js';
import { type AddressInfo, type AddressOptions, addressRequest } from './rtnetlink/address.js';
import type { BridgeLink } from './rtnetlink/bridge.js';
import {
  type BridgeVlan,
  listVlansRequest,
  type NewBridgeVlan,
  vlanRequest,
} from './rtnetlink/bridge-vlan.js';
import { type FdbEntry, fdbRequest, listFdbRequest, type NewFdbEntry } from './rtnetlink/fdb.js';
import { changeValues, checkChange, type LinkChange } from './rtnetlink/link-change.js';
import type { LinkInfo } from './rtnetlink/link-info.js';
import { findLink, getLink, lookUp, withDevices } from './rtnetlink/link-names.js';
import { deleteLinkRequest, type LinkName, setLinkRequest } from './rtnetlink/link-requests.js';

/**
 * A handle of a link. It finds the link by its index, so that it survives a rename. It holds nothing open. Every method
 * rejects with ENODEV once the link is gone.
 *
 * @example
 * ```ts
 * const veth1 = await net1.link('veth1');
 * await veth1.set({ up: true, mtu: 1400 });
 * await veth1.addAddress('172.16.0.1/24');
 * console.log(await veth1.get(), await veth1.addresses());
 * ```
 * @see ip-link(8)
 */
export class Link {
  #namespace: NetworkNamespace;
  #index: number;
  #name: string;

  /** @internal */
  constructor(namespace: NetworkNamespace, { index, name }: LinkName) {
    this.#namespace = namespace;
    this.#index = index;
    this.#name = name;
  }

  /** The namespace that the link was in when this handle last moved it. */
  get namespace(): NetworkNamespace {
    return this.#namespace;
  }

  /** Its number in that namespace. */
  get index(): number {
    return this.#index;
  }

  /** Its name when this handle last saw it. */
  get name(): string {
    return this.#name;
  }

  /**
   * The link as it is now.
   * @param options `statistics`: with packet and byte counters
   */
  async get({ statistics = false }: { readonly statistics?: boolean } = {}): Promise<LinkInfo> {
    const info = await getLink(this.#namespace.rtnetlink, this.#index, statistics);
    this.#name = info.name;
    return info;
  }

  /**
   * Changes the link in one request.
   * @throws EPERM without CAP_NET_ADMIN; ENODEV; other refusals have the kernel's message in `extendedAck`
   */
  async set(change: LinkChange): Promise<void> {
    checkChange(change);
    const { master } = change;
    const { rtnetlink } = this.#namespace;
    const masterIndex = master === null ? 0 : (await findLink(rtnetlink, master))?.index;
    const values = { ...changeValues(change), masterIndex };
    await rtnetlink.request(setLinkRequest(this, values, change.up));
  }

  /**
   * Gives it another name.
   * @throws EEXIST if the name is taken; EBUSY on kernels that rename only links that are down (before 6.2)
   */
  async rename(name: string): Promise<void> {
    checkName('name', name);
    await this.#namespace.rtnetlink.request(setLinkRequest(this, { name }, undefined, 'rename link'));
    this.#name = name;
  }

  /**
   * Moves it to another namespace. It loses its addresses, routes and master, and is down there. This handle follows it.
   * @param options `name`: another name, in the same step
   * @throws EEXIST if the name is taken there; EINVAL for links that can't move, such as the loopback device
   */
  async moveTo(
    namespace: NetworkNamespace,
    { name = this.#name }: { readonly name?: string } = {},
  ): Promise<void> {
    requireObject('namespace', namespace);
    if (!(namespace.fd >= 0))
      throw invalidArgValue('namespace', namespace, 'must be an open NetworkNamespace');
    checkName('options.name', name);
    const taken = name === this.#name ? [] : await lookUp(namespace.rtnetlink, name);
    if (taken.length > 0) {
      throw Object.assign(systemError(EEXIST, 'rtnetlink', name), { operation: 'move link' });
    }
    const { rtnetlink } = this.#namespace;
    try {
      await namespace.hold((fd) =>
        rtnetlink.request(setLinkRequest(this, { name, namespaceFd: fd }, undefined, 'move link')),
      );
    } catch (error) {
      // The kernel moves first. If it then could not rename, the link is there under its old name.
      const left = await lookUp(rtnetlink, this.#index);
      if (left.length === 0) await this.#arrive(namespace, this.#name);
      throw error;
    }
    await this.#arrive(namespace, name);
  }

  /** The link keeps its index unless that is taken. */
  async #arrive(namespace: NetworkNamespace, name: string): Promise<void> {
    const { index } = await getLink(namespace.rtnetlink, name);
    this.#namespace = namespace;
    this.#name = name;
    this.#index = index;
  }

  /** Removes the link; of a veth pair, the other end too. */
  async delete(): Promise<void> {
    await this.#namespace.rtnetlink.request(deleteLinkRequest(this));
  }

  /**
   * The other end of a veth pair, wherever it is; undefined for other links. It searches the namespaces that this process
   * holds open, the named ones and those of processes. If the end is in another namespace, close its `namespace`
   * after use.
   */
  async peer(): Promise<Link | undefined> {
    const { kind, linkIndex, linkNetnsid } = await this.get();
    if (kind !== 'veth' || linkIndex === undefined) return undefined;
    if (linkNetnsid === undefined) return this.#namespace.link(linkIndex);
    const namespace = await this.#namespace.findNamespace(linkNetnsid);
    try {
      return await namespace?.link(linkIndex);
    } catch (error) {
      await namespace?.close();
      throw error;
    }
  }

  /** Its addresses. */
  async addresses(): Promise<readonly AddressInfo[]> {
    return this.#namespace.addresses({ device: this.#index });
  }

  /**
   * Adds an address.
   * @param address with its prefix length: `172.16.0.1/24`. Without one it is that of a host, /32 or /128. An address
   * that {@link addresses} listed is added as it was.
   * @throws EEXIST if the link has it
   */
  async addAddress(address: string | AddressInfo, options?: AddressOptions): Promise<void> {
    await this.#namespace.rtnetlink.request(addressRequest('add', this, address, options));
  }

  /** Adds an address, or changes the lifetimes, flags and metric of one that the link has. */
  async replaceAddress(address: string | AddressInfo, options?: AddressOptions): Promise<void> {
    await this.#namespace.rtnetlink.request(addressRequest('replace', this, address, options));
  }

  /**
   * Removes an address.
   * @throws EADDRNOTAVAIL if the link does not have it
   */
  async deleteAddress(
    address: string | AddressInfo,
    options?: Pick<AddressOptions, 'peer' | 'label'>,
  ): Promise<void> {
    await this.#namespace.rtnetlink.request(addressRequest('delete', this, address, options));
  }

  /**
   * The forwarding database of a bridge or VXLAN, or the entries of a bridge for this port.
   * @see bridge(8)
   */
  async fdb(): Promise<readonly FdbEntry[]> {
    const { kind, masterIndex } = await this.get();
    const { rtnetlink } = this.#namespace;
    const index = this.#index;
    const found =
      kind === 'bridge'
        ? await rtnetlink.request(listFdbRequest({ masterIndex: index }))
        : await rtnetlink.request(listFdbRequest({ portIndex: index, masterIndex }));
    // Old kernels ignore the filter.
    const links = kind === 'bridge' ? await this.#namespace.links({ master: index }) : [];
    const members = new Set([index, ...links.map((port) => port.index)]);
    const own = found.filter(({ deviceIndex }) => members.has(deviceIndex));
    return withDevices(rtnetlink, own);
  }

  /**
   * Adds an entry to the forwarding database of the bridge that this link is a port of, or of the link itself. An entry
   * that {@link fdb} listed is added as it was, behind its own port.
   * @throws EEXIST if there is one
   */
  async addFdbEntry(entry: NewFdbEntry): Promise<void> {
    await this.#fdb('add', entry);
  }

  /** Adds one more host to an entry of a VXLAN. */
  async appendFdbEntry(entry: NewFdbEntry): Promise<void> {
    await this.#fdb('append', entry);
  }

  /** Adds an entry, or changes the one that is there. */
  async replaceFdbEntry(entry: NewFdbEntry): Promise<void> {
    await this.#fdb('replace', entry);
  }

  /**
   * Removes an entry.
   * @throws ENOENT if there is none
   */
  async deleteFdbEntry(entry: NewFdbEntry): Promise<void> {
    await this.#fdb('delete', entry);
  }

  async #fdb(action: Change, entry: NewFdbEntry): Promise<void> {
    fdbRequest(action, entry, { index: 1, name: '', isPort: false });
    await this.#namespace.rtnetlink.request(fdbRequest(action, entry, await this.#asPort(entry.device)));
  }

  /** The VLANs of a bridge or of a port; none if the kernel has no VLANs. */
  async vlans(): Promise<readonly BridgeVlan[]> {
    const [found] = await Promise.all([this.#namespace.rtnetlink.request(listVlansRequest()), this.get()]);
    return found.filter(({ index }) => index === this.#index).flatMap(({ vlans }) => vlans);
  }

  /**
   * Adds a VLAN, or a range of them, to a bridge or to a port.
   * @throws ENOTSUP if the kernel has no VLANs
   */
  async addVlan(vlan: NewBridgeVlan): Promise<void> {
    await this.#vlan('add', vlan);
  }

  /** Removes a VLAN, or a range of them. */
  async deleteVlan(vlan: Pick<NewBridgeVlan, 'vlan' | 'end'>): Promise<void> {
    await this.#vlan('delete', vlan);
  }

  async #vlan(action: 'add' | 'delete', vlan: NewBridgeVlan): Promise<void> {
    vlanRequest(action, vlan, { index: 1, name: '', isPort: true });
    await this.#namespace.rtnetlink.request(vlanRequest(action, vlan, await this.#asPort()));
  }

  /** This link, or another of its namespace. */
  async #asPort(device: string | number = this.#index): Promise<BridgeLink> {
    const { index, name, portKind } = await getLink(this.#namespace.rtnetlink, device);
    return { index, name, isPort: portKind === 'bridge' };
  }
}

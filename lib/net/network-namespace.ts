import type { ChildProcess } from 'node:child_process';
import { invalidArgType, invalidArgValue, requireObject } from '../arguments.js';
import { native } from '../native/addon.js';
import { closing, type Descriptor } from '../native/descriptor.js';
import { Link } from './link.js';
import { type AddressFilter, type LinkFilter, listAddresses, listLinks } from './link-list.js';
import { type MonitorOptions, NetworkMonitor } from './monitor.js';
import {
  createAnonymous,
  createNamed,
  deleteName,
  fdToEnter,
  listNames,
  openReference,
} from './namespace/reference.js';
import { namespacePaths } from './namespace/search.js';
import { type NamespaceSpawnOptions, spawnIn } from './namespace/spawn.js';
import { readSysctl, writeSysctl } from './namespace/sysctl.js';
import { NamespaceSockets } from './namespace-sockets.js';
import { closedError, RequestQueue } from './netlink/request-queue.js';
import type { AddressInfo } from './rtnetlink/address.js';
import type { LinkInfo } from './rtnetlink/link-info.js';
import { getLink } from './rtnetlink/link-names.js';
import type { LinkName } from './rtnetlink/link-requests.js';
import { getNsidRequest } from './rtnetlink/namespace-id.js';
import type { NewLink } from './rtnetlink/new-link.js';

/** Options of {@link NetworkNamespace.create}. */
export interface NewNamespaceOptions {
  /**
   * Whether the namespace belongs to a user namespace, in which this user is root. `true`: always; `false`: never.
   * **Default:** if this process lacks CAP_SYS_ADMIN
   */
  readonly user?: boolean;
}

/** What names a network namespace: an open one, a name under /run/netns, the path of an nsfs file, or a pid. */
export type NamespaceReference = NetworkNamespace | string | number;

/**
 * A network namespace: devices, addresses, routes and sockets of its own.
 *
 * An object of this class holds the namespace open, so an anonymous one is gone once the object, and everything
 * in the namespace, is closed. A named one is a file under /run/netns and stays until {@link delete}.
 *
 * @example
 * ```ts
 * const net1 = await NetworkNamespace.create();
 * const tun = openTun('tun0', { namespace: net1, addresses: ['192.0.2.1/24'], up: true });
 * net1.spawn('ping', ['-c3', '192.0.2.2'], { stdio: 'inherit' });
 * ```
 * @see network_namespaces(7), ip-netns(8)
 */
export class NetworkNamespace extends NamespaceSockets implements AsyncDisposable {
  /** The name under /run/netns, or undefined for an anonymous namespace. */
  override readonly name: string | undefined;
  /** @internal */
  override readonly rtnetlink: RequestQueue;
  readonly #descriptor: Descriptor;
  readonly #monitors = new Set<NetworkMonitor>();
  readonly #holders = new Set<Promise<unknown>>();
  readonly #isCurrent: boolean;
  #closed = false;

  private constructor(descriptor: Descriptor, name?: string) {
    super();
    this.#descriptor = descriptor;
    this.name = name;
    this.#isCurrent = fdToEnter(descriptor.fd()) < 0;
    this.rtnetlink = new RequestQueue(() => this.fdToEnter());
  }

  /**
   * Makes a new, empty namespace, whose loopback device is down.
   *
   * Without CAP_SYS_ADMIN, an anonymous namespace belongs to a user namespace that this process makes once; see
   * {@link rootless}.
   * @param name makes it one that `ip netns` lists, which needs CAP_SYS_ADMIN; without it the namespace is anonymous
   * @throws EPERM for a name without CAP_SYS_ADMIN, or if this machine forbids user namespaces: the message says which
   * setting does; ENOSPC or EUSERS if there are too many; EEXIST if the name is taken
   */
  static async create(name?: string, options: NewNamespaceOptions = {}): Promise<NetworkNamespace> {
    requireObject('options', options);
    const { user } = options;
    if (user !== undefined && typeof user !== 'boolean')
      throw invalidArgType('options.user', 'a boolean', user);
    if (name === undefined) return new NetworkNamespace(await createAnonymous(user));
    if (user) throw invalidArgValue('options.user', user, 'must not be true for a namespace with a name');
    return new NetworkNamespace(await createNamed(name), name);
  }

  /**
   * Opens a namespace that exists.
   * @param reference a name under /run/netns, the path of an nsfs file, or the pid of a process in it
   * @throws ENOENT if there is none; TypeError `ERR_INVALID_ARG_VALUE` if it is something else
   */
  static async open(reference: string | number): Promise<NetworkNamespace> {
    const named = typeof reference === 'string' && !reference.includes('/');
    return new NetworkNamespace(openReference(reference), named ? reference : undefined);
  }

  /** The namespace that this process is in. */
  static async current(): Promise<NetworkNamespace> {
    return new NetworkNamespace(openReference('/proc/thread-self/ns/net'));
  }

  /** The names under /run/netns, which `ip netns` lists too. A name may be left over, of a namespace that is gone. */
  static async list(): Promise<readonly string[]> {
    return listNames();
  }

  /**
   * Removes the name of a namespace, also one that is left over. The namespace ends when nothing holds it any more.
   * @throws ENOENT if there is no such name; EPERM or EBUSY without CAP_SYS_ADMIN
   */
  static async delete(name: string): Promise<void> {
    await deleteName(name);
  }

  /**
   * Whether the namespace belongs to another user namespace than this process does. Then this process has all
   * capabilities over it without being root, and so have the programs that {@link spawn} starts; they see themselves as
   * uid 0.
   */
  get rootless(): boolean {
    return native().isRootless(this.openFd()) === 1;
  }

  /** The nsfs fd, or -1 once closed. This object owns it: do not close it. */
  get fd(): number {
    return this.#closed ? -1 : this.#descriptor.fd();
  }

  /**
   * The links, in the order of their indices.
   * @throws ENODEV if `filter.master` names no link
   * @example
   * ```ts
   * for (const { name, kind, state } of await net1.links({ up: true })) console.log(name, kind, state);
   * ```
   */
  async links(filter: LinkFilter = {}): Promise<readonly LinkInfo[]> {
    return listLinks(this.rtnetlink, filter);
  }

  /**
   * A handle of a link.
   * @param which its name, an alternative name, or its index
   * @throws ENODEV if there is none
   */
  async link(which: string | number): Promise<Link> {
    return this.handleOf(await getLink(this.rtnetlink, which));
  }

  /**
   * Makes a link.
   * @param link what it is to be, or what {@link links} listed: a link is made like that one
   * @throws EEXIST if the name is taken; ENOTSUP if the kernel has no such kind
   * @example
   * ```ts
   * const vxlan = await net1.addLink({ kind: 'vxlan', name: 'vxlan1', id: 1, remote: '192.0.2.2', up: true });
   * ```
   * @see ip-link(8)
   */
  async addLink(link: NewLink | LinkInfo): Promise<Link> {
    return this.handleOf(await this.makeLink(link));
  }

  /** @internal */
  handleOf(link: LinkName): Link {
    return new Link(this, link);
  }

  /**
   * The addresses that the filter selects, or all.
   * @throws ENODEV if `filter.device` names no link
   */
  async addresses(filter: AddressFilter = {}): Promise<readonly AddressInfo[]> {
    return listAddresses(this.rtnetlink, filter);
  }

  /**
   * Starts a command inside the namespace. As with `ip netns exec`, the command has a mount namespace of its own: its
   * /sys is that of the network namespace, and keeps the flags of yours, such as read-only. If this object has a
   * {@link name}, the files under /etc/netns/NAME hide those of the same name under /etc. There is no shell. A command
   * that can't be run ends with status 127 (not found) or 126, and its error is on its stderr.
   * @param options as for node:child_process; without `shell`, `argv0`, `uid` and `gid`
   * @throws ENOTDIR if `options.cwd` is no directory; another wrong `cwd` is an `'error'` event of the child, as in Node.js
   * @see child_process.spawn, ip-netns(8)
   */
  spawn(command: string, args: readonly string[] = [], options: NamespaceSpawnOptions = {}): ChildProcess {
    return spawnIn({ fd: this.openFd(), name: this.name }, command, args, options);
  }

  /**
   * Watches for changes, from this call on.
   * @throws RangeError, TypeError for bad options
   * @example
   * ```ts
   * for await (const event of net1.monitor({ types: ['link'], snapshot: true })) {
   *   if (event.type === 'link') console.log(event.change, event.link.name, event.link.state);
   * }
   * ```
   * @see ip-monitor(8)
   */
  monitor(options: MonitorOptions = {}): NetworkMonitor {
    const monitor = new NetworkMonitor(this, options, (closed) => this.#monitors.delete(closed));
    this.#monitors.add(monitor);
    return monitor;
  }

  /**
   * A network setting of this namespace.
   * @param name such as `net.ipv4.ip_forward`; with slashes if a part of it contains a dot
   * @throws ENOENT if there is none
   */
  async sysctl(name: string): Promise<string> {
    return readSysctl(this.fdToEnter(), name);
  }

  /**
   * Changes a network setting of this namespace.
   * @throws EINVAL for a value that the kernel does not accept; EACCES if the setting can only be read
   * @example
   * ```ts
   * await router.setSysctl('net.ipv4.ip_forward', true);
   * ```
   */
  async setSysctl(name: string, value: string | number | boolean): Promise<void> {
    writeSysctl(this.fdToEnter(), name, value);
  }

  /**
   * Closes the namespace and ends its monitors. It waits for requests that the kernel has; the others are rejected with
   * `ERR_TUNTAP_CLOSED`. Closing twice is harmless.
   */
  async close(): Promise<void> {
    this.#closed = true;
    for (const monitor of this.#monitors) await monitor.close();
    await this.rtnetlink.close();
    await Promise.allSettled(this.#holders);
    this.#descriptor.close();
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * The id that this namespace has for another, as in `linkNetnsid` of a link; undefined if it has none yet. The kernel
   * assigns one when a link first connects the two.
   * @see ip-netns(8), `ip netns list-id`
   */
  async nsid(other: NetworkNamespace): Promise<number | undefined> {
    if (!(other instanceof NetworkNamespace)) throw invalidArgType('other', 'a NetworkNamespace', other);
    const [nsid] = await other.hold((fd) => this.rtnetlink.request(getNsidRequest(fd)));
    return nsid === undefined || nsid < 0 ? undefined : nsid;
  }

  /** @internal The namespace that this one knows by that id. The caller closes it. */
  async findNamespace(nsid: number): Promise<NetworkNamespace | undefined> {
    for (const path of namespacePaths()) {
      let candidate: NetworkNamespace;
      try {
        candidate = await NetworkNamespace.open(path);
      } catch {
        continue; // it is gone meanwhile, or this process may not see it
      }
      if ((await this.nsid(candidate)) === nsid) return candidate;
      await candidate.close();
    }
    return undefined;
  }

  /** @internal */
  openFd(): number {
    if (this.#closed) throw closedError();
    return this.#descriptor.fd();
  }

  /** @internal For opening sockets and settings: -1 for the own namespace, as entering another one is a privilege. */
  override fdToEnter(): number {
    const fd = this.openFd();
    return this.#isCurrent ? -1 : fd;
  }

  /** @internal Keeps the fd open while a request that names it is under way, even if {@link close} is called. */
  async hold<T>(use: (fd: number) => Promise<T>): Promise<T> {
    const used = use(this.openFd());
    this.#holders.add(used);
    try {
      return await used;
    } finally {
      this.#holders.delete(used);
    }
  }
}

/** Runs `use` with an nsfs fd of the namespace, or -1 for the process's own. */
export function withNamespace<T>(reference: NamespaceReference | undefined, use: (fd: number) => T): T {
  if (reference === undefined) return use(-1);
  if (reference instanceof NetworkNamespace) {
    if (reference.fd < 0) throw invalidArgValue('namespace', reference, 'is closed');
    return use(reference.fdToEnter());
  }
  return closing(openReference(reference), (fd) => use(fdToEnter(fd)));
}

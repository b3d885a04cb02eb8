import { codedError } from '../arguments.js';
import type { Link } from '../net/link.js';
import { sysctlParts } from '../net/namespace/sysctl.js';
import { NetworkNamespace } from '../net/network-namespace.js';
import type { LinkInfo } from '../net/rtnetlink/link-info.js';
import { createVethPair } from '../net/veth-pair.js';
import { drawMermaid, drawSvg } from './drawing.js';
import { type LabDescription, type LabHost, type LabPlan, type PlannedEnd, planLab } from './plan.js';

// The part of a setting that names a link: net.ipv4.conf.eth0.rp_filter.
const LINK_PART = 3;

const OPERATIONAL_TIMEOUT_MS = 5000;

/** A network of hosts that {@link createLab} made. It exists until {@link close}. */
export class Lab<H extends string = string> implements AsyncDisposable {
  /** The hosts by their names. */
  readonly hosts: Readonly<Record<H, NetworkNamespace>>;
  /** The veth pairs in the order of the description, each as its two ends. */
  readonly links: readonly (readonly [Link, Link])[];
  readonly #plan: LabPlan;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(
    plan: LabPlan,
    hosts: Readonly<Record<H, NetworkNamespace>>,
    links: readonly (readonly [Link, Link])[],
  ) {
    this.#plan = plan;
    this.hosts = hosts;
    this.links = links;
  }

  /**
   * The described lab as a Mermaid flowchart, which GitHub and GitLab show in Markdown.
   * @see {@link https://mermaid.js.org/syntax/flowchart.html | Mermaid}
   */
  toMermaid(): string {
    return drawMermaid(this.#plan);
  }

  /** The described lab as an SVG image: a box for each host, with its links and routes. */
  toSvg(): string {
    return drawSvg(this.#plan);
  }

  /**
   * Removes the names of the namespaces and closes them. A namespace ends when no process and no open device is in it
   * any more. Closing twice is harmless.
   */
  close(): Promise<void> {
    this.#closing ??= tearDown(Object.values<NetworkNamespace>(this.hosts));
    return this.#closing;
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Builds a network from a description: hosts, each a network namespace, veth pairs between them, bridges and routes. All
 * is up and usable when it resolves. If a step fails, it takes everything down again.
 *
 * @throws TypeError, RangeError for a description that can't be right (an unknown host, a name given
 * twice, an invalid address), before anything is made; EPERM without CAP_SYS_ADMIN; EEXIST if the name of a namespace is
 * taken; ENETUNREACH for a route whose gateway is on no link; `ERR_TUNTAP_LINK_DOWN`, with the names in `host` and
 * `links`, if links are not up after five seconds
 * @example
 * ```ts
 * const lab = await createLab({
 *   hosts: {
 *     alice: { routes: [{ destination: 'default', via: '192.0.2.1' }] },
 *     router: { forwarding: true },
 *     bob: { routes: [{ destination: 'default', via: '198.51.100.1' }] },
 *   },
 *   links: [
 *     [{ host: 'alice', addresses: ['192.0.2.2/24'] }, { host: 'router', addresses: ['192.0.2.1/24'] }],
 *     [{ host: 'router', addresses: ['198.51.100.1/24'], mtu: 1400 },
 *       { host: 'bob', addresses: ['198.51.100.2/24'], mtu: 1400 }],
 *   ],
 * });
 * lab.hosts.alice.spawn('ping', ['-c3', '198.51.100.2'], { stdio: 'inherit' });
 * writeFileSync('lab.svg', lab.toSvg());
 * await lab.close();
 * ```
 */
export async function createLab<H extends string>(description: LabDescription<H>): Promise<Lab<H>> {
  const plan = planLab(description);
  const namespaces = new Map<string, NetworkNamespace>();
  const of = (host: string): NetworkNamespace => namespaces.get(host) as NetworkNamespace;
  const hosts = [...plan.hosts];
  try {
    await settled(
      hosts.map(async ([host, { namespace }]) => {
        namespaces.set(host, await NetworkNamespace.create(namespace));
      }),
    );
    await settled(hosts.map(([host, setup]) => prepare(of(host), setup, linkNames(plan, host))));
    const links = await settled(plan.links.map((ends) => connect(ends, of)));
    await settled(
      plan.links.flatMap((ends, i) =>
        ends.map((end, side) => configure(links[i][side], end, plan.hosts.get(end.host))),
      ),
    );
    await settled(hosts.map(([host]) => whenUp(host, of(host), pluggedNames(plan, host))));
    await settled(hosts.map(([host, { routes = [] }]) => addRoutes(of(host), routes)));
    // In the order of the description.
    const byName = Object.fromEntries(hosts.map(([host]) => [host, of(host)]));
    return new Lab(plan, byName as Record<H, NetworkNamespace>, links);
  } catch (error) {
    // The caller hears of the first failure.
    await tearDown([...namespaces.values()]).catch(() => undefined);
    throw error;
  }
}

/** Like Promise.all, but no step is under way any more when it rejects. */
async function settled<T>(steps: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(steps);
  return Promise.all(steps);
}

function linkNames(plan: LabPlan, host: string): readonly string[] {
  const ends = plan.links.flat().filter((end) => end.host === host);
  return [...(plan.hosts.get(host)?.bridges ?? []), ...ends].map(({ name }) => name);
}

/** Prepares the loopback device, the settings that need no link, and the bridges. */
async function prepare(namespace: NetworkNamespace, setup: LabHost, names: readonly string[]): Promise<void> {
  const { forwarding = false, sysctls = {}, bridges = [] } = setup;
  if (forwarding) await namespace.setSysctl('net.ipv4.ip_forward', true);
  await setIpv6(namespace, { 'default.accept_dad': false, 'all.forwarding': forwarding });
  for (const [name, value] of Object.entries(sysctls)) {
    if (!names.includes(sysctlParts(name)[LINK_PART])) await namespace.setSysctl(name, value);
  }
  const loopback = await namespace.link('lo');
  await loopback.set({ up: true });
  for (const bridge of bridges) {
    const { addresses: _addresses, up: _up, ...link } = bridge;
    await configure(await namespace.addLink({ ...link, kind: 'bridge' }), bridge, setup);
  }
}

/** Makes settings of IPv6, unless the kernel is without it. */
async function setIpv6(namespace: NetworkNamespace, settings: Record<string, boolean>): Promise<void> {
  try {
    for (const [name, value] of Object.entries(settings)) {
      await namespace.setSysctl(`net.ipv6.conf.${name}`, value);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function connect(
  ends: readonly [PlannedEnd, PlannedEnd],
  of: (host: string) => NetworkNamespace,
): Promise<[Link, Link]> {
  const [first, second] = ends.map(({ host, addresses: _addresses, tbf: _tbf, up: _up, ...link }) => ({
    ...link,
    namespace: of(host),
  }));
  return createVethPair(first, second);
}

/** Makes a link's settings, addresses and token bucket, and switches it on. */
async function configure(
  link: Link,
  { addresses = [], tbf, up = true }: Pick<PlannedEnd, 'addresses' | 'tbf' | 'up'>,
  { sysctls = {} }: LabHost = {},
): Promise<void> {
  const { namespace, index, name } = link;
  for (const [setting, value] of Object.entries(sysctls)) {
    if (sysctlParts(setting)[LINK_PART] === name) await namespace.setSysctl(setting, value);
  }
  for (const address of addresses) await link.addAddress(address);
  if (tbf !== undefined) await namespace.addQdisc({ ...tbf, device: index, kind: 'tbf' });
  await link.set({ up });
}

/** The links of a host that will have a carrier: ends of veth pairs, then the bridges that those are ports of. */
function pluggedNames(plan: LabPlan, host: string): readonly string[] {
  const ends = plan.links
    .filter((pair) => pair.every(({ up = true }) => up))
    .flat()
    .filter((end) => end.host === host);
  const bridges = (plan.hosts.get(host)?.bridges ?? []).filter(
    // With the spanning tree protocol, a bridge takes half a minute.
    ({ name, up = true, stp = false }) => up && !stp && ends.some(({ master }) => master === name),
  );
  return [...ends, ...bridges].map(({ name }) => name);
}

/**
 * Resolves when links are operational. The kernel sets a link's state up to a second after both ends are up
 * (net/core/link_watch.c). Until then it drops packets.
 */
async function whenUp(host: string, namespace: NetworkNamespace, names: readonly string[]): Promise<void> {
  const waiting = new Map<number, LinkInfo>();
  const see = (link: LinkInfo): unknown =>
    link.state === 'UP'
      ? waiting.delete(link.index)
      : waiting.has(link.index) && waiting.set(link.index, link);
  for (const name of names) {
    // Linux 6.8 and later look at once if a single link is requested.
    const link = await (await namespace.link(name)).get();
    if (link.state !== 'UP') waiting.set(link.index, link);
  }
  if (waiting.size === 0) return;
  const signal = AbortSignal.timeout(OPERATIONAL_TIMEOUT_MS);
  try {
    for await (const event of namespace.monitor({ types: ['link'], snapshot: true, signal })) {
      if (event.type === 'snapshot') event.links?.forEach(see);
      else if (event.type === 'link') see(event.link);
      if (waiting.size === 0) return;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    const states = [...waiting.values()].map(({ name, state }) => `'${name}' is ${state}`).join(', ');
    const message =
      `Links of the host '${host}' are not up after ${OPERATIONAL_TIMEOUT_MS / 1000} seconds: ${states}. ` +
      'Something in its network namespace, or in that of the other end, keeps them down';
    const links = [...waiting.values()].map(({ name }) => name);
    throw codedError('ERR_TUNTAP_LINK_DOWN', message, { host, links });
  }
}

async function addRoutes(namespace: NetworkNamespace, routes: LabHost['routes'] & object): Promise<void> {
  for (const route of routes) await namespace.addRoute(route);
}

async function tearDown(namespaces: readonly NetworkNamespace[]): Promise<void> {
  await settled(
    namespaces.map(async (namespace) => {
      const { name } = namespace;
      try {
        if (name !== undefined) await NetworkNamespace.delete(name);
      } catch (error) {
        // ENOENT: somebody else removed it.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      } finally {
        await namespace.close();
      }
    }),
  );
}

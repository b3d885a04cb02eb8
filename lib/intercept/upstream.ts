/** Connections of the interceptor's own, made by the thread that will relay them. */

import { isIP } from '../address.js';
import { ADDRESS_FAMILIES, Endpoint } from '../endpoint.js';
import { native } from '../native/addon.js';
import { EINPROGRESS, EPROTO } from '../native/errno.js';
import { localOf, type RoutingOptions, setRouting, socketError } from '../net/namespace/sockets.js';
import { check } from '../system-error.js';
import { authority, connectMessages, type Destination, type ProxyServer, refusedByProxy } from './proxy.js';
import { Relay } from './relay.js';

/** How a connection is made. */
export interface UpstreamOptions extends RoutingOptions {
  readonly via?: ProxyServer;
}

/** What hears how far an attempt has come. */
export interface UpstreamHooks {
  /** The address is known; what this throws ends the attempt before anything is sent. */
  found(remote: Endpoint): void;
  /**
   * Gets the relay and the connection's ends before an answer can come, for each address of the host that is tried; aborting
   * the relay ends the attempt with ECANCELED.
   */
  begun(relay: Relay, local: Endpoint, remote: Endpoint): void;
}

const PROTOCOLS = { direct: 0, socks5: 1, http: 2 } as const;

/**
 * Connects, through the proxy if there is one, which then looks names up. Resolves to a relay that has one side yet.
 * @throws errors as `net.connect` has them; EACCES, ECONNREFUSED and the like by the proxy's reply
 */
export async function dialUpstream(
  destination: Destination,
  options: UpstreamOptions,
  { found, begun }: UpstreamHooks,
): Promise<Relay> {
  const { via } = options;
  const messages = connectMessages(via, destination);
  const { host, port } = via ?? destination;
  const addresses = isIP(host) === 0 ? await addressesOf(host) : [host];
  let first: Error | undefined;
  for (const address of addresses) {
    const remote = new Endpoint(address, port);
    found(remote);
    const fd = openConnecting(remote, options);
    const local = localOf(fd);
    const relay = Relay.dial(fd, PROTOCOLS[via?.protocol ?? 'direct'], messages);
    begun(relay, local, remote);
    const failure = await relay.connected;
    if (failure === undefined) return relay;
    const { error, reply } = failure;
    if (via !== undefined && reply !== 0) throw refusedByProxy(via, destination, reply);
    const failed = socketError(error, 'connect', remote);
    if (via !== undefined) {
      const what = error === EPROTO ? `it does not speak ${via.protocol}` : 'the proxy failed';
      failed.message += `, for ${authority(destination)}: ${what}`;
    }
    first ??= failed;
  }
  throw first;
}

async function addressesOf(host: string): Promise<readonly string[]> {
  const { lookup } = process.getBuiltinModule('node:dns/promises');
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** A socket whose connect(2) is under way. */
function openConnecting(remote: Endpoint, options: RoutingOptions): number {
  const family = ADDRESS_FAMILIES[remote.family];
  const fd = check<number>(native().openStreamSocket(family), 'socket');
  try {
    setRouting(fd, options);
    const started = native().connectSocket(fd, family, remote.entry);
    if (started < 0 && started !== EINPROGRESS) throw socketError(started, 'connect', remote);
    return fd;
  } catch (error) {
    native().closeFd(fd);
    throw error;
  }
}

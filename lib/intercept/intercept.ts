import {
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
  requireObject,
} from '../arguments.js';
import { VIRTIO_HEADER_SIZE } from '../device/offload.js';
import { TunDevice } from '../device/tun-tap-device.js';
import { checkRouting } from '../net/namespace/sockets.js';
import { Interceptor } from './interceptor.js';
import { openStack, type StackKind } from './stack.js';

/** Options of {@link intercept}. */
export interface InterceptOptions {
  /**
   * Which TCP stack accepts the connections. `'private'`: that of a network namespace of the interceptor's own. `'shared'`:
   * that of the namespace that the device is in, for where no namespace can be made. **Default:** `'private'`
   */
  readonly stack?: StackKind;
  /** Milliseconds in which a connection must be decided about; then it is dropped. **Default:** `60000` */
  readonly decisionTimeout?: number;
  /** Connections that may wait for a decision at once; SYNs beyond are dropped. **Default:** `1024` */
  readonly maxPending?: number;
  /** Connections that there may be at once, up to 524,288. For a SYN beyond, the oldest one that is accepted but whose client
   * has not ended its handshake makes way; if there is none, the SYN is dropped. **Default:** `65536` */
  readonly maxConnections?: number;
  /** Milliseconds without a packet after which a connection is reset. **Default:** `7440000`, the 2 hours 4 minutes of RFC 5382 */
  readonly idleTimeout?: number;
  /** Flows of UDP datagrams that there may be at once, up to 1,048,576; then the longest idle one ends. **Default:** `65536` */
  readonly maxFlows?: number;
  /** Milliseconds without a datagram after which a flow ends. **Default:** `120000` */
  readonly flowTimeout?: number;
  /**
   * Whether to answer the clients' questions for names, which are then told as `destination.name` of connections and flows:
   * all UDP datagrams to port 53 are answered with addresses of 198.18.0.0/15 and fd74:6e74:6e61:6d65::/64, which must
   * be routed to the device. An address stays a name's while connections use it, and for 5 minutes.
   * **Default:** `false`
   */
  readonly names?: boolean;
  /**
   * The firewall mark (SO_MARK) of the packets that {@link Interceptor.connect} and {@link InterceptedConnection.relayTo} send,
   * so that a routing rule for it, such as `{ fwmark: 7, table: 100 }`, leads them past the device. What clients send does not
   * get it. Needs CAP_NET_ADMIN in the process's own network. **Default:** none
   */
  readonly mark?: number;
  /**
   * The only link, by name, that these connections use (SO_BINDTODEVICE), whatever the routes to the device say. Needs no
   * capability; before Linux 5.7, CAP_NET_RAW. **Default:** any
   */
  readonly device?: string;
}

const MAX_TIMEOUT = 2 ** 31 - 1;

/**
 * Turns the packets of a TUN device into connections: the interceptor reads the device from now on, until it is closed.
 * @param tun its MTU and offloads decide the speed: `offload: 'raw'` is the fastest
 * @throws EPERM if no namespace can be made; Error `ERR_TUNTAP_READING` if somebody else reads the device; TypeError or
 * RangeError with an `ERR_…` code for bad options
 * @example
 * ```ts
 * const interceptor = await intercept(tun);
 * interceptor.on('connection', async (connection) => {
 *   try {
 *     const socket = await connection.accept();
 *     socket.on('error', (error) => console.error(`${connection.source.address}: ${error.message}`));
 *     socket.end(`You wanted ${connection.destination.address}\n`);
 *   } catch {} // the client gave up
 * });
 * ```
 */
export async function intercept(tun: TunDevice, options: InterceptOptions = {}): Promise<Interceptor> {
  if (!(tun instanceof TunDevice)) throw invalidArgType('tun', 'a TunDevice', tun);
  requireObject('options', options);
  const {
    stack: kind = 'private',
    decisionTimeout = 60_000,
    maxPending = 1024,
    maxConnections = 65_536,
    idleTimeout = 7_440_000,
    maxFlows = 65_536,
    flowTimeout = 120_000,
    names = false,
    mark,
    device,
  } = options;
  if (kind !== 'private' && kind !== 'shared') {
    throw invalidArgValue('options.stack', kind, "must be 'private' or 'shared'");
  }
  requireInteger('options.decisionTimeout', decisionTimeout, 1, MAX_TIMEOUT);
  requireInteger('options.maxPending', maxPending, 1, 65_536);
  requireInteger('options.maxConnections', maxConnections, 1, 524_288);
  requireInteger('options.idleTimeout', idleTimeout, 1, MAX_TIMEOUT);
  requireInteger('options.maxFlows', maxFlows, 1, 2 ** 20);
  requireInteger('options.flowTimeout', flowTimeout, 1, MAX_TIMEOUT);
  requireBoolean('options.names', names);
  checkRouting(options);
  const limits = { decisionTimeout, maxPending, maxConnections, idleTimeout, maxFlows, flowTimeout };
  const stack = await openStack(tun, kind);
  try {
    const prefix = tun.offloads.mode === 'raw' ? VIRTIO_HEADER_SIZE : 0;
    return new Interceptor({ tun, stack, prefix, names, bypass: { mark, device }, ...limits });
  } catch (error) {
    for (const listener of stack.listeners) listener.close();
    await stack.close();
    throw error;
  }
}

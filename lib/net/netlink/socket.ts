import { native } from '../../native/addon.js';
import type { Descriptor } from '../../native/descriptor.js';
import { check } from '../../system-error.js';
import { decodeMessages } from './message.js';
import { DUMP_ATTEMPTS, dumpInterrupted, PendingRequest, type Request } from './request.js';

// The kernel answers at once, whatever the load. This only ends a wait that a bug would make endless.
export const TIMEOUT_MS = 10_000;

/**
 * @param namespace an nsfs fd, or -1 for the process's own namespace
 * @param groups multicast groups to join
 * @param receiveBuffer bytes of the kernel's queue; 0: the default
 */
export function openNetlinkRoute(
  namespace: number,
  groups: readonly number[] = [],
  receiveBuffer = 0,
): Descriptor {
  const opened = native().openNetlinkRoute(namespace, Uint32Array.from(groups), receiveBuffer);
  return check(opened, 'socket AF_NETLINK');
}

/** Synchronous rtnetlink requests in one network namespace, for calls that open a device. */
export class NetlinkSocket {
  readonly #descriptor: Descriptor;
  #sequence = 0;

  /** @param namespace an nsfs fd, or -1 for the process's own namespace */
  constructor(namespace: number) {
    this.#descriptor = openNetlinkRoute(namespace);
  }

  get fd(): number {
    return this.#descriptor.fd();
  }

  /** Sends a request, waits for its acknowledgement and returns the answers before it. */
  request<T>(request: Request<T>): T[] {
    for (let attempt = 1; attempt <= DUMP_ATTEMPTS; attempt++) {
      const exchange = new PendingRequest(request, ++this.#sequence);
      const { subject } = request;
      check(native().sendNetlink(this.fd, exchange.bytes), 'sendto AF_NETLINK', subject);
      while (!exchange.done) {
        const received = native().receiveNetlink(this.fd, TIMEOUT_MS);
        for (const datagram of check(received, 'recvfrom AF_NETLINK', subject)) {
          for (const message of decodeMessages(datagram)) exchange.take(message);
        }
      }
      if (!exchange.interrupted) return exchange.results();
    }
    throw dumpInterrupted(request);
  }

  close(): void {
    this.#descriptor.close();
  }
}

/** Runs `use` with a socket in `namespace` (an nsfs fd, or -1) and closes it. */
export function withNetlink<T>(namespace: number, use: (socket: NetlinkSocket) => T): T {
  const socket = new NetlinkSocket(namespace);
  try {
    return use(socket);
  } finally {
    socket.close();
  }
}

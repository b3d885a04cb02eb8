import { native } from '../../native/addon.js';
import { type Descriptor, watchArrays } from '../../native/descriptor.js';
import { ENOBUFS, ETIMEDOUT } from '../../native/errno.js';
import { READABLE } from '../../native/layout.js';
import { check, systemError } from '../../system-error.js';
import { decodeMessages, type NetlinkMessage } from './message.js';
import { openNetlinkRoute } from './socket.js';

/** Messages, or `overflow`: the kernel's queue was full, and messages are lost. */
export type Notifications = readonly NetlinkMessage[] | 'overflow';

/**
 * The kernel's notifications of some multicast groups. They have a socket of their own, so that a slow listener does not
 * delay requests. It reads only when asked to: the kernel's queue is the only one.
 */
export class NotificationSocket {
  readonly #descriptor: Descriptor;
  #watched = false;
  #take: ((result: Notifications | undefined | Error) => void) | undefined;

  /**
   * @param namespace an nsfs fd, or -1 for the process's own namespace
   * @param receiveBuffer bytes of the kernel's queue; 0: the default
   */
  constructor(namespace: number, groups: readonly number[], receiveBuffer = 0) {
    this.#descriptor = openNetlinkRoute(namespace, groups, receiveBuffer);
  }

  /** Waits for notifications, one call at a time. Resolves to undefined once closed. */
  receive(): Promise<Notifications | undefined> {
    return new Promise((resolve, reject) => {
      this.#take = (result) => (result instanceof Error ? reject(result) : resolve(result));
      this.#poll();
    });
  }

  /** Empties the kernel's queue. */
  drain(): void {
    while (this.#descriptor.fd() >= 0 && this.#receiveNow() !== undefined);
  }

  /** Whether waiting keeps the event loop alive. **Default:** `true` */
  setReferenced(referenced: boolean): void {
    this.#watch();
    this.#descriptor.setReferenced(referenced);
  }

  /** A waiting {@link receive} resolves to undefined. */
  close(): void {
    this.#descriptor.close();
    this.#settle(undefined);
  }

  #poll(): void {
    if (this.#take === undefined) return;
    if (this.#descriptor.fd() < 0) {
      this.#settle(undefined);
      return;
    }
    try {
      const result = this.#receiveNow();
      if (result === 'overflow') this.drain();
      if (result !== undefined) {
        this.#settle(result);
        return;
      }
      this.#watch();
      check(this.#descriptor.arm(READABLE), 'poll AF_NETLINK');
    } catch (error) {
      this.#settle(error as Error);
    }
  }

  #settle(result: Notifications | undefined | Error): void {
    const take = this.#take;
    this.#take = undefined;
    take?.(result);
  }

  #watch(): void {
    if (this.#watched || this.#descriptor.fd() < 0) return;
    this.#watched = true;
    check(
      this.#descriptor.watch(() => this.#poll(), ...watchArrays()),
      'poll AF_NETLINK',
    );
  }

  /** Undefined if the queue is empty. */
  #receiveNow(): Notifications | undefined {
    const datagrams = native().receiveNetlink(this.#descriptor.fd(), 0);
    if (typeof datagrams !== 'number') return datagrams.flatMap((datagram) => [...decodeMessages(datagram)]);
    if (datagrams === ETIMEDOUT) return undefined;
    if (datagrams === ENOBUFS) return 'overflow';
    throw systemError(datagrams, 'recvfrom AF_NETLINK');
  }
}

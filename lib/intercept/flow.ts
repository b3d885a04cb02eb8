import { EventEmitter } from 'node:events';
import { isIP } from '../address.js';
import { codedError, invalidArgType, invalidArgValue, outOfRange, requireObject } from '../arguments.js';
import { Endpoint } from '../endpoint.js';
import { type DatagramRefusal, isDatagramRefusal } from './datagrams.js';
import { emitSafely } from './faults.js';
import type { ConnectionEnd } from './nat.js';
import type { OwnDatagrams } from './own-datagrams.js';

/** What a datagram adds to the IP and UDP headers: the rest of 65,535 bytes. */
const MAX_PAYLOAD = { 4: 65_507, 6: 65_487 } as const;

/** The events of an {@link InterceptedFlow}. */
export interface FlowEvents {
  /** The source sent a datagram. The bytes are a copy of your own. */
  message: [bytes: Buffer, destination: ConnectionEnd];
  /** The flow has ended: it was idle, a newer one took its place, or you closed it. A datagram begins a new one. */
  close: [];
}

/** What a flow needs of its interceptor. */
export interface FlowOwner {
  send(bytes: Uint8Array, from: Endpoint, to: Endpoint): void;
  refuse(source: Endpoint, destination: Endpoint, reason: DatagramRefusal): void;
  forget(flow: InterceptedFlow): void;
  readonly own: OwnDatagrams;
}

/**
 * The UDP datagrams of one source: an address and port of a client, wherever it sends to (the endpoint-independent
 * mapping of RFC 4787). Answers may come from anywhere. The flow ends when the source has sent nothing, and was sent
 * nothing, for as long as option `flowTimeout` says; a flow that has only asked DNS servers ends after 10 seconds.
 * @example
 * ```ts
 * interceptor.on('flow', (flow) => {
 *   const socket = createSocket(flow.source.family === 4 ? 'udp4' : 'udp6');
 *   flow.on('message', (bytes, { address, port }) => socket.send(bytes, port, address));
 *   socket.on('message', (bytes, from) => flow.send(bytes, from));
 *   socket.on('error', () => flow.close());
 *   flow.on('close', () => socket.close());
 * });
 * ```
 */
export class InterceptedFlow extends EventEmitter<FlowEvents> {
  /** Who sends the datagrams. */
  readonly source: ConnectionEnd;
  /** @internal */
  readonly slot: number;
  /** Which flow of this slot it is. @internal */
  readonly id: number;
  readonly #owner: FlowOwner;
  readonly #endpoint: Endpoint;
  #closed = false;
  /** Most datagrams come from where the one before came from. */
  #latest: { readonly address: string; readonly port: number; readonly endpoint: Endpoint } | undefined;

  /** @internal */
  constructor(owner: FlowOwner, slot: number, id: number, endpoint: Endpoint) {
    super();
    this.#owner = owner;
    this.slot = slot;
    this.id = id;
    this.#endpoint = endpoint;
    const { address, port, family } = endpoint;
    this.source = { address, port, family };
  }

  /** The sockets by which the interceptor itself passes flows on. @internal */
  get own(): OwnDatagrams {
    return this.#owner.own;
  }

  /** Whether the flow has ended. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Sends a datagram to the source. It may be lost, as any datagram.
   * @param from where it comes from; usually a destination that the source sent to
   * @returns whether it was sent. False for what a network may bring and no datagram can be: one from port 0, from the
   * unspecified address or an address with a zone, and one of more than 65,507 bytes (IPv6: 65,487)
   * @throws Error `ERR_TUNTAP_CLOSED` if the flow has ended; TypeError or RangeError with an `ERR_…` code for what is no address
   * or port, and for an address of another family
   */
  send(bytes: Uint8Array, from: { readonly address: string; readonly port: number }): boolean {
    if (!(bytes instanceof Uint8Array)) throw invalidArgType('bytes', 'a Uint8Array', bytes);
    this.#requireOpen();
    requireObject('from', from);
    const { address, port } = from;
    if (bytes.length > MAX_PAYLOAD[this.#endpoint.family] || port === 0) return false;
    if (address === '0.0.0.0' || address === '::' || (isIP(address) === 6 && address.includes('%')))
      return false;
    this.#owner.send(bytes, this.#other('from', from), this.#endpoint);
    return true;
  }

  /**
   * Tells the source by an ICMP error that a destination can't be reached. The flow goes on.
   * @param reason `'port-unreachable'`, which a connected socket of the source gets as ECONNREFUSED; `'host-unreachable'`;
   * `'prohibited'`
   * @throws Error `ERR_TUNTAP_CLOSED`; TypeError or RangeError with an `ERR_…` code for what is no destination of this family
   */
  refuse(
    destination: { readonly address: string; readonly port: number },
    reason: DatagramRefusal = 'port-unreachable',
  ): void {
    if (!isDatagramRefusal(reason)) {
      throw invalidArgValue('reason', reason, 'must be port-unreachable, host-unreachable or prohibited');
    }
    this.#requireOpen();
    requireObject('destination', destination);
    this.#owner.refuse(this.#endpoint, this.#other('destination', destination), reason);
  }

  /** Ends the flow. Closing twice is harmless. */
  close(): void {
    if (!this.#closed) this.#owner.forget(this);
  }

  /** @internal */
  end(): void {
    if (this.#closed) return;
    this.#closed = true;
    emitSafely(() => this.emit('close'));
  }

  #requireOpen(): void {
    if (this.#closed) throw codedError('ERR_TUNTAP_CLOSED', 'The flow has ended');
  }

  #other(name: string, end: { readonly address: string; readonly port: number }): Endpoint {
    const latest = this.#latest;
    if (latest && latest.address === end.address && latest.port === end.port) return latest.endpoint;
    const endpoint = end instanceof Endpoint ? end : new Endpoint(end.address, end.port);
    if (endpoint.family !== this.#endpoint.family) {
      throw invalidArgValue(
        `${name}.address`,
        endpoint.address,
        `must be an IPv${this.#endpoint.family} address`,
      );
    }
    if (endpoint.port === 0) throw outOfRange(`${name}.port`, 'from 1 to 65535', 0);
    this.#latest = { address: end.address, port: end.port, endpoint };
    return endpoint;
  }
}

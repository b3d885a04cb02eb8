import { EventEmitter } from 'node:events';
import { markAsUntransferable } from 'node:worker_threads';
import { abortError, invalidArgType, invalidArgValue, outOfRange, requireInteger } from '../arguments.js';
import { BatchPort } from '../io/batch-port.js';
import { PacketBatch } from '../io/packet-batch.js';
import { PacketChannel, type PacketCounters } from '../io/packet-channel.js';
import { native } from '../native/addon.js';
import { closingOnError, type Descriptor } from '../native/descriptor.js';
import { EAGAIN } from '../native/errno.js';
import { FAILED, LAYOUT, READABLE, WRITABLE } from '../native/layout.js';
import { withNamespace } from '../net/network-namespace.js';
import { check, systemError } from '../system-error.js';
import { DatagramTable, slotsOf } from './datagram-table.js';
import { Endpoint } from './endpoint.js';
import { ERROR_RECORD_SIZE, type IcmpError, parseErrorRecord } from './socket-errors.js';
import { applyUdpOptions, checkUdpOptions, socketFamily, type UdpOptions } from './udp-options.js';

// Places in the socket's state, in 32-bit words. Behind it is the table of what was received.
const GSO = LAYOUT['UdpState.gso'] / 4;
const GRO = LAYOUT['UdpState.gro'] / 4;
const DROPS = LAYOUT['UdpState.drops'] / 4;
const SEGMENTED_SENDS = LAYOUT['UdpState.segmented_sends'] / 4;
const COALESCED_READS = LAYOUT['UdpState.coalesced_reads'] / 4;
const ERROR_COUNT = LAYOUT['UdpState.error_count'] / 4;
const ERRORS_LOST = LAYOUT['UdpState.errors_lost'] / 4;
const PEER_FAMILY = LAYOUT['UdpState.peer_family'] / 4;
const STATE_SIZE = LAYOUT.UdpState;
const { kMaxSegments: MAX_SEGMENTS, kReceivedMessages: MESSAGES, kEnoughDatagrams: ENOUGH_PACKETS } = LAYOUT;
const CAPACITY = ENOUGH_PACKETS + MESSAGES * MAX_SEGMENTS;
const USUAL_DATAGRAM = 2048;
const MAX_DATAGRAM = 65535;

const EADDRNOTAVAIL = -99;
const EAFNOSUPPORT = -97;

/** Which offloads of a socket are on. */
export interface UdpOffloads {
  /** Whether runs of packets of one size leave as one send (UDP_SEGMENT). */
  readonly gso: boolean;
  /** Whether the kernel may hand over several datagrams of one size as one (UDP_GRO). */
  readonly gro: boolean;
}

/** What a socket transferred since it was opened. */
export interface UdpCounters extends PacketCounters {
  /** Datagrams that the kernel dropped since the receive buffer was full, as of the last one received. */
  readonly dropped: number;
  /** Sends of several datagrams as one (UDP_SEGMENT). */
  readonly segmentedSends: number;
  /** Receipts of several datagrams as one (UDP_GRO). */
  readonly coalescedReads: number;
  /** ICMP errors that were not reported since more than 32 came at once. */
  readonly icmpErrorsLost: number;
}

/** The events of a {@link UdpBatchSocket}. */
export interface UdpEvents {
  /** The kernel's queue has room again after a write that it cut short. */
  drain: [];
  /** An error came back for a datagram that was sent. The socket goes on. */
  icmpError: [error: IcmpError];
  /** The socket failed and is closed; not emitted where a reader's loop rejects with it. */
  error: [error: Error];
  /** The socket is closed. */
  close: [];
}

/**
 * Opens a UDP socket that reads and writes batches of datagrams.
 *
 * @throws a system error with `syscall` `bind`, `connect`, `setsockopt SO_MARK`, …: EADDRINUSE, EADDRNOTAVAIL, EACCES
 * for a privileged port, EPERM for a mark without CAP_NET_ADMIN, ENODEV for a device that there is not; TypeError or
 * RangeError with an `ERR_…` code for bad options, before anything is opened
 * @example
 * ```ts
 * const socket = openUdp({ port: 8285, headroom: 16 });
 * for await (const batch of socket.batches()) socket.writeBatch(batch, socket.received);   // echo
 * ```
 * @see udp(7), ip(7), ipv6(7)
 */
export function openUdp(options: UdpOptions = {}): UdpBatchSocket {
  const checked = checkUdpOptions(options);
  try {
    return open(socketFamily(checked), checked);
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    const lacksIpv6 = errno === EAFNOSUPPORT || errno === EADDRNOTAVAIL;
    const { address, remote, ipv6Only } = checked;
    if (!lacksIpv6 || address !== undefined || remote !== undefined || ipv6Only) throw error;
    return open(4, checked);
  }
}

function open(family: 4 | 6, options: UdpOptions): UdpBatchSocket {
  const { address = family === 4 ? '0.0.0.0' : '::', port = 0, remote } = options;
  const { AF_INET, AF_INET6 } = native().socketConstants;
  const af = family === 4 ? AF_INET : AF_INET6;
  const local = new Endpoint(address, port);
  const descriptor = withNamespace(options.namespace, (namespace) =>
    check<Descriptor>(native().openUdpSocket(namespace, af), 'socket'),
  );
  const socket = closingOnError(descriptor, () => {
    const fd = descriptor.fd();
    const offloads = applyUdpOptions(fd, family, options);
    check(native().bindSocket(fd, af, local.slot), 'bind', `${local}`);
    return new UdpBatchSocket({ descriptor, family, af, options, ...offloads });
  });
  try {
    if (remote !== undefined) socket.connect(remote);
    return socket;
  } catch (error) {
    void socket.close();
    throw error;
  }
}

interface SocketParts {
  readonly descriptor: Descriptor;
  readonly family: 4 | 6;
  readonly af: number;
  readonly options: UdpOptions;
  readonly gso: boolean;
  readonly gro: boolean;
}

/**
 * A UDP socket whose datagrams come and go in the batches that devices have, so that a batch read from a TUN device is
 * sent without a copy and one received is written to the device unchanged. Made by {@link openUdp}.
 */
export class UdpBatchSocket extends EventEmitter<UdpEvents> implements AsyncDisposable {
  /** 4, or 6 for an IPv6 socket, which may take IPv4 as well. */
  readonly family: 4 | 6;
  /** Bytes kept free before each packet of {@link batches}. */
  readonly headroom: number;
  /** Bytes kept free after each packet of {@link batches}. */
  readonly tailroom: number;
  /** Where the packets of the batch that {@link batches} gave last came from; good as long as that batch is. */
  readonly received: DatagramTable;
  readonly #channel: PacketChannel;
  readonly #port: BatchPort;
  readonly #af: number;
  readonly #ipv6Only: boolean;
  readonly #state: Uint32Array;
  readonly #unlisten: () => void;
  #remote: Endpoint | undefined;

  /** @internal */
  constructor({ descriptor, family, af, options, gso, gro }: SocketParts) {
    super();
    const { headroom = 0, tailroom = 0, maxDatagramSize = MAX_DATAGRAM, signal } = options;
    this.family = family;
    this.headroom = headroom;
    this.tailroom = tailroom;
    this.#af = af;
    this.#ipv6Only = options.ipv6Only ?? false;
    const memory = new ArrayBuffer(STATE_SIZE + CAPACITY * LAYOUT.DatagramEntry);
    markAsUntransferable(memory);
    this.#state = new Uint32Array(memory, 0, STATE_SIZE / 4);
    this.#state[GSO] = Number(gso);
    this.#state[GRO] = Number(gro);
    this.received = new DatagramTable(CAPACITY, memory, STATE_SIZE);
    check(native().attachUdp(descriptor, af, memory, maxDatagramSize), 'attach');
    const local = new Endpoint('0.0.0.0', 0);
    check(native().socketAddress(descriptor.fd(), local.slot), 'getsockname');
    const onFailed = (error: Error): void => this.#destroy(error);
    this.#channel = new PacketChannel(descriptor, `${local}`, { onReady: this.#onReady, onFailed });
    this.#port = new BatchPort(this.#channel, this);
    const onAbort = () => signal && this.#destroy(abortError(signal));
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#unlisten = () => signal?.removeEventListener('abort', onAbort);
  }

  /** The file descriptor, -1 once closed. It stays the socket's. */
  get fd(): number {
    return this.#channel.fd;
  }

  /** What the socket is bound to, as the kernel has it now. */
  get local(): Endpoint {
    const local = new Endpoint('0.0.0.0', 0);
    check(native().socketAddress(this.#channel.requireFd(), local.slot), 'getsockname');
    return local;
  }

  /** Whom the socket is connected to, or undefined. */
  get remote(): Endpoint | undefined {
    return this.#remote;
  }

  /** Which offloads are on. Runs to a remote whose route can't segment leave as single datagrams all the same. */
  get offloads(): UdpOffloads {
    return { gso: this.#state[GSO] !== 0, gro: this.#state[GRO] !== 0 };
  }

  /**
   * The path MTU to the remote that the socket is connected to, in bytes with the IP header, as the kernel knows it now.
   * @throws ENOTCONN if it is not connected
   */
  get pathMtu(): number {
    const { SOL_IP, IP_MTU, SOL_IPV6, IPV6_MTU } = native().socketConstants;
    return this.family === 4
      ? this.#option(SOL_IP, IP_MTU, 'IP_MTU')
      : this.#option(SOL_IPV6, IPV6_MTU, 'IPV6_MTU');
  }

  /** The receive buffer as the kernel counts it: twice what was asked for, its bookkeeping included. @see socket(7) */
  get receiveBuffer(): number {
    const { SOL_SOCKET, SO_RCVBUF } = native().socketConstants;
    return this.#option(SOL_SOCKET, SO_RCVBUF, 'SO_RCVBUF');
  }

  /** The send buffer, counted as {@link receiveBuffer}. */
  get sendBuffer(): number {
    const { SOL_SOCKET, SO_SNDBUF } = native().socketConstants;
    return this.#option(SOL_SOCKET, SO_SNDBUF, 'SO_SNDBUF');
  }

  /** What the socket transferred since it was opened, and what was lost. */
  get counters(): UdpCounters {
    const { malformed: _, ...counters } = this.#channel.counters;
    return {
      ...counters,
      dropped: this.#state[DROPS],
      segmentedSends: this.#state[SEGMENTED_SENDS],
      coalescedReads: this.#state[COALESCED_READS],
      icmpErrorsLost: this.#state[ERRORS_LOST],
    };
  }

  /** Connects, or connects to another one: see {@link UdpOptions.remote}. */
  connect(remote: Endpoint): void {
    const fd = this.#channel.requireFd();
    this.#checkRemote(remote);
    check(native().connectSocket(fd, this.#af, remote.slot), 'connect', `${remote}`);
    this.#remote = remote;
    this.#state[PEER_FAMILY] = remote.slot[0] | remote.slot[1];
  }

  /**
   * Datagrams in batches: one call into JavaScript each, and no allocation per datagram. A batch has some 256 at most,
   * more where the kernel coalesced them. {@link received} tells where each came from.
   *
   * Every turn gives the same PacketBatch, filled anew. Only one reader at a time. Leaving the loop stops reading and
   * keeps the socket open; closing the socket ends it.
   * @throws Error `ERR_TUNTAP_READING` if the socket is being read already; `ERR_TUNTAP_CLOSED`
   */
  batches(): AsyncIterableIterator<PacketBatch> {
    this.#channel.requireFd();
    const { headroom, tailroom } = this;
    const room = headroom + tailroom + LAYOUT.kSlotAlignment;
    const size = ENOUGH_PACKETS * (USUAL_DATAGRAM + room) + MESSAGES * (MAX_DATAGRAM + MAX_SEGMENTS * room);
    const batch = new PacketBatch({ capacity: CAPACITY, size, headroom, tailroom });
    return this.#port.batches(batch);
  }

  /**
   * Sends packets `start` to the end of a batch, at once: to one endpoint, or packet `i` to entry `i` of a table, with
   * the local address and TOS that the entry has; without either, to whom the socket is connected. Runs of packets of
   * one size to one remote leave as one send.
   * @returns how many datagrams the kernel took. One that it refused is counted, has its error in `batch.status(i)`,
   * and does not hinder the others: EMSGSIZE (longer than 65,507 bytes, or with `dontFragment` than the path MTU),
   * ENETUNREACH, EPERM (a filter), ENOBUFS, EDESTADDRREQ (no remote). Where the kernel's queue is full,
   * `batch.firstUnsent` says from which packet on to call again after `'drain'`.
   * @throws TypeError or RangeError with an `ERR_…` code for bad arguments, before anything is sent; Error
   * `ERR_TUNTAP_CLOSED`
   */
  writeBatch(batch: PacketBatch, remote?: Endpoint | DatagramTable, start = 0): number {
    this.#channel.requireFd();
    if (!(batch instanceof PacketBatch)) throw invalidArgType('batch', 'a PacketBatch', batch);
    requireInteger('start', start, 0, batch.length);
    let slots: Uint8Array | null = null;
    if (remote instanceof DatagramTable) {
      if (remote.capacity < batch.length) {
        throw outOfRange('remote.capacity', `at least ${batch.length}`, remote.capacity);
      }
      slots = slotsOf(remote);
    } else {
      this.#checkRemote(remote);
      if (remote !== undefined) slots = remote.slot;
    }
    const taken = native().writeDatagrams(this.#channel.descriptor, batch.memory, start, slots);
    if (this.#state[ERROR_COUNT] > 0) this.#reportErrorsLater();
    this.#port.settle(batch, start, taken, 'sendmmsg');
    return taken;
  }

  /**
   * Sends one datagram; it may be empty.
   * @param remote whom to; without it, whom the socket is connected to
   * @returns false where the kernel's queue is full: then send it again after `'drain'`
   * @throws the system error that the kernel refused it with, see {@link writeBatch}; TypeError with an `ERR_…` code
   */
  send(datagram: Uint8Array, remote?: Endpoint): boolean {
    this.#channel.requireFd();
    if (!(datagram instanceof Uint8Array)) throw invalidArgType('datagram', 'a Uint8Array', datagram);
    this.#checkRemote(remote);
    const result = native().sendDatagram(this.#channel.descriptor, datagram, remote?.slot ?? null);
    if (this.#state[ERROR_COUNT] > 0) this.#reportErrorsLater();
    if (result === EAGAIN) {
      this.#port.block();
      return false;
    }
    if (result < 0) {
      this.#channel.countRefused(result);
      throw systemError(result, 'sendmsg', `${remote ?? this.#remote}`);
    }
    return true;
  }

  /** Lets the event loop end though this socket waits for datagrams. */
  unref(): this {
    this.#channel.setReferenced(false);
    return this;
  }

  /** Undoes {@link unref}. */
  ref(): this {
    this.#channel.setReferenced(true);
    return this;
  }

  /** Closes the socket; `'close'` follows. Closing twice is harmless. */
  async close(): Promise<void> {
    this.#destroy(null);
  }

  /** Closes, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  readonly #onReady = (events: number): void => {
    if (events < 0) {
      this.#channel.fail(events, 'recvmmsg');
      return;
    }
    this.#reportErrors();
    if (this.fd < 0) return;
    const error = events & READABLE ? this.#port.deliver() : 0;
    if (error !== 0) this.#channel.fail(error, 'recvmmsg');
    if (!(events & WRITABLE) || this.fd < 0) return;
    // An error that was reported wakes as well; a write tells whether there is room.
    if (events & FAILED) this.#port.block();
    else this.#port.drained();
  };

  #reportErrors(): void {
    const count = this.#state[ERROR_COUNT];
    if (count === 0) return;
    const records = new Uint8Array(this.#state.buffer, LAYOUT['UdpState.errors']);
    const errors = Array.from({ length: count }, (_, i) => parseErrorRecord(records, i * ERROR_RECORD_SIZE));
    this.#state[ERROR_COUNT] = 0;
    for (const error of errors) this.emit('icmpError', error);
  }

  /** A listener never runs within the call that it learns of. */
  #reportErrorsLater(): void {
    process.nextTick(() => this.#reportErrors());
  }

  #checkRemote(remote: Endpoint | undefined): void {
    if (remote === undefined && this.#remote !== undefined) return;
    if (!(remote instanceof Endpoint)) {
      const expected = this.#remote ? 'an Endpoint' : 'an Endpoint, since the socket is not connected';
      throw invalidArgType('remote', expected, remote);
    }
    if (remote.port === 0) throw outOfRange('remote.port', '1 to 65535', 0);
    if (remote.family === 4 ? this.#ipv6Only && this.family === 6 : this.family === 4) {
      throw invalidArgValue(
        'remote',
        `${remote}`,
        `must be of the socket's address family, IPv${this.family}`,
      );
    }
  }

  #option(level: number, name: number, text: string): number {
    const value = native().getSocketOption(this.#channel.requireFd(), level, name);
    return check<number>(value, `getsockopt ${text}`, this.#channel.name);
  }

  #destroy(error: Error | null): void {
    if (this.fd < 0) return;
    this.#unlisten();
    this.#channel.close();
    this.#port.finish(error);
    process.nextTick(() => {
      if (error && !this.#port.reading && !isAbort(error)) this.emit('error', error);
      this.emit('close');
    });
  }
}

function isAbort(error: Error): boolean {
  return error.name === 'AbortError';
}

import { EventEmitter } from 'node:events';
import { abortError, requireInteger } from '../arguments.js';
import { ADDRESS_FAMILIES, Endpoint } from '../endpoint.js';
import { BatchPort } from '../io/batch-port.js';
import type { PacketBatch } from '../io/packet-batch.js';
import { PacketChannel } from '../io/packet-channel.js';
import type { PacketRuns } from '../io/packet-runs.js';
import { native } from '../native/addon.js';
import { closingOnError, type Descriptor } from '../native/descriptor.js';
import { FAILED, READABLE, WRITABLE } from '../native/layout.js';
import { getOption, localOf, setRouting } from '../net/namespace/sockets.js';
import { withNamespace } from '../net/network-namespace.js';
import { check } from '../system-error.js';
import { adoptUdp } from './adopt.js';
import type { DatagramTable } from './datagram-table.js';
import { type IcmpError, SocketErrors } from './socket-errors.js';
import { applyUdpOptions, checkUdpOptions, type UdpOffloads, type UdpOptions } from './udp-options.js';
import { type UdpCounters, UdpReceiver } from './udp-receiver.js';
import { UdpSender } from './udp-sender.js';

/** The events of a {@link UdpBatchSocket}. */
export interface UdpEvents {
  /** The kernel's queue has room again after a write that it cut short. */
  drain: [];
  /** An error came back for a datagram that was sent. The socket goes on. */
  icmpError: [error: IcmpError];
  /** The socket failed and is closed. Not emitted if a loop over batches rejects with the error. */
  error: [error: Error];
  /** The socket is closed. */
  close: [];
}

/**
 * Opens a UDP socket that reads and writes batches of datagrams.
 *
 * @throws a system error with `syscall` `bind`, `connect`, `setsockopt SO_MARK`, …: EADDRINUSE, EADDRNOTAVAIL, EACCES
 * for a privileged port, EPERM for a mark without CAP_NET_ADMIN, ENODEV for a device that there is not, EBADF for an
 * `fd` that is not open; TypeError or RangeError with an `ERR_…` code for bad options, before anything is opened
 * @example
 * ```ts
 * const socket = openUdp({ port: 8285, headroom: 16 });
 * for await (const batch of socket.batches()) socket.writeBatch(batch, socket.received);   // echo
 * ```
 * @see udp(7), ip(7), ipv6(7)
 */
export function openUdp(options: UdpOptions = {}): UdpBatchSocket {
  const checked = checkUdpOptions(options);
  if (checked.fd !== undefined) return openAdopted(checked.fd, checked);
  const { address, remote, ipv6Only } = checked;
  const family = address === undefined ? (remote?.family ?? 6) : new Endpoint(address, 0).family;
  try {
    return open(family, checked);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const lacksIpv6 = code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL';
    if (!lacksIpv6 || address !== undefined || remote !== undefined || ipv6Only) throw error;
    return open(4, checked);
  }
}

function open(family: 4 | 6, options: UdpOptions): UdpBatchSocket {
  const { address = family === 4 ? '0.0.0.0' : '::', port = 0 } = options;
  const af = ADDRESS_FAMILIES[family];
  const local = new Endpoint(address, port);
  const descriptor = withNamespace(options.namespace, (namespace) =>
    check(native().openUdpSocket(namespace, af), 'socket'),
  );
  return closingOnError(descriptor, () => {
    const fd = descriptor.fd();
    const offloads = applyUdpOptions(fd, family, options);
    check(native().bindSocket(fd, af, local.entry), 'bind', `${local}`);
    return new UdpBatchSocket(descriptor, family, options, offloads);
  });
}

function openAdopted(fd: number, options: UdpOptions): UdpBatchSocket {
  const { descriptor, family, ipv6Only, remote } = adoptUdp(fd);
  return closingOnError(descriptor, () => {
    const offloads = applyUdpOptions(fd, family, options);
    return new UdpBatchSocket(descriptor, family, { remote, ...options, ipv6Only }, offloads);
  });
}

/** What native code takes for a socket. @internal */
export let socketDescriptorOf: (socket: UdpBatchSocket) => Descriptor;

/**
 * A UDP socket whose datagrams come and go in the batches that devices have: a batch that you read from a TUN device is
 * sent without a copy, and one that you receive is written to the device unchanged. Made by {@link openUdp}.
 */
export class UdpBatchSocket extends EventEmitter<UdpEvents> implements AsyncDisposable {
  static {
    socketDescriptorOf = (socket) => socket.#channel.descriptor;
  }

  /** 4, or 6 for an IPv6 socket, which may take IPv4 as well. */
  readonly family: 4 | 6;
  /** Bytes kept free before each packet of {@link batches}. */
  readonly headroom: number;
  /** Bytes kept free after each packet of {@link batches}. */
  readonly tailroom: number;
  /** The peers that the packets of the latest batch of {@link batches} came from. The next batch overwrites it. */
  readonly received: DatagramTable;
  readonly #channel: PacketChannel;
  readonly #port: BatchPort;
  readonly #receiver: UdpReceiver;
  readonly #sender: UdpSender;
  readonly #errors: SocketErrors;
  readonly #unlisten: () => void;

  /** @internal */
  constructor(descriptor: Descriptor, family: 4 | 6, options: UdpOptions, offloads: UdpOffloads) {
    super();
    const { headroom = 0, tailroom = 0, ipv6Only = false, remote, signal } = options;
    this.family = family;
    this.headroom = headroom;
    this.tailroom = tailroom;
    this.#receiver = new UdpReceiver(descriptor, family, options, offloads);
    const { state, received } = this.#receiver;
    this.received = received;
    const errors = new SocketErrors(state, (error) => this.emit('icmpError', error));
    const owner = { onReady: this.#onReady, onFailed: (error: Error) => this.#destroy(error) };
    const channel = new PacketChannel(descriptor, `${localOf(descriptor.fd())}`, owner);
    const port = new BatchPort(channel, this);
    this.#sender = new UdpSender({ channel, port, errors, state, family, ipv6Only });
    this.#channel = channel;
    this.#port = port;
    this.#errors = errors;
    if (remote !== undefined) this.connect(remote);
    const onAbort = () => signal && this.#destroy(abortError(signal));
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#unlisten = () => signal?.removeEventListener('abort', onAbort);
  }

  /** The file descriptor, -1 once closed. It stays the socket's. */
  get fd(): number {
    return this.#channel.fd;
  }

  /** The address and port that the socket is bound to, as the kernel has them now. */
  get local(): Endpoint {
    return localOf(this.#channel.requireFd());
  }

  /** The connected peer, if any. */
  get remote(): Endpoint | undefined {
    return this.#sender.remote;
  }

  /** Which offloads are on. If a route can't segment, runs to its remotes leave as single datagrams all the same. */
  get offloads(): UdpOffloads {
    return this.#receiver.offloads;
  }

  /**
   * The path MTU to the connected peer, in bytes with the IP header, as the kernel knows it now.
   * @throws ENOTCONN if the socket is not connected
   */
  get pathMtu(): number {
    return this.family === 4 ? this.#option('SOL_IP', 'IP_MTU') : this.#option('SOL_IPV6', 'IPV6_MTU');
  }

  /** The receive buffer as the kernel counts it, with its bookkeeping: twice what you asked for. @see socket(7) */
  get receiveBuffer(): number {
    return this.#option('SOL_SOCKET', 'SO_RCVBUF');
  }

  /** The send buffer, counted as {@link receiveBuffer}. */
  get sendBuffer(): number {
    return this.#option('SOL_SOCKET', 'SO_SNDBUF');
  }

  /** What the socket transferred since it was opened, and what was lost. */
  get counters(): UdpCounters {
    return this.#receiver.counters(this.#channel);
  }

  /** Connects, or connects to another peer: see {@link UdpOptions.remote}. */
  connect(remote: Endpoint): void {
    this.#sender.connect(remote);
  }

  /**
   * Reads datagrams in batches: one call into JavaScript each, and no allocation per datagram. A batch has some 256
   * datagrams at most, more if the kernel coalesced them. {@link received} tells where each came from.
   *
   * Every turn yields the same PacketBatch, filled anew. Only one loop can read the socket at a time. Leaving the loop
   * stops reading and keeps the socket open; closing the socket ends the loop.
   * @throws Error `ERR_TUNTAP_READING` if a loop runs already; `ERR_TUNTAP_CLOSED`
   */
  batches(): AsyncIterableIterator<PacketBatch> {
    this.#channel.requireFd();
    const batch = this.#receiver.newBatch(this.headroom, this.tailroom);
    return this.#port.batches(() => batch);
  }

  /**
   * Sends packets `start` to the end of a batch, at once. With an endpoint, all go there. With a table, packet `i` goes
   * to the remote of entry `i`, with that entry's local address and TOS; the entry of a table that has one is for all
   * packets. With a table and runs, all packets of run `r` go where entry `r` says. Otherwise all go to the connected
   * peer. Packets of one size to one remote leave as one send.
   * @returns how many datagrams the kernel took. One that it refused is counted, has its error in `batch.status(i)`,
   * and does not hinder the others: EMSGSIZE (longer than 65,507 bytes, or with `dontFragment` than the path MTU),
   * ENETUNREACH, EPERM (a filter), ENOBUFS, EDESTADDRREQ (no remote). If the kernel's queue is full,
   * `batch.firstUnsent` is the packet to start from when you call again after `'drain'`.
   * @throws TypeError or RangeError with an `ERR_…` code for bad arguments, before anything is sent; Error
   * `ERR_TUNTAP_CLOSED`
   */
  writeBatch(batch: PacketBatch, remote?: Endpoint | DatagramTable, start = 0, runs?: PacketRuns): number {
    return this.#sender.writeBatch(batch, remote, start, runs);
  }

  /** What follows the sending of a batch, of which the kernel took `taken` packets. @internal */
  settleBatch(batch: PacketBatch, taken: number): void {
    this.#sender.settleBatch(batch, 0, taken);
  }

  /**
   * Sends one datagram; it may be empty.
   * @param remote its destination. **Default:** the connected peer
   * @returns false if the kernel's queue is full: then send it again after `'drain'`
   * @throws the system error that the kernel refused it with, see {@link writeBatch}; TypeError with an `ERR_…` code
   */
  send(datagram: Uint8Array, remote?: Endpoint): boolean {
    return this.#sender.send(datagram, remote);
  }

  /** Changes the mark of what is sent: see {@link UdpOptions.mark}. @throws EPERM without CAP_NET_ADMIN */
  setMark(mark: number): void {
    requireInteger('mark', mark, 0, 0xffffffff);
    setRouting(this.#channel.requireFd(), { mark }, this.#channel.name);
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
    this.#errors.report();
    if (this.fd < 0) return;
    const error = events & READABLE ? this.#port.deliver() : 0;
    if (error !== 0) this.#channel.fail(error, 'recvmmsg');
    if (!(events & WRITABLE) || this.fd < 0) return;
    // An error that was reported wakes as well; only a write shows whether there is room.
    if (events & FAILED) this.#port.block();
    else this.#port.drained();
  };

  #option(level: string, name: string): number {
    const value = getOption(this.#channel.requireFd(), level, name);
    return check<number>(value, `getsockopt ${name}`, this.#channel.name);
  }

  #destroy(error: Error | null): void {
    if (this.fd < 0) return;
    this.#unlisten();
    this.#channel.close();
    this.#port.finish(error);
    process.nextTick(() => {
      if (error && error.name !== 'AbortError' && !this.#port.reading) this.emit('error', error);
      this.emit('close');
    });
  }
}

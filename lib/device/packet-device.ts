import type { PathLike } from 'node:fs';
import { Duplex } from 'node:stream';
import { checkMtu, invalidArgType, requireInteger } from '../arguments.js';
import { BatchIterator } from '../io/batch-port.js';
import { PacketBatch } from '../io/packet-batch.js';
import { alreadyReading, WatchedDescriptor } from '../io/packet-channel.js';
import { OutgoingPackets } from '../io/packet-writer.js';
import { type Descriptor, FAILED, native, READABLE, WRITABLE } from '../native/addon.js';
import { type NetlinkSocket, withNetlink } from '../net/netlink/socket.js';
import { getLink, setLink } from '../net/rtnetlink/device-requests.js';
import type { LinkInfo } from '../net/rtnetlink/link-info.js';
import { check, errnoName, systemError } from '../system-error.js';
import { withDeviceNamespace } from './attach.js';
import { Capture, type CaptureOptions } from './capture.js';
import { type LinkEvent, watchLink } from './device-link.js';

const EAGAIN = -11;
const EINVAL = -22;
const EMSGSIZE = -90;
const EBADFD = -77;
// Errors of a device that is gone, against those that a packet has for itself; packet_io.cc has the same.
const FATAL_ERRNOS: ReadonlySet<number> = new Set([EBADFD, -9, -67, -19]);
// A chunk of the stream is a view of the slab that its batch was read into. A smaller slab is held by fewer
// packets that a slow user keeps; a larger one costs fewer allocations.
const STREAM_SLAB_SIZE = 128 * 1024;
const STREAM_CAPACITY = 1024;

/** What a device moved since it was opened. */
export interface DeviceCounters {
  /** Packets read from the kernel. */
  readonly packetsRead: number;
  /** Their bytes. */
  readonly bytesRead: number;
  /** Packets that the kernel took. */
  readonly packetsWritten: number;
  /** Their bytes. */
  readonly bytesWritten: number;
  /** Packets that the kernel refused, by error code: `EINVAL`, `EIO` while the link is down, `ENOBUFS`, … */
  readonly refused: Readonly<Record<string, number>>;
  /** Packets from the kernel that were dropped since their virtio_net_hdr contradicts them. */
  readonly malformed: number;
}

/** What {@link PacketDevice} is built from. */
export interface DeviceParts {
  readonly descriptor: Descriptor;
  readonly name: string;
  readonly index: number;
  readonly headroom?: number;
  readonly tailroom?: number;
  readonly signal?: AbortSignal;
  /** Whether written packets gain by being given to the kernel several at a time. */
  readonly coalesces?: boolean;
  /** Bytes before each packet that are no part of it. */
  readonly packetPrefix?: number;
  /** The device's namespace, where the kernel can't be asked for it; closed by `onClose`. */
  readonly home?: Descriptor;
  /** Undoes what closing the fd does not. */
  readonly onClose?: () => void;
}

const ignore = (): void => {};
const rethrow = (error: unknown): never => {
  throw error;
};

/** Whether the error of a write is not its packet's alone. */
function ends(errno: number): boolean {
  return errno === EAGAIN || FATAL_ERRNOS.has(errno);
}

/** A write whose callback wants to know how its own packet fared. */
class TrackedPacket {
  error: Error | null = null;
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/**
 * A device that exchanges whole packets with the kernel: a Duplex in object mode whose chunks are packets, and
 * beside it, faster, {@link batches} and {@link writeBatch}.
 *
 * A chunk that is read is a Buffer of its own; what is written is given to the kernel before `write` returns,
 * or, where the kernel's queue is full, must stay unchanged until the write's callback. A device that is not
 * read stops reading from the kernel, whose queue then drops, as a network card does. `end()` ends the
 * writing side only; `close()` or `destroy()` closes the device.
 */
export abstract class PacketDevice extends Duplex {
  /** `'tun'`: chunks are IP packets. `'tap'`, `'macvtap'`: Ethernet frames. */
  abstract readonly kind: 'tun' | 'tap' | 'macvtap';
  /** The link's index when it was opened. */
  readonly index: number;
  /** Bytes kept free before each packet of {@link batches}. */
  readonly headroom: number;
  /** Bytes kept free after each packet of {@link batches}. */
  readonly tailroom: number;
  readonly #watched: WatchedDescriptor;
  #lastName: string;
  readonly #home: Descriptor | undefined;
  readonly #onClose: (() => void) | undefined;
  readonly #refused: Record<string, number> = {};
  // The one that reads the device: in batches, or as a stream.
  #iterator: BatchIterator | undefined;
  #streaming = false;
  #streamWaits = false;
  #streamBatch: PacketBatch | undefined;
  #blocked: { packet: Uint8Array | TrackedPacket; callback: (error?: Error | null) => void } | undefined;
  #batchBlocked = false;
  readonly #packetPrefix: number;
  readonly #outgoing: OutgoingPackets | undefined;
  #finish: (() => void) | undefined;
  #captures: readonly Capture[] = [];
  readonly #offLink: (all?: boolean) => void;
  // A pipe into another device, and the 'data' listener that it put here.
  #pipe: { readonly destination: PacketDevice; readonly listener: unknown } | undefined;

  /** @internal */
  constructor(parts: DeviceParts) {
    super({ objectMode: true, readableHighWaterMark: 64, writableHighWaterMark: 64, signal: parts.signal });
    this.#lastName = parts.name;
    this.index = parts.index;
    this.headroom = parts.headroom ?? 0;
    this.tailroom = parts.tailroom ?? 0;
    this.#home = parts.home;
    this.#packetPrefix = parts.packetPrefix ?? 0;
    if (parts.coalesces) this.#outgoing = new OutgoingPackets(this.#sendBatch, this.#flush);
    this.#onClose = parts.onClose;
    this.#watched = new WatchedDescriptor(parts.descriptor, parts.name, this.#onReady);
    this.#offLink = watchLink({
      device: this,
      name: () => this.name,
      withNamespace: (use) => this.withNamespace(use),
    });
  }

  /**
   * Beside the events of a Duplex, `'link'` tells of changes of the device's link: while it has listeners, a socket
   * listens to the kernel, which keeps no process running. `'moved'` is the last event where the link can't be
   * followed: a macvtap's, or one whose new namespace can't be entered.
   * @throws a system error if that socket can't be opened; EPERM where entering the device's namespace is denied
   * @example
   * ```ts
   * tun.on('link', ({ change, link }) => { if (change === 'mtu') console.log(`${link.name}: ${link.mtu}`); });
   * ```
   */
  override on(event: 'link', listener: (event: LinkEvent) => void): this;
  override on(event: 'data', listener: (packet: Buffer) => void): this;
  override on(event: 'error', listener: (error: Error) => void): this;
  override on(...args: Parameters<Duplex['on']>): this;
  override on(event: string, listener: Parameters<Duplex['on']>[1]): this {
    return super.on(event, listener);
  }

  /** Takes a listener off. */
  override removeListener(...args: Parameters<Duplex['removeListener']>): this {
    super.removeListener(...args);
    this.#offLink();
    return this;
  }

  /** Takes a listener off. */
  override off(...args: Parameters<Duplex['off']>): this {
    return this.removeListener(...args);
  }

  /** Takes all listeners off, of one event or of all. */
  override removeAllListeners(...args: Parameters<Duplex['removeAllListeners']>): this {
    super.removeAllListeners(...args);
    this.#offLink(true);
    return this;
  }

  /** The file descriptor, -1 once closed. It stays the device's: reading it elsewhere steals packets. */
  get fd(): number {
    return this.#watched.fd;
  }

  /** The link's name; another one than it was opened by if somebody renamed it. Once closed, the last one seen. */
  get name(): string {
    const attached = this.fd < 0 ? -1 : native().getInterface(this.fd);
    if (typeof attached !== 'number' && attached.name !== '') this.#lastName = attached.name;
    return this.#lastName;
  }

  /** In bytes, as the kernel has it now. */
  get mtu(): number {
    return this.#link().mtu;
  }

  /** The link's flags as the kernel has them now, `IFF_UP` (1) among them. @see netdevice(7) */
  get flags(): number {
    return this.#link().flagBits;
  }

  /** Whether the link is administratively up. */
  get isUp(): boolean {
    return this.#link().up;
  }

  /** What the device moved since it was opened, and what the kernel refused. */
  get counters(): DeviceCounters {
    return { ...this.#watched.moved, refused: { ...this.#refused } };
  }

  /** Sets the link up. @throws EPERM without CAP_NET_ADMIN */
  setUp(): void {
    this.#change((socket, link) => setLink(socket, link, { up: true }));
  }

  /** Sets the link down; the kernel then refuses packets with EIO. @throws EPERM without CAP_NET_ADMIN */
  setDown(): void {
    this.#change((socket, link) => setLink(socket, link, { up: false }));
  }

  /** @param mtu in bytes, 68 to 65,535. @throws EPERM without CAP_NET_ADMIN */
  setMtu(mtu: number): void {
    checkMtu(mtu);
    this.#change((socket, link) => setLink(socket, link, { mtu }));
  }

  /**
   * As any stream's. From one device straight into another, whole batches go instead of single packets as long as
   * nothing else listens to `'data'`.
   */
  override pipe<T extends NodeJS.WritableStream>(destination: T, options?: { end?: boolean }): T {
    super.pipe(destination, options);
    if (destination instanceof PacketDevice) {
      this.#pipe = { destination, listener: this.listeners('data').at(-1) };
    }
    return destination;
  }

  /** Lets the event loop end though this device waits for packets. */
  unref(): this {
    this.#watched.descriptor.setReferenced(false);
    return this;
  }

  /** Undoes {@link unref}. */
  ref(): this {
    this.#watched.descriptor.setReferenced(true);
    return this;
  }

  /**
   * Packets in batches of up to 256: one call into JavaScript each, and no allocation per packet.
   *
   * Every turn gives the same PacketBatch, filled anew, so what a turn leaves of it is gone in the next. Only one
   * reader at a time, this or the stream. Leaving the loop stops reading and keeps the device open.
   * @throws Error `ERR_TUNTAP_READING` if the device is being read already
   */
  batches(): AsyncIterableIterator<PacketBatch> {
    this.#watched.requireFd();
    if (this.#iterator || this.#streaming) {
      throw alreadyReading(this.#lastName, this.#streaming ? 'as a stream' : 'in batches');
    }
    const batch = new PacketBatch({ headroom: this.headroom, tailroom: this.tailroom });
    this.#iterator = new BatchIterator(batch, this.#watched, {
      armed: this.#armed,
      release: () => {
        this.#iterator = undefined;
        this.off('error', ignore);
        this.#watched.disarm();
        if (this.#blocked || this.#batchBlocked) this.#arm(WRITABLE);
      },
    });
    // The iterator rejects with the error that ends the device.
    this.on('error', ignore);
    return this.#iterator;
  }

  /**
   * Gives packets `start` to the end of a batch to the kernel, at once.
   * @returns how many packets the kernel took. A packet that it refused is counted, has its error in
   * `batch.status(i)`, and does not hinder the others. Where the kernel's queue is full, `batch.firstUnsent` says
   * from which packet on to call again after this device's `'drain'` event.
   * @throws a system error if the device is gone
   */
  writeBatch(batch: PacketBatch, start = 0): number {
    if (!(batch instanceof PacketBatch)) throw invalidArgType('batch', 'a PacketBatch', batch);
    if (start !== 0) requireInteger('start', start, 0, batch.length);
    if (this.#outgoing?.waiting) this.#outgoing.flush();
    const taken = batch.writeTo(this.#watched.descriptor, start);
    if (taken > 0 && taken === batch.length - start && this.#captures.length === 0) return taken;
    this.#watched.requireFd();
    const error = this.#settle(batch, start, taken);
    const { moved } = batch;
    if (error === EAGAIN) {
      this.#batchBlocked = true;
      this.#arm(WRITABLE);
    } else if (error !== 0) {
      const gone = systemError(error, 'write', this.#lastName);
      this.destroy(gone);
      throw gone;
    }
    return moved;
  }

  readonly #sendBatch = (batch: PacketBatch, start: number): number =>
    this.#settle(batch, start, batch.writeTo(this.#watched.descriptor, start));

  /** Returns what ended a write: 0, EAGAIN, or the error of a device that is gone. */
  #settle(batch: PacketBatch, start: number, taken: number): number {
    if (taken < 0) throw systemError(taken, 'write', this.#lastName);
    const { error } = batch;
    if (this.#captures.length > 0) this.#recordBatch(batch, start, 'inbound');
    if (FATAL_ERRNOS.has(error)) return error;
    if (error !== 0 || taken !== batch.length - start) this.#countRefused(batch, start);
    return error;
  }

  #countRefused(batch: PacketBatch, start: number): void {
    for (let i = start; i < batch.length; i++) {
      const status = batch.status(i);
      if (status !== 0 && status !== EAGAIN) this.#refuse(status);
    }
  }

  /**
   * Writes every packet from now on, both ways, into a pcapng file that tcpdump and Wireshark read. The directions
   * are the kernel's, as tcpdump on the link shows them: what is read here is outbound.
   * @param path the file; an existing one is overwritten
   */
  capture(path: PathLike, options: CaptureOptions = {}): Capture {
    this.#watched.requireFd();
    const capture = new Capture(path, this, options, (ended) => {
      this.#captures = this.#captures.filter((other) => other !== ended);
    });
    this.#captures = [...this.#captures, capture];
    return capture;
  }

  #recordBatch(batch: PacketBatch, start: number, direction: 'inbound' | 'outbound'): void {
    for (let i = start; i < batch.length; i++) {
      const bytes = batch.at(i);
      if (batch.status(i) === 0 && bytes.length > 0) this.#record(bytes, direction);
    }
  }

  #record(bytes: Uint8Array, direction: 'inbound' | 'outbound'): void {
    for (const capture of this.#captures) capture.record(bytes.subarray(this.#packetPrefix), direction);
  }

  /** Closes the device; resolves when it is closed. Closing twice is harmless. */
  close(): Promise<void> {
    if (this.closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.once('close', resolve);
      this.destroy();
    });
  }

  /** Closes, for `await using`. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Writes one packet.
   * @param packet a whole packet; more than 65,557 bytes, or none, are refused. A string throws
   * TypeError; it is in the type since a Node stream's is so
   * @param callback gets this packet's error if the kernel refused it (EINVAL: not a packet; EIO: the link is down;
   * ENOBUFS; EMSGSIZE), which does not end the stream
   * @returns false if the caller should wait for `'drain'`
   */
  override write(packet: Uint8Array | string, callback?: (error: Error | null | undefined) => void): boolean;
  override write(
    packet: Uint8Array | string,
    encoding?: BufferEncoding,
    callback?: (error: Error | null | undefined) => void,
  ): boolean;
  override write(
    packet: Uint8Array | string,
    encoding?: BufferEncoding | ((error: Error | null | undefined) => void),
    callback?: (error: Error | null | undefined) => void,
  ): boolean {
    if (!(packet instanceof Uint8Array)) throw invalidArgType('packet', 'a Uint8Array', packet);
    const report = typeof encoding === 'function' ? encoding : callback;
    if (report === undefined) {
      // Where nothing waits, what the kernel takes at once, or refuses for itself alone, is none of Writable's concern.
      const idle = this.writable && this.writableLength === 0 && this.writableCorked === 0;
      if (idle && !ends(this.#writePacket(packet, false))) return true;
      return super.write(packet);
    }
    const tracked = new TrackedPacket(packet);
    return super.write(tracked, (error) => report(error ?? tracked.error));
  }

  /** @internal */
  override _write(
    chunk: Uint8Array | TrackedPacket,
    _encoding: string,
    callback: (error?: Error | null) => void,
  ): void {
    const bytes = chunk instanceof TrackedPacket ? chunk.bytes : chunk;
    if (!(bytes instanceof Uint8Array)) {
      callback(invalidArgType('packet', 'a Uint8Array', bytes));
      return;
    }
    const result = this.#writePacket(bytes, chunk instanceof TrackedPacket);
    if (result === 0) {
      callback();
    } else if (result === EAGAIN) {
      this.#blocked = { packet: chunk, callback };
      this.#arm(WRITABLE);
    } else if (ends(result)) {
      callback(systemError(result, 'write', this.#lastName));
    } else {
      if (chunk instanceof TrackedPacket) chunk.error = systemError(result, 'write', this.#lastName);
      callback();
    }
  }

  /** Returns 0 or a negative errno, which is counted if it is this packet's alone. */
  #writePacket(bytes: Uint8Array, now: boolean): number {
    const size = bytes.length - this.#packetPrefix;
    const invalid = size <= 0 ? EINVAL : size > native().maxPacketSize ? EMSGSIZE : 0;
    if (invalid === 0 && this.#outgoing) return this.#outgoing.write(bytes, now);
    const result = invalid || native().writePacket(this.#watched.descriptor, bytes);
    if (result >= 0) {
      this.#record(bytes, 'inbound');
      return 0;
    }
    if (!ends(result)) this.#refuse(result);
    return result;
  }

  /** Gives the kernel what was written since the last time. */
  readonly #flush = (): void => {
    if (this.fd < 0 || !this.#outgoing) return;
    const error = this.#outgoing.flush();
    if (error === EAGAIN) this.#arm(WRITABLE);
    else if (error !== 0) this.destroy(systemError(error, 'write', this.#lastName));
    else this.#finished();
  };

  /** @internal */
  override _final(callback: (error?: Error | null) => void): void {
    this.#finish = callback;
    this.#outgoing ? this.#flush() : this.#finished();
  }

  #finished(): void {
    const finish = this.#finish;
    this.#finish = undefined;
    finish?.();
  }

  /** @internal */
  override _read(): void {
    if (this.#iterator) {
      this.destroy(alreadyReading(this.#lastName, 'in batches'));
      return;
    }
    if (!this.#streaming) {
      this.#streaming = true;
      this.#renewStreamBatch();
    }
    this.#armStream();
  }

  /** @internal */
  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    // What was written before a close is sent, as far as the kernel takes it.
    if (error === null) this.#outgoing?.flush();
    for (const capture of this.#captures) capture.close().catch(ignore);
    this.#iterator?.finish(error);
    const blocked = this.#blocked;
    this.#blocked = undefined;
    blocked?.callback(error ?? systemError(-125, 'write', this.#lastName));
    this.#watched.close(() => {
      let failed: Error | null = null;
      try {
        this.#onClose?.();
      } catch (closing) {
        failed = closing as Error;
      }
      callback(error ?? failed);
    });
  }

  readonly #onReady = (events: number): void => {
    // Nearly all calls end here. What else stood before it would make every idle packet later: cold code is slow.
    if (events === READABLE && this.#captures.length === 0 && this.#iterator?.deliver()) return;
    if (events < 0) {
      this.destroy(systemError(events, 'read', this.#lastName));
      return;
    }
    if (events & (READABLE | FAILED)) {
      const error = events & READABLE ? this.#onRead() : EAGAIN;
      if (this.destroyed) return;
      // A device that is gone polls as failed; macvtap's then has nothing to read instead of an error.
      const fatal = error !== 0 && error !== EAGAIN ? error : events & FAILED ? EBADFD : 0;
      if (fatal !== 0) {
        this.destroy(systemError(fatal, 'read', this.#lastName));
        return;
      }
    }
    if (events & WRITABLE) this.#onWritable();
  };

  #onWritable(): void {
    this.#flush();
    if (this.destroyed) return;
    const blocked = this.#blocked;
    this.#blocked = undefined;
    if (blocked) this._write(blocked.packet, '', blocked.callback);
    if (this.#batchBlocked && !this.destroyed) {
      this.#batchBlocked = false;
      this.emit('drain');
    }
  }

  #onRead(): number {
    return this.#iterator ? this.#onBatch(this.#iterator) : this.#onPackets();
  }

  #onBatch(iterator: BatchIterator): number {
    const { batch } = iterator;
    if (this.#captures.length > 0) this.#recordBatch(batch, 0, 'outbound');
    if (!iterator.deliver()) this.#arm(READABLE);
    return batch.error;
  }

  #onPackets(): number {
    const batch = this.#streamBatch;
    if (batch === undefined) return EAGAIN;
    this.#streamWaits = false;
    const { moved, error } = batch;
    const start = batch.length - moved;
    if (this.#captures.length > 0) this.#recordBatch(batch, start, 'outbound');
    const passed = moved > 0 && this.#passOn(batch, start);
    let pushed = 0;
    let threw = false;
    // Past the high-water mark the rest of the batch is pushed all the same: it has been read.
    for (let i = start; i < start + moved && !this.destroyed; i++) {
      if (passed && batch.status(i) !== EAGAIN) continue;
      pushed++;
      try {
        this.push(batch.at(i));
      } catch (error) {
        // A listener's. Where the program goes on after it, so does the stream.
        threw = true;
        process.nextTick(rethrow, error);
      }
    }
    if (this.destroyed) return error;
    if (start === 0 && pushed === 0) batch.clear();
    else if (!batch.hasRoom) this.#renewStreamBatch();
    if (pushed === 0 || threw) this.#armStream();
    return error;
  }

  /**
   * Where all that gets this stream's packets is a pipe into another device, and none wait, a batch goes there as it is:
   * what its listener would do with each packet, in one call. Those that found the kernel's queue full have EAGAIN.
   */
  #passOn(batch: PacketBatch, start: number): boolean {
    const { destination, listener } = this.#pipe ?? {};
    if (destination === undefined || !this.readableFlowing || this.readableLength > 0) return false;
    const [first, ...others] = this.listeners('data');
    if (first !== listener || others.length > 0) return false;
    if (!destination.writable || destination.writableLength > 0 || destination.writableCorked > 0)
      return false;
    destination.#outgoing?.flush();
    if (destination.#outgoing?.waiting) return false;
    const error = destination.#sendBatch(batch, start);
    if (FATAL_ERRNOS.has(error)) {
      destination.destroy(systemError(error, 'write', destination.#lastName));
    }
    return true;
  }

  #armStream(): void {
    this.#streamWaits = true;
    this.#arm(READABLE);
  }

  /** Packets of a super-packet that the last batch had no room for: no event tells of them. */
  readonly #readPending = (): void => {
    if (this.fd < 0 || !(this.#iterator ? this.#iterator.waiting : this.#streamWaits)) return;
    const failed = this.#watched.descriptor.readPending();
    this.#onReady(failed < 0 ? failed : READABLE);
  };

  /** The user keeps the packets of the last one. */
  #renewStreamBatch(): void {
    this.#streamBatch = new PacketBatch({ capacity: STREAM_CAPACITY, size: STREAM_SLAB_SIZE });
    this.#streamBatch.readFrom(this.#watched.descriptor);
  }

  #refuse(errno: number): void {
    const code = errnoName(errno);
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
  }

  #arm(events: number): void {
    this.#armed(this.#watched.arm(events));
  }

  readonly #armed = (result: number): void => {
    if (result > 0) setImmediate(this.#readPending);
    if (result < 0 && !this.destroyed) this.destroy(systemError(result, 'epoll_ctl', this.#lastName));
  };

  #link(): LinkInfo {
    return this.#change((socket, link) => getLink(socket, link.index));
  }

  /** Runs a change where the device is now, which need not be where it was made. */
  #change<T>(change: (socket: NetlinkSocket, link: { index: number; name: string }) => T): T {
    return this.withNamespace((namespace) =>
      withNetlink(namespace, (socket) =>
        change(socket, { index: getLink(socket, this.name).index, name: this.name }),
      ),
    );
  }

  /** Calls `use` with an nsfs fd of the namespace that the device is in. @internal */
  protected withNamespace<T>(use: (namespace: number) => T): T {
    const fd = this.#watched.requireFd();
    return this.#home ? use(this.#home.fd()) : withDeviceNamespace(fd, this.#lastName, use);
  }

  /** Calls a native function with the fd and throws its error. @internal */
  protected control<T>(syscall: string, call: (fd: number) => T | number): T {
    return check<T>(call(this.#watched.requireFd()), syscall, this.#lastName);
  }
}

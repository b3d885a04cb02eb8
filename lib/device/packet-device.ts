import type { PathLike } from 'node:fs';
import type { Duplex } from 'node:stream';
import { checkMtu } from '../arguments.js';
import type { PacketCounters } from '../io/packet-channel.js';
import { PacketStream, type StreamParts } from '../io/packet-stream.js';
import { native } from '../native/addon.js';
import type { Descriptor } from '../native/descriptor.js';
import type { Link } from '../net/link.js';
import { check } from '../system-error.js';
import { Capture, type CaptureOptions } from './capture.js';
import { DeviceLink, type LinkEvent } from './device-link.js';

const IFF_UP = 0x1; // linux/if.h
const IFF_LOWER_UP = 0x10000;

/** What a device transferred since it was opened. */
export interface DeviceCounters extends PacketCounters {
  /** Packets from the kernel that were dropped since their virtio_net_hdr contradicts them. */
  readonly malformed: number;
}

/** What {@link PacketDevice} is built from. */
export interface DeviceParts extends StreamParts {
  readonly index: number;
  /** The device's namespace, if the kernel can't be asked for it; `onClose` closes it. */
  readonly namespace?: Descriptor;
  /** Undoes what closing the fd does not. */
  readonly onClose?: () => void;
}

/**
 * A device that exchanges whole packets with the kernel. It is a Duplex in object mode whose chunks are packets;
 * {@link batches} and {@link writeBatch} are faster.
 *
 * A chunk that you read is a Buffer that nobody writes to again. Leave the bytes of a packet that you write as they are
 * until the callback of `write`, or `'drain'`, and without either until your turn of the event loop ends: the device may
 * send them from where they lie. If you don't read a device, it stops reading from the kernel, whose queue
 * then drops packets, as a network card does. `end()` ends the writing side only; `close()` or `destroy()` closes the
 * device. Methods of a Duplex that make no sense for packets, such as `setEncoding`, throw.
 */
export abstract class PacketDevice extends PacketStream {
  /** `'tun'`: chunks are IP packets. `'tap'`, `'macvtap'`: Ethernet frames. */
  abstract readonly kind: 'tun' | 'tap' | 'macvtap';
  /** The link's index when it was opened. */
  readonly index: number;
  readonly #packetPrefix: number;
  // Those whose files are not complete.
  #captures: readonly Capture[] = [];
  #captureError: Error | null = null;
  readonly #link: DeviceLink;
  readonly #onClose: (() => void) | undefined;

  /** @internal */
  constructor(parts: DeviceParts) {
    super(parts);
    this.index = parts.index;
    this.#packetPrefix = parts.packetPrefix ?? 0;
    this.#link = new DeviceLink(this, this.channel, parts.namespace);
    this.#onClose = parts.onClose;
    this.on('newListener', this.#onNewListener);
  }

  /**
   * Beside the events of a Duplex, `'link'` tells of changes of the device's link: while it has listeners, a socket
   * listens to the kernel. It does not keep the process running. If the link can't be followed, `'moved'` is the last
   * event: that is so for a macvtap, and in a namespace that can't be entered.
   * @throws a system error if that socket can't be opened, such as EPERM if the device's namespace can't be entered;
   * Error `ERR_TUNTAP_READING` for `'data'` and `'readable'` while a loop over {@link batches} runs
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

  readonly #onNewListener = (event: string | symbol): void => {
    if (event === 'link') this.#link.watch();
    else if (event === 'data' || event === 'readable') this.takeStream();
  };

  /** Takes a listener off. */
  override removeListener(...args: Parameters<Duplex['removeListener']>): this {
    super.removeListener(...args);
    return this.#afterRemoval();
  }

  /** Takes a listener off. */
  override off(...args: Parameters<Duplex['off']>): this {
    return this.removeListener(...args);
  }

  /** Takes all listeners off, of one event or of all. */
  override removeAllListeners(...args: Parameters<Duplex['removeAllListeners']>): this {
    super.removeAllListeners(...args);
    if (this.listenerCount('newListener') === 0) this.on('newListener', this.#onNewListener);
    return this.#afterRemoval();
  }

  /** No event tells of this: from Node.js 20 on, a stream emits no `'removeListener'` for the last listener. */
  #afterRemoval(): this {
    if (this.listenerCount('link') === 0) this.#link.unwatch();
    return this;
  }

  /** The link's name, which changes if somebody renames it. Once closed, the last one seen. */
  get name(): string {
    const attached = this.fd < 0 ? -1 : native().getInterface(this.fd);
    if (typeof attached !== 'number' && attached.name !== '') this.channel.name = attached.name;
    return this.channel.name;
  }

  /** In bytes, as the kernel has it now. */
  get mtu(): number {
    return this.#link.ask('getLinkMtu', 'SIOCGIFMTU');
  }

  /** The link's flags as the kernel has them now, `IFF_UP` (1) among them. @see netdevice(7) */
  get flags(): number {
    const flags = this.#link.ask('getLinkFlags', 'SIOCGIFFLAGS');
    return this.#link.ask('getLinkCarrier', 'SIOCETHTOOL') ? flags | IFF_LOWER_UP : flags;
  }

  /** Whether the link is administratively up. */
  get isUp(): boolean {
    return (this.#link.ask('getLinkFlags', 'SIOCGIFFLAGS') & IFF_UP) !== 0;
  }

  /**
   * The link, for all that {@link Link} can ask and change: addresses, statistics, the master, … It finds the link where
   * it is now. Closing the device closes the link's `namespace`.
   * @throws a system error if the device's namespace can't be opened; ENODEV; `ERR_TUNTAP_CLOSED`
   * @example
   * ```ts
   * const link = await tun.link();
   * await link.addAddress('192.0.2.1/24');
   * ```
   */
  link(): Promise<Link> {
    return this.#link.link();
  }

  /** What the device transferred since it was opened, and what the kernel refused. */
  get counters(): DeviceCounters {
    return this.channel.counters;
  }

  /** Sets the link up. @throws EPERM without CAP_NET_ADMIN */
  setUp(): void {
    this.#link.set({ up: true });
  }

  /** Sets the link down; the kernel then refuses packets with EIO. @throws EPERM without CAP_NET_ADMIN */
  setDown(): void {
    this.#link.set({ up: false });
  }

  /** @param mtu in bytes, 68 to 65,535. @throws EPERM without CAP_NET_ADMIN */
  setMtu(mtu: number): void {
    this.#link.set({ mtu: checkMtu('mtu', mtu) });
  }

  /**
   * Writes every packet from now on, both ways, into a pcapng file that tcpdump and Wireshark read. The directions
   * are the kernel's, as tcpdump on the link shows them: what you read is outbound. If the file can't be written, the
   * device goes on, the process emits a `'warning'`, and `close()` of the capture rejects, or that of the device.
   * @param path the file; an existing one is overwritten
   */
  capture(path: PathLike, options: CaptureOptions = {}): Capture {
    this.channel.requireFd();
    const { name, kind } = this;
    const onWritten = (): void => this.#useCaptures(this.#captures.filter((other) => other !== capture));
    const capture = new Capture(path, options, { name, kind, packetPrefix: this.#packetPrefix, onWritten });
    this.#useCaptures([...this.#captures, capture]);
    return capture;
  }

  #useCaptures(captures: readonly Capture[]): void {
    this.#captures = captures;
    this.channel.recorders = captures;
  }

  /**
   * Closes the device; resolves when it is closed and the files of its captures are complete. Closing twice is harmless.
   * @throws the error of a file that a capture could not write
   */
  async close(): Promise<void> {
    if (!this.closed) {
      const closed = new Promise<void>((resolve) => {
        this.once('close', resolve);
      });
      this.destroy();
      await closed;
    }
    const error = this.#captureError;
    this.#captureError = null;
    if (error) throw error;
  }

  async #closeCaptures(): Promise<void> {
    const closing = this.#captures.filter((capture) => !capture.closing);
    await Promise.allSettled(this.#captures.map((capture) => capture.close()));
    this.#captureError = closing.find(({ errored }) => errored)?.errored ?? null;
  }

  /** Closes, for `await using`. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    let ended: Promise<unknown> | undefined;
    super._destroy(error, async () => {
      let failed = error;
      try {
        this.#onClose?.();
      } catch (closing) {
        failed ??= closing as Error;
      }
      await ended;
      callback(failed);
    });
    ended = Promise.all([this.#closeCaptures(), this.#link.close(error)]);
  }

  /** Calls `use` with an nsfs fd of the namespace that the device is in. @internal */
  protected withNamespace<T>(use: (namespace: number) => T): T {
    return this.#link.withNamespace(use);
  }

  /** Calls a native function with the fd and throws its error. @internal */
  protected control<T>(syscall: string, call: (fd: number) => T | number): T {
    return check<T>(call(this.channel.requireFd()), syscall, this.channel.name);
  }
}

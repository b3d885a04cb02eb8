import { codedError } from '../arguments.js';
import { type Descriptor, watchArrays } from '../native/descriptor.js';
import { EAGAIN, isFatal } from '../native/errno.js';
import { LAYOUT, READABLE } from '../native/layout.js';
import { check, errnoName, systemError } from '../system-error.js';
import type { PacketBatch } from './packet-batch.js';

const { kArm: ARM, kInCallback: IN_CALLBACK, kRecording: RECORDING } = LAYOUT;

/** What a device or socket transferred since it was opened. */
export interface PacketCounters {
  /** Packets, or datagrams, read from the kernel. */
  readonly packetsRead: number;
  /** Their bytes. For datagrams: without headers. */
  readonly bytesRead: number;
  /** Packets that the kernel took. */
  readonly packetsWritten: number;
  /** Their bytes. */
  readonly bytesWritten: number;
  /** Packets that the kernel refused, by error code: `EINVAL`, `EIO` while the link is down, `ENOBUFS`, … */
  readonly refused: Readonly<Record<string, number>>;
}

/** The kernel's view: what the program reads is outbound. */
export type Direction = 'inbound' | 'outbound';

/** Sees every packet of a channel. */
export interface PacketRecorder {
  record(packet: Uint8Array, direction: Direction): void;
}

/** The device or socket that a channel belongs to. */
export interface ChannelOwner {
  /** Gets the events that hold, or a negative errno; see {@link Descriptor.watch}. */
  readonly onReady: (events: number) => void;
  /** Must close the channel. */
  readonly onFailed: (error: Error) => void;
}

/** The descriptor of an open device or socket, its readiness and its counters. */
export class PacketChannel {
  readonly descriptor: Descriptor;
  /** What errors call it. */
  name: string;
  // To arm from within the callback without a call; see Descriptor.watch.
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  readonly #refused: Record<string, number> = {};
  readonly #owner: ChannelOwner;
  #fd: number;
  #pendingDue = false;
  #recorders: readonly PacketRecorder[] | undefined;

  constructor(descriptor: Descriptor, name: string, owner: ChannelOwner) {
    this.descriptor = descriptor;
    this.name = name;
    this.#owner = owner;
    this.#fd = descriptor.fd();
    [this.#control, this.#counters] = watchArrays();
    check(descriptor.watch(owner.onReady, this.#control, this.#counters), 'epoll_ctl', name);
  }

  /** Undefined if there is none, which is quicker to see. */
  get recorders(): readonly PacketRecorder[] | undefined {
    return this.#recorders;
  }

  set recorders(recorders: readonly PacketRecorder[]) {
    this.#recorders = recorders.length > 0 ? recorders : undefined;
    this.#control[RECORDING] = recorders.length;
  }

  /** The packets and bytes that were transferred since the descriptor was opened, and those that were not. */
  get counters(): PacketCounters & { readonly malformed: number } {
    const [packetsRead, bytesRead, packetsWritten, bytesWritten, malformed] = this.#counters;
    return { packetsRead, bytesRead, packetsWritten, bytesWritten, refused: { ...this.#refused }, malformed };
  }

  /** The number; -1 from {@link close} on, though the kernel may take longer. */
  get fd(): number {
    return this.#fd;
  }

  /** The number. Throws `ERR_TUNTAP_CLOSED` once closed. */
  requireFd(): number {
    if (this.#fd < 0) throw codedError('ERR_TUNTAP_CLOSED', `'${this.name}' is closed`);
    return this.#fd;
  }

  /** Asks for one call of `onReady` when any of the events holds. */
  arm(events: number): void {
    if (this.#control[IN_CALLBACK]) {
      this.#control[ARM] |= events;
      return;
    }
    const result = this.descriptor.arm(events);
    if (result < 0) this.fail(result, 'epoll_ctl');
    if (result <= 0 || this.#pendingDue) return;
    this.#pendingDue = true;
    setImmediate(this.#readPending);
  }

  /** Packets of a super-packet that the last batch had no room for: no event tells of them. */
  readonly #readPending = (): void => {
    if (!this.#pendingDue) return;
    this.#pendingDue = false;
    const result = this.descriptor.readPending();
    this.#owner.onReady(result < 0 ? result : READABLE);
  };

  /** Takes {@link arm} back. */
  disarm(events: number): void {
    this.#control[ARM] &= ~events;
    if (events & READABLE) this.#pendingDue = false;
    if (this.#fd >= 0) this.descriptor.disarm(events);
  }

  /** Whether waiting keeps the event loop alive; it does at first. */
  setReferenced(referenced: boolean): void {
    this.descriptor.setReferenced(referenced);
  }

  /** Shows a packet to all recorders. */
  record(packet: Uint8Array, direction: Direction): void {
    for (const recorder of this.recorders ?? []) recorder.record(packet, direction);
  }

  /** Shows packets `start` to the end of a batch that was read or written, but not those that were refused. */
  recordBatch(batch: PacketBatch, start: number, direction: Direction): void {
    for (let i = start; i < batch.length; i++) {
      const packet = batch.at(i);
      if (batch.status(i) === 0 && packet.length > 0) this.record(packet, direction);
    }
  }

  /**
   * Records and counts what the kernel made of packets `start` to the end of a batch.
   * @param taken what the native call returned
   * @returns 0, EAGAIN if the kernel's queue is full, or the errno of a device that is gone
   */
  settle(batch: PacketBatch, start: number, taken: number, syscall: string): number {
    if (taken < 0) throw systemError(taken, syscall, this.name);
    if (this.recorders) this.recordBatch(batch, start, 'inbound');
    const { error } = batch;
    if (isFatal(error) || (error === 0 && taken === batch.length - start)) return error;
    for (let i = start; i < batch.length; i++) {
      const status = batch.status(i);
      if (status !== 0 && status !== EAGAIN && !batch.isDropped(i)) this.countRefused(status);
    }
    return error;
  }

  countRefused(errno: number): void {
    const code = errnoName(errno);
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
  }

  /** Ends the channel with a system error. */
  fail(errno: number, syscall: string): void {
    if (this.#fd >= 0) this.#owner.onFailed(systemError(errno, syscall, this.name));
  }

  /** @param closed is called once the kernel has closed the device; without it, closing takes until then */
  close(closed?: () => void): void {
    this.#fd = -1;
    this.#pendingDue = false;
    if (closed) void this.descriptor.closeLater().then(closed);
    else this.descriptor.close();
  }
}

/** The error of a `next()` while another one waits. */
export function alreadyWaiting(): Error {
  return codedError('ERR_TUNTAP_READING', 'A batch is already being waited for');
}

/** The error of a second reader. */
export function alreadyReading(name: string, how: 'as a stream' | 'in batches'): Error {
  const first =
    how === 'in batches'
      ? 'leave that loop first'
      : "take off its 'data' and 'readable' listeners and call pause() first";
  return codedError('ERR_TUNTAP_READING', `'${name}' is already being read ${how}: ${first}`);
}

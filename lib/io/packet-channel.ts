import { type Descriptor, watchArrays } from '../native/addon.js';
import { check } from '../system-error.js';

/**
 * The descriptor of an open device or socket, and its readiness. Its number is -1 from {@link close} on, though the
 * kernel may take longer.
 */
export class WatchedDescriptor {
  readonly descriptor: Descriptor;
  /** What errors call it. */
  readonly name: string;
  // To arm from within the callback without a call; see Descriptor.watch.
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  #fd: number;

  /** @param onReady gets the events that hold, or a negative errno; see Descriptor.watch */
  constructor(descriptor: Descriptor, name: string, onReady: (events: number) => void) {
    this.descriptor = descriptor;
    this.name = name;
    this.#fd = descriptor.fd();
    [this.#control, this.#counters] = watchArrays();
    check(descriptor.watch(onReady, this.#control, this.#counters), 'epoll_ctl', name);
  }

  /** What was moved since the descriptor was opened. */
  get moved() {
    const [packetsRead, bytesRead, packetsWritten, bytesWritten, malformed] = this.#counters;
    return { packetsRead, bytesRead, packetsWritten, bytesWritten, malformed };
  }

  /** The number, -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /** The number. Throws `ERR_TUNTAP_CLOSED` once closed. */
  requireFd(): number {
    if (this.#fd < 0) {
      throw Object.assign(new Error(`'${this.name}' is closed`), { code: 'ERR_TUNTAP_CLOSED' });
    }
    return this.#fd;
  }

  /** Asks for one callback when any of the events holds. Returns what Descriptor.arm does. */
  arm(events: number): number {
    if (!this.#control[1]) return this.descriptor.arm(events);
    this.#control[0] |= events;
    return 0;
  }

  disarm(): void {
    this.#control[0] = 0;
    if (this.#fd >= 0) this.descriptor.disarm();
  }

  close(closed?: () => void): void {
    this.#fd = -1;
    this.descriptor.close(closed);
  }
}

/** The error of a second reader. */
export function alreadyReading(name: string, how: string): Error {
  return Object.assign(new Error(`'${name}' is already being read ${how}`), { code: 'ERR_TUNTAP_READING' });
}

import { parseMac } from '../address.js';
import { invalidArgType, invalidArgValue, outOfRange, requireBoolean } from '../arguments.js';
import { native } from '../native/addon.js';
import { closingOnError } from '../native/descriptor.js';
import { ENODEV } from '../native/errno.js';
import { withNetlink } from '../net/netlink/socket.js';
import { systemError } from '../system-error.js';
import { attach, type TunTapKind } from './attach.js';
import { type CheckedOffload, type Offloads, VIRTIO_HEADER_SIZE, withOffloads } from './offload.js';
import { type DeviceParts, PacketDevice } from './packet-device.js';

// FLT_EXACT_COUNT of drivers/net/tun.c.
const EXACT_ADDRESSES = 8;

export interface TunTapParts extends DeviceParts {
  readonly offloads: Offloads;
  /** What the user asked for. More queues ask for the same. */
  readonly offload: CheckedOffload;
}

/** What TUN and TAP devices of /dev/net/tun have in common. @see Documentation/networking/tuntap.rst of Linux */
export abstract class TunTapDevice extends PacketDevice {
  /** Which offloads are on. */
  readonly offloads: Offloads;
  readonly #offload: CheckedOffload;

  /** @internal */
  constructor(parts: TunTapParts) {
    super({
      ...parts,
      coalesces: parts.offloads.mode === 'split',
      packetPrefix: parts.offloads.mode === 'raw' ? VIRTIO_HEADER_SIZE : 0,
    });
    this.offloads = parts.offloads;
    this.#offload = parts.offload;
  }

  /** Whether the device stays when it is closed. */
  setPersist(persist: boolean): void {
    requireBoolean('persist', persist);
    this.control('ioctl TUNSETPERSIST', (fd) => native().setPersist(fd, persist));
  }

  /** Sets the link's carrier, as if you plugged its cable in or out. @throws EINVAL if the link has no carrier to set; needs Linux 5.0 */
  setCarrier(on: boolean): void {
    requireBoolean('on', on);
    this.control('ioctl TUNSETCARRIER', (fd) => native().setCarrier(fd, on));
  }

  /**
   * Opens one more queue of a device that was opened with `multiQueue`. The kernel spreads flows over the queues.
   * A worker thread gets its own by `openTun(name, { multiQueue: true })`, since a device can't be posted to it.
   * @throws EINVAL if the device has one queue only
   */
  queue(): this {
    const { headroom, tailroom, index } = this;
    const offload = this.#offload;
    return this.withNamespace((namespace) => {
      const attachment = attach(namespace, this.name, this.kind as TunTapKind, { multiQueue: true, offload });
      return closingOnError(attachment.descriptor, () =>
        withNetlink(namespace, (socket) =>
          withOffloads(attachment, socket, offload, (offloads) => {
            const parts = { ...attachment, index, headroom, tailroom, offload, offloads };
            return new (this.constructor as new (parts: TunTapParts) => this)(parts);
          }),
        ),
      );
    });
  }
}

/** A TUN device: its packets are IP packets, without a link-layer header. */
export class TunDevice extends TunTapDevice {
  readonly kind = 'tun';
}

/** A TAP device: its packets are Ethernet frames, without the frame check sequence. */
export class TapDevice extends TunTapDevice {
  readonly kind = 'tap';

  /**
   * Filters the frames that you read by a classic BPF program; the kernel drops the others. If the program returns fewer
   * bytes than a frame has, the kernel cuts the frame to that length. The filter applies to the queues that are open:
   * attach it again after {@link queue}.
   * @param program its instructions, 8 bytes each (struct sock_filter, native byte order), 1 to 4,096 of them
   * @throws EINVAL if the kernel does not accept the program
   */
  attachFilter(program: Uint8Array): void {
    if (!(program instanceof Uint8Array)) throw invalidArgType('program', 'a Uint8Array', program);
    if (program.length === 0 || program.length % 8 !== 0 || program.length > 8 * 4096) {
      throw invalidArgValue('program', program, 'must hold 1 to 4,096 instructions of 8 bytes');
    }
    this.control('ioctl TUNATTACHFILTER', (fd) => native().attachFilter(fd, program));
  }

  /** Undoes {@link attachFilter}. */
  detachFilter(): void {
    this.control('ioctl TUNDETACHFILTER', (fd) => native().detachFilter(fd));
  }

  /**
   * Filters the frames that you read by their destination address. Without addresses, all frames pass.
   * @param addresses at most eight unicast addresses. From the ninth address on, the kernel matches multicast addresses
   * by a hash, so frames to a few others may pass
   * @param options `allMulticast` lets every multicast frame pass
   * @throws RangeError `ERR_OUT_OF_RANGE` for more unicast addresses: the kernel would then filter nothing
   */
  setTxFilter(addresses: readonly string[], { allMulticast = false }: { allMulticast?: boolean } = {}): void {
    if (!Array.isArray(addresses)) throw invalidArgType('addresses', 'an array of strings', addresses);
    const macs = addresses.map(parseMac);
    const unicast = macs.filter((mac) => !(mac[0] & 1));
    if (unicast.length > EXACT_ADDRESSES) {
      throw outOfRange('addresses', `at most ${EXACT_ADDRESSES} unicast addresses`, unicast.length);
    }
    // If a unicast address follows the exact ones, update_filter() of drivers/net/tun.c sets no filter and no error.
    const bytes = Buffer.concat([...unicast, ...macs.filter((mac) => mac[0] & 1)]);
    this.control('ioctl TUNSETTXFILTER', (fd) => native().setTxFilter(fd, bytes, allMulticast));
  }
}

/** A macvtap link's character device: its packets are Ethernet frames. */
export class MacvtapDevice extends PacketDevice {
  readonly kind = 'macvtap';

  /** @internal */
  constructor(parts: DeviceParts) {
    super(parts);
    // The fd of a macvtap does not report this.
    this.on('link', ({ change }) => {
      if (change === 'removed') this.destroy(systemError(ENODEV, 'read', parts.name));
    });
  }
}

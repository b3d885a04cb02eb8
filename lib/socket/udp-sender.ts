import { invalidArgType, invalidArgValue, outOfRange, requireInteger } from '../arguments.js';
import { ADDRESS_FAMILIES, Endpoint } from '../endpoint.js';
import type { BatchPort } from '../io/batch-port.js';
import { PacketBatch } from '../io/packet-batch.js';
import type { PacketChannel } from '../io/packet-channel.js';
import { PacketRuns, rowsOf } from '../io/packet-runs.js';
import { native } from '../native/addon.js';
import { EAGAIN } from '../native/errno.js';
import { LAYOUT } from '../native/layout.js';
import { check, systemError } from '../system-error.js';
import { DatagramTable, entriesOf } from './datagram-table.js';
import type { SocketErrors } from './socket-errors.js';

const PEER_FAMILY = LAYOUT['UdpState.peer_family'] / 4;

interface SenderParts {
  readonly channel: PacketChannel;
  readonly port: BatchPort;
  readonly errors: SocketErrors;
  readonly state: Uint32Array;
  readonly family: 4 | 6;
  readonly ipv6Only: boolean;
}

/** Sends datagrams. Checks all arguments before anything is sent. */
export class UdpSender {
  readonly #parts: SenderParts;
  /** The connected peer, if any. */
  remote: Endpoint | undefined;

  constructor(parts: SenderParts) {
    this.#parts = parts;
  }

  connect(remote: Endpoint): void {
    const { channel, family, state } = this.#parts;
    const fd = channel.requireFd();
    this.#check(remote);
    check(native().connectSocket(fd, ADDRESS_FAMILIES[family], remote.entry), 'connect', `${remote}`);
    this.remote = remote;
    state[PEER_FAMILY] = ADDRESS_FAMILIES[remote.family];
  }

  writeBatch(
    batch: PacketBatch,
    remote: Endpoint | DatagramTable | undefined,
    start: number,
    runs: PacketRuns | undefined,
  ): number {
    const { channel } = this.#parts;
    channel.requireFd();
    if (!(batch instanceof PacketBatch)) throw invalidArgType('batch', 'a PacketBatch', batch);
    requireInteger('start', start, 0, batch.length);
    let entries: Uint8Array | null = null;
    if (remote instanceof DatagramTable) {
      if (runs !== undefined && !(runs instanceof PacketRuns)) {
        throw invalidArgType('runs', 'PacketRuns', runs);
      }
      const least = runs ? runs.length : batch.length;
      if (remote.capacity < least && (runs !== undefined || remote.capacity !== 1)) {
        throw outOfRange('remote.capacity', `at least ${least}`, remote.capacity);
      }
      entries = entriesOf(remote);
    } else {
      this.#check(remote);
      if (remote !== undefined) entries = remote.entry;
    }
    const [rows, runCount] = runs && entries ? [rowsOf(runs), runs.length] : [null, 0];
    const taken = native().writeDatagrams(channel.descriptor, batch.memory, start, entries, rows, runCount);
    this.settleBatch(batch, start, taken);
    return taken;
  }

  /** What follows the sending of a batch, of which the kernel took `taken` packets. */
  settleBatch(batch: PacketBatch, start: number, taken: number): void {
    this.#parts.errors.reportLater();
    this.#parts.port.settle(batch, start, taken, 'sendmmsg');
  }

  send(datagram: Uint8Array, remote: Endpoint | undefined): boolean {
    const { channel, port, errors } = this.#parts;
    channel.requireFd();
    if (!(datagram instanceof Uint8Array)) throw invalidArgType('datagram', 'a Uint8Array', datagram);
    this.#check(remote);
    const result = native().sendDatagram(channel.descriptor, datagram, remote?.entry ?? null);
    errors.reportLater();
    if (result === EAGAIN) {
      port.block();
      return false;
    }
    if (result < 0) {
      channel.countRefused(result);
      throw systemError(result, 'sendmsg', `${remote ?? this.remote}`);
    }
    return true;
  }

  #check(remote: Endpoint | undefined): void {
    if (remote === undefined && this.remote !== undefined) return;
    if (!(remote instanceof Endpoint)) {
      const expected = this.remote ? 'an Endpoint' : 'an Endpoint, since the socket is not connected';
      throw invalidArgType('remote', expected, remote);
    }
    if (remote.port === 0) throw outOfRange('remote.port', '1 to 65535', 0);
    const { family, ipv6Only } = this.#parts;
    if (remote.family === 4 ? ipv6Only && family === 6 : family === 4) {
      throw invalidArgValue('remote', `${remote}`, `must be of the socket's address family, IPv${family}`);
    }
  }
}

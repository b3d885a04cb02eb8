import { formatIp } from '../address.js';
import { invalidArgType, outOfRange, requireInteger } from '../arguments.js';
import {
  ADDRESS_FAMILIES,
  addressOffset,
  Endpoint,
  familyAt,
  LITTLE_ENDIAN,
  parsePlainIp,
  portAt,
  sameAddress,
} from '../endpoint.js';
import { LAYOUT } from '../native/layout.js';

// The fields behind the remote's sockaddr.
const INTERFACE = LAYOUT['DatagramEntry.interface'];
const LOCAL = LAYOUT['DatagramEntry.local'];
const LOCAL_FAMILY = LAYOUT['DatagramEntry.local_family'];
const TOS = LAYOUT['DatagramEntry.tos'];
const FLAGS = LAYOUT['DatagramEntry.flags'];
const LOCAL_PORT = LAYOUT['DatagramEntry.local_port'];
const FLOW = LAYOUT['DatagramEntry.flow'];
const FLOW_ID = LAYOUT['DatagramEntry.flow_id'];
const { kHasTos: HAS_TOS, kTruncated: TRUNCATED, DatagramEntry: ENTRY_SIZE } = LAYOUT;

/** What native code takes for a table. @internal */
export let entriesOf: (table: DatagramTable) => Uint8Array;

/**
 * The remotes and further properties of the datagrams of a batch: entry `i` belongs to packet `i`. Reading or writing an
 * entry allocates nothing, unless it returns text or an {@link Endpoint}.
 *
 * A socket's `received` has an entry for each packet of the batch that it read last. With a table of your own you tell
 * `writeBatch` where to send each packet.
 * @example
 * ```ts
 * const remotes = new DatagramTable(batch.capacity);
 * for (let i = 0; i < batch.length; i++) remotes.setRemote(i, peerOf(batch.readUInt32BE(i, 16)).endpoint);
 * socket.writeBatch(batch, remotes);
 * ```
 */
export class DatagramTable {
  static {
    entriesOf = (table) => table.#entries;
  }

  /** How many entries it has. */
  readonly capacity: number;
  // Native code writes to a socket's table, so nobody else may reach the memory and detach it.
  readonly #entries: Uint8Array;
  readonly #view: DataView;

  /** @param capacity entries, 1 to 4,096. **Default:** `256` */
  constructor(capacity?: number);
  /** @internal */
  constructor(capacity: number, memory: ArrayBuffer, offset: number);
  constructor(capacity = 256, memory?: ArrayBuffer, offset = 0) {
    this.capacity = requireInteger('capacity', capacity, 1, 4096);
    const size = capacity * ENTRY_SIZE;
    this.#entries = memory ? new Uint8Array(memory, offset, size) : new Uint8Array(size);
    this.#view = new DataView(this.#entries.buffer, this.#entries.byteOffset, size);
  }

  /** The remote's address family: 4, 6, or 0 if the entry has no remote. */
  family(index: number): 0 | 4 | 6 {
    return familyAt(this.#entries, this.#offset(index));
  }

  /** The remote's port. */
  port(index: number): number {
    return portAt(this.#entries, this.#offset(index));
  }

  /**
   * A 32-bit word of the remote's address as a number, the most significant word first. With {@link port}, it is an index
   * into a table of peers that needs no text.
   * @param word 0 for IPv4, 0 to 3 for IPv6
   */
  addressWord(index: number, word = 0): number {
    const at = this.#offset(index);
    const family = familyAt(this.#entries, at);
    requireInteger('word', word, 0, family === 6 ? 3 : 0);
    return this.#view.getUint32(addressOffset(family === 6 ? 6 : 4, at) + 4 * word);
  }

  /** The bytes of the remote's address, 4 or 16 of them, in network order: a copy. */
  addressBytes(index: number): Buffer {
    const at = this.#offset(index);
    const family = familyAt(this.#entries, at);
    const offset = addressOffset(family === 6 ? 6 : 4, at);
    return Buffer.from(this.#entries.subarray(offset, offset + (family === 6 ? 16 : 4)));
  }

  /** A copy of the remote, or undefined if the entry has none. */
  remote(index: number): Endpoint | undefined {
    return Endpoint.at(this.#entries, this.#offset(index));
  }

  /** Sets the remote, and clears the rest of the entry. */
  setRemote(index: number, remote: Endpoint): void {
    if (!(remote instanceof Endpoint)) throw invalidArgType('remote', 'an Endpoint', remote);
    this.#entries.set(remote.entry, this.#offset(index));
  }

  /** Copies all of entry `from` of another table, such as a socket's `received`. */
  copy(index: number, table: DatagramTable, from: number): void {
    if (!(table instanceof DatagramTable)) throw invalidArgType('table', 'a DatagramTable', table);
    const at = table.#offset(from);
    this.#entries.set(table.#entries.subarray(at, at + ENTRY_SIZE), this.#offset(index));
  }

  /** Whether the remote is `endpoint`. */
  isRemote(index: number, endpoint: Endpoint): boolean {
    if (!(endpoint instanceof Endpoint)) throw invalidArgType('endpoint', 'an Endpoint', endpoint);
    return sameAddress(this.#entries, this.#offset(index), endpoint.entry, 0);
  }

  /** Whether two entries have the same remote. */
  sameRemote(index: number, other: number): boolean {
    return sameAddress(this.#entries, this.#offset(index), this.#entries, this.#offset(other));
  }

  /**
   * The address on this host that the datagram came to, or undefined if it is not known (see option `packetInfo`). For a
   * broadcast or multicast datagram it is an address that an answer can leave from, or undefined.
   * @see IP_PKTINFO in ip(7)
   */
  localAddress(index: number): string | undefined {
    const at = this.#offset(index);
    const family = familyAt(this.#entries, at + LOCAL_FAMILY);
    if (family === 0) return undefined;
    return formatIp(this.#entries.subarray(at + LOCAL, at + LOCAL + (family === 4 ? 4 : 16)));
  }

  /**
   * Sets the address on this host that the packet is sent from; for undefined the kernel chooses one. If this host does
   * not have the address, the kernel refuses the packet.
   */
  setLocalAddress(index: number, address: string | undefined): void {
    const at = this.#offset(index);
    const bytes = address === undefined ? undefined : parsePlainIp(address);
    this.#entries.fill(0, at + LOCAL, at + LOCAL_FAMILY + 2);
    if (bytes === undefined) return;
    this.#entries.set(bytes, at + LOCAL);
    const family = ADDRESS_FAMILIES[bytes.length === 4 ? 4 : 6];
    this.#view.setUint16(at + LOCAL_FAMILY, family, LITTLE_ENDIAN);
  }

  /**
   * The port that belongs to {@link localAddress}, or 0 if the entry has none: a socket's datagrams all come to the
   * socket's own port. An interceptor's come to any port.
   */
  localPort(index: number): number {
    return this.#view.getUint32(this.#offset(index) + LOCAL_PORT, LITTLE_ENDIAN);
  }

  /**
   * Sets the port that an interceptor sends the packet from. A socket sends from its own port, whatever the entry says.
   * @param port 0 to 65,535; 0 for none
   */
  setLocalPort(index: number, port: number): void {
    const at = this.#offset(index);
    this.#view.setUint32(at + LOCAL_PORT, requireInteger('port', port, 0, 0xffff), LITTLE_ENDIAN);
  }

  /** Sets the local address and port. @internal */
  setLocal(index: number, local: Endpoint): void {
    const at = this.#offset(index);
    const { family, entry } = local;
    const from = addressOffset(family, 0);
    this.#entries.set(entry.subarray(from, from + (family === 4 ? 4 : 16)), at + LOCAL);
    this.#view.setUint16(at + LOCAL_FAMILY, ADDRESS_FAMILIES[family], LITTLE_ENDIAN);
    this.#view.setUint32(at + LOCAL_PORT, local.port, LITTLE_ENDIAN);
  }

  /** The slot of the flow that an intercepted datagram belongs to. @internal */
  flow(index: number): number {
    return this.#view.getUint32(this.#offset(index) + FLOW, LITTLE_ENDIAN);
  }

  /** What tells this flow of the slot from those before. @internal */
  flowId(index: number): number {
    return this.#view.getUint32(this.#offset(index) + FLOW_ID, LITTLE_ENDIAN);
  }

  /** The index of the link that the datagram came by, or 0 if it is not known (see option `packetInfo`). */
  interfaceIndex(index: number): number {
    return this.#view.getUint32(this.#offset(index) + INTERFACE, LITTLE_ENDIAN);
  }

  /** Sets the index of the link that the packet leaves by; for 0 the routes decide. */
  setInterfaceIndex(index: number, link: number): void {
    const at = this.#offset(index);
    this.#view.setUint32(at + INTERFACE, requireInteger('link', link, 0, 0x7fffffff), LITTLE_ENDIAN);
  }

  /**
   * The IPv4 TOS or IPv6 traffic class that the datagram came with, 0 to 255, or -1 if it is not known (see option
   * `receiveTos`). Its low two bits are ECN.
   * @see RFC 3168
   */
  tos(index: number): number {
    const at = this.#offset(index);
    return this.#entries[at + FLAGS] & HAS_TOS ? this.#entries[at + TOS] : -1;
  }

  /** Sets the TOS or traffic class that the packet is sent with, 0 to 255; -1 stands for the socket's own. */
  setTos(index: number, tos: number): void {
    const at = this.#offset(index);
    requireInteger('tos', tos, -1, 255);
    this.#entries[at + TOS] = tos & 0xff;
    this.#entries[at + FLAGS] =
      tos < 0 ? this.#entries[at + FLAGS] & ~HAS_TOS : this.#entries[at + FLAGS] | HAS_TOS;
  }

  /** Whether the datagram was longer than the socket's `maxDatagramSize`, so that its end is missing. */
  truncated(index: number): boolean {
    return (this.#entries[this.#offset(index) + FLAGS] & TRUNCATED) !== 0;
  }

  #offset(index: number): number {
    if (!Number.isInteger(index) || index < 0 || index >= this.capacity) {
      throw outOfRange('index', `an integer below ${this.capacity}`, index);
    }
    return index * ENTRY_SIZE;
  }
}

/** Captures in pcapng, the format of Wireshark and tcpdump: the blocks, and a writer that puts them in order. */

import { invalidArgType, outOfRange, requireOneOf } from '../arguments.js';
import { NO_BYTES, requireBytes, uint32 } from './fields.js';

const BLOCK_TYPE = {
  INTERFACE_DESCRIPTION: 1,
  INTERFACE_STATISTICS: 5,
  ENHANCED_PACKET: 6,
  SECTION_HEADER: 0x0a0d0d0a,
} as const;

const OPTION = {
  END: 0,
  IF_NAME: 2,
  IF_TSRESOL: 9,
  EPB_FLAGS: 2,
  ISB_IFRECV: 4,
  ISB_IFDROP: 5,
} as const;

const LINK_TYPE = { ethernet: 1, raw: 101 } as const;
const DIRECTION = { inbound: 1, outbound: 2 } as const;

/** Only one section, and in it one interface. */
const INTERFACE_ID = 0;
const MAX_UINT64 = 0xffffffffffffffffn;

/** What a capture says about its interface. */
export interface PcapngInterface {
  /** `'raw'` for the IP packets of a TUN device (`LINKTYPE_RAW`), `'ethernet'` for a TAP device's frames. */
  readonly linkType: 'raw' | 'ethernet';
  /** Name of the interface, `'tun0'`; at most 65535 bytes of UTF-8. */
  readonly name: string;
  /** How many bytes of a packet are kept at most, 0 to 0xffffffff; 0 keeps all. **Default:** `0`. */
  readonly snapLength?: number;
}

/** What a capture says about a packet besides its bytes. */
export interface PcapngPacketOptions {
  /** As the kernel sees its interface: what is read from the device is outbound. **Default:** not told. */
  readonly direction?: 'inbound' | 'outbound';
  /** Nanoseconds since the epoch, 64 bits. **Default:** now. */
  readonly timestamp?: bigint;
}

/** What a capture says about all its packets. */
export interface PcapngStatistics {
  /** Packets that the interface received, 64 bits. */
  readonly received: number | bigint;
  /** Packets that were dropped for lack of room, 64 bits. */
  readonly dropped: number | bigint;
  /** Nanoseconds since the epoch, 64 bits. **Default:** now. */
  readonly timestamp?: bigint;
}

/**
 * Turns packets into the bytes of a pcapng capture with one interface. It does no I/O: every block goes to `write`,
 * whole, in a fresh buffer, before the call that made it returns.
 *
 * @see {@link https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcapng/ | draft-ietf-opsawg-pcapng}
 * @example
 * ```ts
 * const file = createWriteStream('tun0.pcapng');
 * const capture = new PcapngWriter((block) => file.write(block), { linkType: 'raw', name: 'tun0' });
 * for await (const packet of tun) capture.packet(packet, { direction: 'outbound' });
 * ```
 */
export class PcapngWriter {
  readonly #write: (block: Buffer) => void;
  readonly #snapLength: number;

  /**
   * Writes the two blocks that every capture begins with.
   *
   * @param write - takes the blocks in their order
   * @param description - of the interface that is captured
   * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if an argument is wrong
   */
  constructor(write: (block: Buffer) => void, description: PcapngInterface) {
    if (typeof write !== 'function') throw invalidArgType('write', 'a function', write);
    const interfaceDescription = interfaceDescriptionBlock(description);
    this.#write = write;
    this.#snapLength = description.snapLength ?? 0;
    write(sectionHeaderBlock());
    write(interfaceDescription);
  }

  /**
   * Writes one packet, cut to the snap length; its original length is kept.
   *
   * @param bytes - copied before the call returns
   * @param options - direction and time
   * @throws `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` if an argument is wrong
   */
  packet(bytes: Uint8Array, options: PcapngPacketOptions = {}): void {
    this.#write(enhancedPacketBlock(bytes, this.#snapLength, options));
  }

  /**
   * Writes how many packets were received and dropped so far; usually last.
   *
   * @throws `ERR_INVALID_ARG_TYPE` or `ERR_OUT_OF_RANGE` if a count or the time is wrong
   */
  statistics(statistics: PcapngStatistics): void {
    this.#write(interfaceStatisticsBlock(statistics));
  }
}

function sectionHeaderBlock(): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(0x1a2b3c4d, 0);
  body.writeUInt16LE(1, 4);
  body.writeUInt16LE(0, 6);
  body.writeBigInt64LE(-1n, 8); // length of the section: not known
  return block(BLOCK_TYPE.SECTION_HEADER, [body]);
}

function interfaceDescriptionBlock({ linkType, name, snapLength = 0 }: PcapngInterface): Buffer {
  const linkTypeNumber = requireOneOf('linkType', LINK_TYPE, linkType);
  if (typeof name !== 'string') throw invalidArgType('name', 'of type string', name);
  const body = Buffer.alloc(8);
  body.writeUInt16LE(linkTypeNumber, 0);
  body.writeUInt32LE(uint32('snapLength', snapLength), 4);
  return block(BLOCK_TYPE.INTERFACE_DESCRIPTION, [
    body,
    ...option(OPTION.IF_NAME, requireBytes('name', Buffer.from(name), 0xffff)),
    ...option(OPTION.IF_TSRESOL, Uint8Array.of(9)), // 10^-9 seconds
    ...option(OPTION.END, NO_BYTES),
  ]);
}

function enhancedPacketBlock(bytes: Uint8Array, snapLength: number, options: PcapngPacketOptions): Buffer {
  const { direction, timestamp } = options;
  const originalLength = requireBytes('bytes', bytes, 0xffffffff).length;
  const captured = snapLength === 0 ? bytes : bytes.subarray(0, snapLength);
  const body = Buffer.alloc(20);
  body.writeUInt32LE(INTERFACE_ID, 0);
  writeTimestamp(body, 4, timestamp);
  body.writeUInt32LE(captured.length, 12);
  body.writeUInt32LE(originalLength, 16);
  return block(BLOCK_TYPE.ENHANCED_PACKET, [body, ...padded(captured), ...directionOption(direction)]);
}

function directionOption(direction: PcapngPacketOptions['direction']): Uint8Array[] {
  if (direction === undefined) return [];
  const flags = Buffer.alloc(4);
  flags.writeUInt32LE(requireOneOf('direction', DIRECTION, direction));
  return [...option(OPTION.EPB_FLAGS, flags), ...option(OPTION.END, NO_BYTES)];
}

function interfaceStatisticsBlock({ received, dropped, timestamp }: PcapngStatistics): Buffer {
  const body = Buffer.alloc(12);
  body.writeUInt32LE(INTERFACE_ID, 0);
  writeTimestamp(body, 4, timestamp);
  return block(BLOCK_TYPE.INTERFACE_STATISTICS, [
    body,
    ...option(OPTION.ISB_IFRECV, uint64('received', received)),
    ...option(OPTION.ISB_IFDROP, uint64('dropped', dropped)),
    ...option(OPTION.END, NO_BYTES),
  ]);
}

/** Type, length, body, and the length once more, by which a reader can go backwards. */
function block(type: number, parts: readonly Uint8Array[]): Buffer {
  const length = 12 + parts.reduce((sum, part) => sum + part.length, 0);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(length, 4);
  return Buffer.concat([head, ...parts, head.subarray(4)], length);
}

function option(code: number, value: Uint8Array): Uint8Array[] {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(code, 0);
  head.writeUInt16LE(value.length, 2);
  return [head, ...padded(value)];
}

/** Everything in a block begins at a multiple of 4 bytes. */
function padded(value: Uint8Array): Uint8Array[] {
  return [value, new Uint8Array(-value.length & 3)];
}

/** The upper 32 bits come first, whatever the byte order of the section. */
function writeTimestamp(body: Buffer, at: number, timestamp = now()): void {
  requireUint64('timestamp', timestamp);
  body.writeUInt32LE(Number(timestamp >> 32n), at);
  body.writeUInt32LE(Number(timestamp & 0xffffffffn), at + 4);
}

/** Finer than Date.now()'s milliseconds, at the price of not following a clock that is set while Node runs. */
function now(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
}

function uint64(name: string, value: number | bigint): Buffer {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw outOfRange(name, 'a safe integer or a bigint', value);
  }
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(requireUint64(name, typeof value === 'number' ? BigInt(value) : value));
  return bytes;
}

function requireUint64(name: string, value: unknown): bigint {
  if (typeof value !== 'bigint') throw invalidArgType(name, 'of type bigint', value);
  if (value < 0n || value > MAX_UINT64) throw outOfRange(name, 'from 0 to 2^64 - 1', value);
  return value;
}

/**
 * Netlink messages and attributes as bytes (linux/netlink.h). Integers are in the machine's byte order, which
 * is little endian on every architecture that Node runs Linux on but s390x.
 */

import { endianness } from 'node:os';

const LITTLE_ENDIAN = endianness() === 'LE';
const HEADER_SIZE = 16;
const ATTRIBUTE_HEADER_SIZE = 4;
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;

const align = (length: number): number => (length + 3) & ~3;

export function u8(value: number): Buffer {
  return Buffer.of(value);
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  LITTLE_ENDIAN ? bytes.writeUInt16LE(value) : bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  LITTLE_ENDIAN ? bytes.writeUInt32LE(value) : bytes.writeUInt32BE(value);
  return bytes;
}

export function readU16(bytes: Buffer, offset = 0): number {
  return LITTLE_ENDIAN ? bytes.readUInt16LE(offset) : bytes.readUInt16BE(offset);
}

export function readU32(bytes: Buffer, offset = 0): number {
  return LITTLE_ENDIAN ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset);
}

export function readI32(bytes: Buffer, offset = 0): number {
  return readU32(bytes, offset) | 0;
}

/** A string with its terminating NUL. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

export function readText(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end);
}

/** One attribute, padded. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc(align(ATTRIBUTE_HEADER_SIZE + value.length));
  u16(ATTRIBUTE_HEADER_SIZE + value.length).copy(bytes, 0);
  u16(type).copy(bytes, 2);
  bytes.set(value, ATTRIBUTE_HEADER_SIZE);
  return bytes;
}

/** An attribute that holds attributes. */
export function nested(type: number, ...attributes: readonly Buffer[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Buffer;
}

export function encodeMessage(
  type: number,
  flags: number,
  sequence: number,
  ...parts: readonly Buffer[]
): Buffer {
  const payload = Buffer.concat(parts);
  const length = HEADER_SIZE + payload.length;
  // nlmsg_pid 0: the kernel knows the socket that it came from.
  return Buffer.concat([u32(length), u16(type), u16(flags), u32(sequence), u32(0), payload]);
}

/** The messages of one datagram. What follows a length that can't be true is left out. */
export function* decodeMessages(datagram: Buffer): Generator<NetlinkMessage> {
  for (let offset = 0; offset + HEADER_SIZE <= datagram.length; ) {
    const length = readU32(datagram, offset);
    if (length < HEADER_SIZE || length > datagram.length - offset) return;
    yield {
      type: readU16(datagram, offset + 4),
      flags: readU16(datagram, offset + 6),
      sequence: readU32(datagram, offset + 8),
      payload: datagram.subarray(offset + HEADER_SIZE, offset + length),
    };
    offset += align(length);
  }
}

/** Attributes by type, the last of each. What follows a length that can't be true is left out. */
export function decodeAttributes(bytes: Buffer): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  for (let offset = 0; offset + ATTRIBUTE_HEADER_SIZE <= bytes.length; ) {
    const length = readU16(bytes, offset);
    if (length < ATTRIBUTE_HEADER_SIZE || length > bytes.length - offset) break;
    const type = readU16(bytes, offset + 2) & NLA_TYPE_MASK;
    attributes.set(type, bytes.subarray(offset + ATTRIBUTE_HEADER_SIZE, offset + length));
    offset += align(length);
  }
  return attributes;
}

/** Netlink messages as bytes (linux/netlink.h, Documentation/userspace-api/netlink/intro.rst of Linux). */

import { align, readU16, readU32, u16, u32 } from './bytes.js';

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_HEADER_SIZE = 16;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
export const NLM_F_ECHO = 0x8;
/** In a part of a dump: the list changed while it was made. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
/** In an acknowledgement: it repeats only the request's header. */
export const NLM_F_CAPPED = 0x100;

/** What a change does if the object exists, or does not. */
export const CHANGE_FLAGS = {
  add: NLM_F_CREATE | NLM_F_EXCL,
  append: NLM_F_CREATE | NLM_F_APPEND,
  replace: NLM_F_CREATE | NLM_F_REPLACE,
  delete: 0,
} as const;
export type Change = keyof typeof CHANGE_FLAGS;

export class NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** What it came in, and where its payload is. A list may have a million messages, too many for a view each. */
  readonly datagram: Buffer;
  readonly start: number;
  readonly end: number;

  constructor(
    type: number,
    flags: number,
    sequence: number,
    datagram: Buffer,
    start = 0,
    end = datagram.length,
  ) {
    this.type = type;
    this.flags = flags;
    this.sequence = sequence;
    this.datagram = datagram;
    this.start = start;
    this.end = end;
  }

  /** The family's header and the attributes. */
  get payload(): Buffer {
    return this.datagram.subarray(this.start, this.end);
  }
}

export function encodeMessage(type: number, flags: number, sequence: number, payload: Uint8Array): Buffer {
  const length = NLMSG_HEADER_SIZE + payload.length;
  const padding = Buffer.alloc(align(length) - length);
  // nlmsg_pid 0: the kernel knows the sending socket.
  return Buffer.concat([u32(length), u16(type), u16(flags), u32(sequence), u32(0), payload, padding]);
}

/** The messages of one datagram. It stops at a length that can't be true. */
export function* decodeMessages(datagram: Buffer): Generator<NetlinkMessage> {
  for (let offset = 0; offset + NLMSG_HEADER_SIZE <= datagram.length; ) {
    const length = readU32(datagram, offset);
    if (length < NLMSG_HEADER_SIZE || length > datagram.length - offset) return;
    yield new NetlinkMessage(
      readU16(datagram, offset + 4),
      readU16(datagram, offset + 6),
      readU32(datagram, offset + 8),
      datagram,
      offset + NLMSG_HEADER_SIZE,
      offset + length,
    );
    offset += align(length);
  }
}

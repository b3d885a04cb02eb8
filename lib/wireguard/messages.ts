/** The messages of the protocol: their types, sizes and fields. Integers are little-endian. */

/** The type, in a message's first four bytes. */
export const MessageType = { initiation: 1, response: 2, cookieReply: 3, data: 4 } as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Header and tag of a data message; a keepalive is nothing else. */
export const DATA_OVERHEAD = 32;
export const INITIATION_LENGTH = 148;
export const RESPONSE_LENGTH = 92;
export const COOKIE_REPLY_LENGTH = 64;
/** mac1 and mac2, at the end of an initiation and of a response. */
export const MAC_LENGTH = 16;

/** Where a message's fields begin. */
export const INITIATION = { sender: 4, ephemeral: 8, static: 40, timestamp: 88 } as const;
export const RESPONSE = { sender: 4, receiver: 8, ephemeral: 12, empty: 44 } as const;
export const COOKIE_REPLY = { receiver: 4, nonce: 8, cookie: 32 } as const;

const LENGTHS: Readonly<Record<number, number | undefined>> = {
  [MessageType.initiation]: INITIATION_LENGTH,
  [MessageType.response]: RESPONSE_LENGTH,
  [MessageType.cookieReply]: COOKIE_REPLY_LENGTH,
};

export function readUInt32(bytes: Uint8Array, offset: number): number {
  return (
    (bytes[offset] | (bytes[offset + 1] << 8) | (bytes[offset + 2] << 16) | (bytes[offset + 3] << 24)) >>> 0
  );
}

/** A datagram's type; undefined if that is none, or the datagram's length does not fit it. */
export function messageType(datagram: Uint8Array): MessageType | undefined {
  if (datagram.length < DATA_OVERHEAD) return undefined;
  const type = readUInt32(datagram, 0);
  if (type !== MessageType.data && datagram.length !== LENGTHS[type]) return undefined;
  return type as MessageType;
}

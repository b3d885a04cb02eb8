/** The Internet checksum: RFC 1071, and its incremental update, RFC 1624. */

/** The addresses of an IP packet in network order. `Ipv4Packet` and `Ipv6Packet` are such. */
export interface IpAddressBytes {
  /** 4 or 16 bytes. */
  readonly sourceBytes: Uint8Array;
  /** As many bytes as the source. */
  readonly destinationBytes: Uint8Array;
  /** Where a source route ends, which is what checksums cover. **Default:** `destinationBytes` */
  readonly finalDestinationBytes?: Uint8Array;
}

/**
 * Internet checksum of `bytes`: the complement of the ones' complement sum of their 16-bit words. Bytes that
 * already hold a right checksum give 0.
 *
 * @param bytes - any length, any alignment; an odd last byte counts as if a zero byte followed
 * @param initial - a sum to go on from, such as {@link pseudoHeaderSum} gives; 0 unless told
 * @returns 0 to 0xffff, to be stored in network order
 * @see {@link https://www.rfc-editor.org/rfc/rfc1071 | RFC 1071}
 */
export function internetChecksum(bytes: Uint8Array, initial = 0): number {
  return ~fold(sumWords(bytes) + initial) & 0xffff;
}

/**
 * Sum of the pseudo header that TCP, UDP and ICMPv6 put before themselves, to be given to
 * {@link internetChecksum} as `initial`.
 *
 * @param sourceBytes - 4 bytes of an IPv4 or 16 of an IPv6 address
 * @param destinationBytes - as many; of a source-routed packet the final destination
 * @param protocol - of the upper layer, 0 to 255: `IpProtocol.TCP`
 * @param length - of the upper layer's header and data in bytes
 * @returns a sum of 16-bit words, neither folded nor complemented
 * @see {@link https://www.rfc-editor.org/rfc/rfc9293#section-3.1 | RFC 9293},
 * {@link https://www.rfc-editor.org/rfc/rfc8200#section-8.1 | RFC 8200}
 */
export function pseudoHeaderSum(
  sourceBytes: Uint8Array,
  destinationBytes: Uint8Array,
  protocol: number,
  length: number,
): number {
  return sumWords(sourceBytes) + sumWords(destinationBytes) + protocol + length;
}

/** Checksum of an upper layer's header and data between two addresses: of TCP, UDP and ICMPv6. */
export function upperLayerChecksum(bytes: Uint8Array, protocol: number, packet: IpAddressBytes): number {
  const destination = packet.finalDestinationBytes ?? packet.destinationBytes;
  return internetChecksum(bytes, pseudoHeaderSum(packet.sourceBytes, destination, protocol, bytes.length));
}

/**
 * The checksum after one 16-bit word that it covers has changed, without a look at the other words.
 *
 * @param checksum - the checksum as stored, 0 to 0xffff
 * @param oldValue - the word before, 0 to 0xffff
 * @param newValue - the word now, 0 to 0xffff
 * @returns the checksum to store. For UDP the caller keeps the meaning of 0: no checksum stays none, and a
 * result of 0 is stored as 0xffff
 * @see {@link https://www.rfc-editor.org/rfc/rfc1624#section-3 | RFC 1624, equation 3}
 */
export function updateChecksum16(checksum: number, oldValue: number, newValue: number): number {
  return ~fold((~checksum & 0xffff) + (~oldValue & 0xffff) + newValue) & 0xffff;
}

/** High and low bytes are summed apart, which saves a shift a word; the unrolled loop halves the time again. */
function sumWords(bytes: Uint8Array): number {
  const length = bytes.length;
  let high = 0;
  let low = 0;
  let at = 0;
  for (const unrolled = length & ~7; at < unrolled; at += 8) {
    high += bytes[at] + bytes[at + 2] + bytes[at + 4] + bytes[at + 6];
    low += bytes[at + 1] + bytes[at + 3] + bytes[at + 5] + bytes[at + 7];
  }
  for (; at + 1 < length; at += 2) {
    high += bytes[at];
    low += bytes[at + 1];
  }
  if (at < length) high += bytes[at];
  return high * 256 + low;
}

/** Arithmetic, not shifts: a sum may exceed 32 bits. */
function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** The chain of headers between an IPv6 header and the upper layer. */

import { read16 } from './fields.js';
import { IpProtocol } from './numbers.js';

/** Length of the fixed IPv6 header in bytes. */
export const IPV6_HEADER_LENGTH = 40;
const NEXT_HEADER = 6;

/** RFC 8200 section 4.1 names six headers, one of which may come twice; more serve only to keep a parser busy. */
const MAX_EXTENSION_HEADERS = 8;

/** Next header, length and 6 more bytes: even the smallest header has them. */
const MIN_HEADER_LENGTH = 8;

/** The fixed fields of an authentication header, RFC 4302 section 2. */
const MIN_AUTHENTICATION_LENGTH = 12;

/**
 * One extension header of an IPv6 packet.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc8200#section-4 | RFC 8200}
 */
export interface Ipv6ExtensionHeader {
  /** `IpProtocol.HOPOPTS`, `ROUTING`, `FRAGMENT`, `DSTOPTS` or `AH`. */
  readonly type: number;
  /** The whole header. Its first byte is the type of what follows, which a builder sets. */
  readonly bytes: Uint8Array;
}

/** What a walk along the chain finds. Offsets count from the start of the packet. */
export interface HeaderChain {
  /** Why the chain is malformed; the other fields then tell where the walk stopped. */
  readonly problem?: string;
  readonly upperProtocol: number;
  readonly payloadOffset: number;
  /** 0 if there is no fragment header. */
  readonly fragmentHeaderOffset: number;
  /** Of the last routing header with segments left; 0 if there is none. */
  readonly routingHeaderOffset: number;
}

/**
 * Walks the chain up to the first header that is not an extension header: the upper layer's, ESP (what follows is
 * encrypted) or "no next header". A fragment other than the first has none of the upper layer's headers, so there
 * the walk stops behind the fragment header.
 *
 * @param end - where the packet ends by its payload length; the bytes reach as far
 */
export function walkHeaderChain(bytes: Uint8Array, end: number): HeaderChain {
  let type = bytes[NEXT_HEADER];
  let at = IPV6_HEADER_LENGTH;
  let fragmentHeaderOffset = 0;
  let routingHeaderOffset = 0;
  const stop = (problem?: string): HeaderChain => ({
    problem,
    upperProtocol: type,
    payloadOffset: at,
    fragmentHeaderOffset,
    routingHeaderOffset,
  });

  for (let count = 0; isExtensionHeader(type); count++) {
    if (count === MAX_EXTENSION_HEADERS) return stop(`more than ${MAX_EXTENSION_HEADERS} extension headers`);
    if (type === IpProtocol.HOPOPTS && count > 0) {
      return stop('hop-by-hop options are not the first extension header');
    }
    if (type === IpProtocol.FRAGMENT && fragmentHeaderOffset > 0) {
      return stop('more than one fragment header');
    }

    const problem = extensionHeaderProblem(type, bytes.subarray(at, end));
    if (problem !== undefined) return stop(problem);
    const length = extensionHeaderLength(type, bytes, at);
    if (type === IpProtocol.FRAGMENT) fragmentHeaderOffset = at;
    if (type === IpProtocol.ROUTING && bytes[at + 3] > 0) routingHeaderOffset = at;
    type = bytes[at];
    at += length;
    if (fragmentHeaderOffset > 0 && fragmentOffsetAt(bytes, fragmentHeaderOffset) > 0) break;
  }
  return stop();
}

/** The extension headers of a chain that {@link walkHeaderChain} found sound, up to its payload. */
export function* iterateHeaders(bytes: Uint8Array, payloadOffset: number): Generator<Ipv6ExtensionHeader> {
  let type = bytes[NEXT_HEADER];
  for (let at = IPV6_HEADER_LENGTH; at < payloadOffset; ) {
    const end = at + extensionHeaderLength(type, bytes, at);
    yield { type, bytes: bytes.subarray(at, end) };
    type = bytes[at];
    at = end;
  }
}

/** Why the bytes can't begin with an extension header of this type. */
function extensionHeaderProblem(type: number, bytes: Uint8Array): string | undefined {
  const length = bytes.length < MIN_HEADER_LENGTH ? MIN_HEADER_LENGTH : extensionHeaderLength(type, bytes, 0);
  if (length > bytes.length) {
    return `extension header ${type} needs ${length} bytes, ${bytes.length} are left`;
  }
  if (type === IpProtocol.AH && length < MIN_AUTHENTICATION_LENGTH) {
    return `authentication header length ${length} is less than ${MIN_AUTHENTICATION_LENGTH}`;
  }
  return undefined;
}

/** Offset of the fragment in bytes, a multiple of 8: the upper 13 bits of the field. */
export function fragmentOffsetAt(bytes: Uint8Array, fragmentHeaderOffset: number): number {
  return read16(bytes, fragmentHeaderOffset + 2) & 0xfff8;
}

/**
 * Where the route of a routing header ends, 16 bytes; undefined if its type is not known or it has too few addresses.
 *
 * @param destination - the IPv6 header's, with which addresses of RPL begin
 */
export function finalDestination(header: Buffer, destination: Buffer): Buffer | undefined {
  const segmentsLeft = header[3];
  const count = (header.length - 8) >> 4;
  switch (header[2]) {
    case 0: // RFC 2460 section 4.4
      return segmentsLeft <= count ? header.subarray(16 * count - 8, 16 * count + 8) : undefined;
    case 2: // the home address, RFC 6275 section 6.4
    case 4: // the first of a reversed list, RFC 8754 section 2
      return segmentsLeft <= count ? header.subarray(8, 24) : undefined;
    case 3: {
      // RFC 6554 section 3: the last address may be compressed less than the others.
      const elided = header[4] & 0x0f;
      const end = header.length - (header[5] >> 4);
      const last = end - (16 - elided);
      if (last < 8 || segmentsLeft > 1 + Math.floor((last - 8) / (16 - (header[4] >> 4)))) return undefined;
      return Buffer.concat([destination.subarray(0, elided), header.subarray(last, end)]);
    }
    default:
      return undefined;
  }
}

const { HOPOPTS, ROUTING, FRAGMENT, DSTOPTS, AH } = IpProtocol;
const EXTENSION_HEADERS: readonly number[] = [HOPOPTS, ROUTING, FRAGMENT, DSTOPTS, AH];

export function isExtensionHeader(type: number): boolean {
  return EXTENSION_HEADERS.includes(type);
}

export function extensionHeaderLength(type: number, bytes: Uint8Array, at: number): number {
  if (type === IpProtocol.FRAGMENT) return 8;
  // RFC 4302 section 2.2: in 4-byte words less 2, unlike the 8-byte units less 1 of all other headers.
  if (type === IpProtocol.AH) return (bytes[at + 1] + 2) * 4;
  return (bytes[at + 1] + 1) * 8;
}

/** Networks: an address and how many of its first bits count. */

import { isIP } from 'node:net';
import { formatIp, parseIp } from '../address.js';

/** A network. Its bytes have no bits set beyond the prefix. */
export interface Prefix {
  readonly family: 4 | 6;
  readonly bytes: Uint8Array;
  readonly length: number;
}

/** A decimal number without a sign, or undefined. Leading zeros are allowed. */
export function parseNumber(text: string, maximum: number): number | undefined {
  if (!/^[0-9]+$/.test(text)) return undefined;
  const value = Number(text);
  return value <= maximum ? value : undefined;
}

/** The address and prefix length of a text, host bits kept; a bare address is a host. Undefined if it is neither. */
export function parseHost(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  const host = slash === -1 ? text : text.slice(0, slash);
  const family = host.includes('%') ? 0 : isIP(host);
  if (family !== 4 && family !== 6) return undefined;
  const bits = family === 4 ? 32 : 128;
  const length = slash === -1 ? bits : parseNumber(text.slice(slash + 1), bits);
  return length === undefined ? undefined : { family, bytes: parseIp(host), length };
}

/** Clears the bits beyond the prefix. */
export function maskPrefix({ family, bytes, length }: Prefix): Prefix {
  const masked = Uint8Array.from(bytes);
  for (let i = 0; i < masked.length; i++) {
    const keep = Math.min(Math.max(length - 8 * i, 0), 8);
    masked[i] &= 0xff00 >> keep;
  }
  return { family, bytes: masked, length };
}

/** The network of a text, its host bits cleared. Undefined if it is none. */
export function parsePrefix(text: string): Prefix | undefined {
  const host = parseHost(text);
  return host && maskPrefix(host);
}

/** `192.0.2.0/24`, in the canonical form of RFC 5952. */
export function formatPrefix({ bytes, length }: Prefix): string {
  return `${formatIp(bytes)}/${length}`;
}

/** Whether all of `inner` is in `outer`. */
export function containsPrefix(outer: Prefix, inner: Prefix): boolean {
  if (outer.family !== inner.family || outer.length > inner.length) return false;
  const { bytes } = maskPrefix({ ...inner, length: outer.length });
  return bytes.every((byte, i) => byte === outer.bytes[i]);
}

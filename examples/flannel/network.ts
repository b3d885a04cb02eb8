/** IPv4 networks and their arithmetic. */

import { formatIpv4, parseCidr, parseIpv4 } from 'tuntap-native/packet';

/** Addresses are signed 32-bit integers, as `bytes.readInt32BE()` gives them: V8 allocates nothing for these. */
export interface Network {
  readonly address: number;
  readonly mask: number;
  readonly prefixLength: number;
}

export function network(address: number, prefixLength: number): Network {
  // JavaScript, as C on most machines, takes a shift by 32 for one by 0.
  return { address, mask: prefixLength === 0 ? 0 : -1 << (32 - prefixLength), prefixLength };
}

/** The network of an address such as 192.0.2.1/24. @throws TypeError for what is none of IPv4 */
export function networkOf(text: string): Network {
  const { family, address, prefixLength } = parseCidr(text);
  if (family !== 4) throw new TypeError(`${text} is no IPv4 network`);
  const { mask } = network(0, prefixLength);
  return network(address.readInt32BE(0) & mask, prefixLength);
}

/** @throws TypeError for what is no IPv4 network; one with host bits set is none, as for `ip route` */
export function parseNetwork(text: string): Network {
  const parsed = networkOf(text);
  if (formatNetwork(parsed) !== text) throw new TypeError(`${text} is no IPv4 network`);
  return parsed;
}

export function formatNetwork({ address, prefixLength }: Network): string {
  return `${formatAddress(address)}/${prefixLength}`;
}

/** @throws TypeError for what is no IPv4 address */
export function parseAddress(text: string): number {
  return parseIpv4(text).readInt32BE(0);
}

export function formatAddress(address: number): string {
  return formatIpv4(Uint8Array.of(address >> 24, address >> 16, address >> 8, address));
}

export function contains({ address, mask }: Network, member: number): boolean {
  return (member & mask) === address;
}

export function equal(one: Network, other: Network): boolean {
  return one.address === other.address && one.prefixLength === other.prefixLength;
}

/** Whether `inner` is `outer`, or a part of it. */
export function covers(outer: Network, inner: Network): boolean {
  return inner.prefixLength >= outer.prefixLength && contains(outer, inner.address);
}

export function overlap(one: Network, other: Network): boolean {
  return covers(one, other) || covers(other, one);
}

/** How many addresses it has. */
export function size({ prefixLength }: Network): number {
  return 2 ** (32 - prefixLength);
}

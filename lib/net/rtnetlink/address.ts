/** Addresses of links in rtnetlink's messages (linux/if_addr.h). */

import { AttributeTable, attribute, type Codec, type UnknownAttribute } from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { ip, named, text, u8, u32 } from '../netlink/codecs.js';
import type { NetlinkMessage } from '../netlink/message.js';
import { enumNames, flagNames } from '../netlink/names.js';
import { type Family, toFamily } from './family.js';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const IFADDRMSG_SIZE = 8;

/** As `ip address` has it; a number where it has no word. */
export type Scope = 'global' | 'site' | 'link' | 'host' | 'nowhere' | number;
export const SCOPES = enumNames({ global: 0, site: 200, link: 253, host: 254, nowhere: 255 });

const ADDRESS_PROTOCOLS = enumNames({ unspecified: 0, kernel_lo: 1, kernel_ra: 2, kernel_ll: 3 });

export const ADDRESS_FLAGS = flagNames({
  secondary: 0x01,
  nodad: 0x02,
  optimistic: 0x04,
  dadfailed: 0x08,
  home: 0x10,
  deprecated: 0x20,
  tentative: 0x40,
  permanent: 0x80,
  mngtmpaddr: 0x100,
  noprefixroute: 0x200,
  autojoin: 0x400,
  'stable-privacy': 0x800,
});
/** As `ip address` has it; `permanent` where it says nothing, in place of its `dynamic`. */
export type AddressFlag = ReturnType<typeof ADDRESS_FLAGS.namesOf>[number];

const FOREVER = 0xffffffff;

interface Lifetimes {
  readonly preferred: number;
  readonly valid: number;
}

/** struct ifa_cacheinfo: the lifetimes, then when the address was made and changed. */
const cacheInfo: Codec<Lifetimes> = {
  fits: (length) => length >= 16,
  read: (from, start) => ({
    preferred: toSeconds(bytes.readU32(from, start)),
    valid: toSeconds(bytes.readU32(from, start + 4)),
  }),
  write: ({ preferred, valid }) =>
    Buffer.concat([bytes.u32(fromSeconds(preferred)), bytes.u32(fromSeconds(valid)), Buffer.alloc(8)]),
};

const toSeconds = (value: number): number => (value === FOREVER ? Number.POSITIVE_INFINITY : value);
const fromSeconds = (value: number): number => (value === Number.POSITIVE_INFINITY ? FOREVER : value);

export const addressTable = new AttributeTable({
  local: attribute(2, 'IFA_LOCAL', ip),
  address: attribute(1, 'IFA_ADDRESS', ip),
  label: attribute(3, 'IFA_LABEL', text),
  broadcast: attribute(4, 'IFA_BROADCAST', ip),
  anycast: attribute(5, 'IFA_ANYCAST', ip),
  lifetimes: attribute(6, 'IFA_CACHEINFO', cacheInfo),
  flags: attribute(8, 'IFA_FLAGS', u32),
  metric: attribute(9, 'IFA_RT_PRIORITY', u32),
  protocol: attribute(11, 'IFA_PROTO', named(u8, ADDRESS_PROTOCOLS)),
});

/** An address of a link, as `ip address` shows it. */
export interface AddressInfo {
  /** Index of the link. */
  readonly index: number;
  /** Name of the link. */
  readonly device: string;
  /** 4 for IPv4, 6 for IPv6. */
  readonly family: Family;
  /** The address. */
  readonly address: string;
  /** Of its network, in bits. */
  readonly prefixLength: number;
  /** The other end's, of a point-to-point link. */
  readonly peer?: string;
  /** Broadcast address of its network. */
  readonly broadcast?: string;
  /** IPv6 anycast address. */
  readonly anycast?: string;
  /** How far it is valid. */
  readonly scope: Scope;
  /** IPv4: a name of its own, which begins with the link's. */
  readonly label?: string;
  /** Further properties. */
  readonly flags: readonly AddressFlag[];
  /** Seconds until it is gone; Infinity: it stays. */
  readonly validLifetime: number;
  /** Seconds until it is not used for new connections; Infinity: it stays. */
  readonly preferredLifetime: number;
  /** Metric of the route to its network. */
  readonly metric?: number;
  /** Who made it. */
  readonly protocol?: 'unspecified' | 'kernel_lo' | 'kernel_ra' | 'kernel_ll' | number;
  /** What the kernel said besides. */
  readonly unknown?: readonly UnknownAttribute[];
}

export function ifaddrmsg(family: number, prefixLength: number, scope: number, index: number): Buffer {
  return Buffer.concat([Buffer.of(family, prefixLength, 0, scope), bytes.u32(index)]);
}

/** The device's name comes from elsewhere. */
export function decodeAddress({ payload }: NetlinkMessage): Omit<AddressInfo, 'device'> | undefined {
  if (payload.length < IFADDRMSG_SIZE) return undefined;
  const family = toFamily(payload[0]);
  const { local, address, lifetimes, flags, ...rest } = addressTable.decode(payload, IFADDRMSG_SIZE);
  const own = local ?? address;
  if (family === undefined || own === undefined) return undefined;
  return {
    index: bytes.readI32(payload, 4),
    family,
    address: own,
    prefixLength: payload[1],
    ...(address !== undefined && address !== own && { peer: address }),
    scope: SCOPES.nameOf(payload[3]),
    flags: ADDRESS_FLAGS.namesOf(flags ?? payload[2]),
    validLifetime: lifetimes?.valid ?? Number.POSITIVE_INFINITY,
    preferredLifetime: lifetimes?.preferred ?? Number.POSITIVE_INFINITY,
    ...rest,
  };
}

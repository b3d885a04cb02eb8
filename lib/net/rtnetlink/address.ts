/** Addresses of links: messages and requests (linux/if_addr.h). */

import { checkCidr, checkIp, formatIp } from '../../address.js';
import { invalidArgValue, outOfRange, requireInteger, requireObject } from '../../arguments.js';
import {
  AttributeTable,
  attribute,
  type Codec,
  defined,
  type UnknownAttribute,
} from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { ip, named, readOnly, text, u8, u32 } from '../netlink/codecs.js';
import type { Change, NetlinkMessage } from '../netlink/message.js';
import { enumNames, flagNames } from '../netlink/names.js';
import { changeRequest, getRequest, type Request } from '../netlink/request.js';
import { AF_INET, AF_INET6, type Family, toFamily } from './family.js';
import type { LinkName } from './link-requests.js';

const IFADDRMSG_SIZE = 8;

/** How far an address or a route is valid, by the names of `ip`; a number if it has no name. */
export type Scope = 'global' | 'site' | 'link' | 'host' | 'nowhere' | number;
export const SCOPES = enumNames({ global: 0, site: 200, link: 253, host: 254, nowhere: 255 });

const PROTOCOLS = enumNames({ unspecified: 0, kernel_lo: 1, kernel_ra: 2, kernel_ll: 3 });

const FLAGS = flagNames({
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
/** A flag by its name in `ip address`. `ip` shows no `permanent`, and `dynamic` for those without it. */
export type AddressFlag = ReturnType<typeof FLAGS.namesOf>[number];

const FOREVER = 0xffffffff;
const toSeconds = (value: number): number => (value === FOREVER ? Number.POSITIVE_INFINITY : value);
const fromSeconds = (value: number): number => (value === Number.POSITIVE_INFINITY ? FOREVER : value);

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

const addressTable = new AttributeTable({
  local: attribute(2, 'IFA_LOCAL', ip),
  address: attribute(1, 'IFA_ADDRESS', ip),
  label: attribute(3, 'IFA_LABEL', text),
  broadcast: attribute(4, 'IFA_BROADCAST', ip),
  anycast: attribute(5, 'IFA_ANYCAST', readOnly(ip)),
  lifetimes: attribute(6, 'IFA_CACHEINFO', cacheInfo),
  flags: attribute(8, 'IFA_FLAGS', u32),
  metric: attribute(9, 'IFA_RT_PRIORITY', u32),
  protocol: attribute(11, 'IFA_PROTO', named(u8, PROTOCOLS)),
});

/** Options of an address. */
export interface AddressOptions {
  /**
   * The other end's address, of a point-to-point link. Without a prefix length it has the one of the address, which
   * is the prefix length of the peer's network.
   */
  readonly peer?: string;
  /** IPv4: the broadcast address; `true` for that of the network. **Default:** none, as `ip address add` */
  readonly broadcast?: string | true;
  /** How far it is valid. **Default:** `host` on 127.0.0.0/8, else `global` */
  readonly scope?: Scope;
  /** IPv4: a name of its own, which begins with the link's name. */
  readonly label?: string;
  /** Seconds until it is removed; Infinity: never. **Default:** Infinity */
  readonly validLifetime?: number;
  /** Seconds until new connections avoid it, at most `validLifetime`. **Default:** `validLifetime` */
  readonly preferredLifetime?: number;
  /** IPv6: without duplicate address detection, so that it can be used at once. */
  readonly noDad?: boolean;
  /** Without the route to its network. */
  readonly noPrefixRoute?: boolean;
  /** Metric of the route to its network. */
  readonly metric?: number;
  /** Further flags, such as `home`, `mngtmpaddr`, `autojoin`. Flags that describe a state are ignored. */
  readonly flags?: readonly AddressFlag[];
  /** Who made it (Linux 5.18). */
  readonly protocol?: 'unspecified' | 'kernel_lo' | 'kernel_ra' | 'kernel_ll' | number;
  /** Attributes that this package has no name for. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** An address of a link, as `ip address` shows it. */
export interface AddressInfo extends AddressOptions {
  /** Index of the link. */
  readonly index: number;
  /** Name of the link. */
  readonly device: string;
  /** 4 for IPv4, 6 for IPv6. */
  readonly family: Family;
  /** The address. */
  readonly address: string;
  /** Prefix length of its network, in bits. */
  readonly prefixLength: number;
  /** Broadcast address of its network. */
  readonly broadcast?: string;
  /** IPv6 anycast address. */
  readonly anycast?: string;
  readonly scope: Scope;
  readonly flags: readonly AddressFlag[];
  readonly validLifetime: number;
  readonly preferredLifetime: number;
}

/** An address without the name of its link. */
export type BareAddress = Omit<AddressInfo, 'device'>;

export function decodeAddress({ payload }: NetlinkMessage): BareAddress | undefined {
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
    flags: FLAGS.namesOf(flags ?? payload[2]),
    validLifetime: lifetimes?.valid ?? Number.POSITIVE_INFINITY,
    preferredLifetime: lifetimes?.preferred ?? Number.POSITIVE_INFINITY,
    ...rest,
  };
}

/** RTM_NEWADDR. */
export const addressMessages = { type: 20, headerSize: IFADDRMSG_SIZE, table: addressTable } as const;

function ifaddrmsg(family: number, prefixLength: number, scope: number, index: number): Buffer {
  return Buffer.concat([Buffer.of(family, prefixLength, 0, scope), bytes.u32(index)]);
}

/** The addresses that the kernel's filters let through. Linux before 4.20 sends all of the family. */
export function listAddressesRequest(family: number, index = 0): Request<BareAddress> {
  const header = ifaddrmsg(family, 0, 0, index);
  return getRequest(addressMessages, 'list addresses', [header], decodeAddress);
}

export function addressRequest(
  action: Exclude<Change, 'append'>,
  link: LinkName,
  address: string | AddressInfo,
  more: AddressOptions = {},
): Request<undefined> {
  requireObject('options', more);
  const listed = typeof address === 'object' && address !== null ? address : undefined;
  const options: AddressOptions = { ...listed, ...defined(more) };
  const cidr = checkCidr('address', listed ? `${listed.address}/${listed.prefixLength}` : address);
  const { peer, broadcast, noDad = false, noPrefixRoute = false, flags = [] } = options;
  const v4 = cidr.family === 4;
  const local = formatIp(cidr.address);
  const bare = peer === undefined || peer.includes('/') ? peer : `${peer}/${cidr.prefixLength}`;
  const other = bare === undefined ? undefined : checkCidr('options.peer', bare);
  if (other && other.family !== cidr.family) {
    throw invalidArgValue('options.peer', peer, "must be of the address's family");
  }
  if (!v4 && broadcast !== undefined) throw invalidArgValue('options.broadcast', broadcast, 'is for IPv4');
  if (typeof broadcast === 'string') checkIp('options.broadcast', broadcast);
  const loopback = v4 && cidr.address[0] === 127;
  const scope = SCOPES.number('options.scope', options.scope ?? (loopback ? 'host' : 'global'));
  const bits =
    FLAGS.bits('options.flags', flags) |
    FLAGS.bits('', [
      ...(noDad ? ['nodad' as const] : []),
      ...(noPrefixRoute ? ['noprefixroute' as const] : []),
    ]);
  const attributes = addressTable.encode({
    ...addressTable.pick(options),
    local,
    address: other ? formatIp(other.address) : local,
    // The default label is the name of whichever link gets the address.
    label: options.label === listed?.device ? undefined : options.label,
    broadcast: broadcast === true ? networkBroadcast(cidr.address, cidr.prefixLength) : broadcast,
    lifetimes: lifetimes(options),
    flags: bits === 0 ? undefined : bits,
    unknown: options.unknown,
  });
  const { prefixLength } = other ?? cidr;
  const sentScope = action === 'delete' ? 0 : scope;
  const header = ifaddrmsg(v4 ? AF_INET : AF_INET6, prefixLength, sentScope, link.index);
  return changeRequest(addressMessages, action, 'address', link.name, [header, attributes]);
}

function lifetimes({ flags = [], validLifetime, ...options }: AddressOptions): Lifetimes | undefined {
  // The kernel lists the lifetimes of a permanent IPv4 address as Infinity, even if it is deprecated.
  const deprecated = flags.includes('deprecated') && options.preferredLifetime === Number.POSITIVE_INFINITY;
  const preferredLifetime = deprecated ? 0 : options.preferredLifetime;
  if (validLifetime === undefined && preferredLifetime === undefined) return undefined;
  const valid = seconds('options.validLifetime', validLifetime ?? Number.POSITIVE_INFINITY, 1);
  const preferred = seconds('options.preferredLifetime', preferredLifetime ?? valid, 0);
  if (preferred > valid) {
    throw outOfRange('options.preferredLifetime', 'at most options.validLifetime', preferred);
  }
  return { valid, preferred };
}

function seconds(name: string, value: number, minimum: number): number {
  return value === Number.POSITIVE_INFINITY ? value : requireInteger(name, value, minimum, 0xfffffffe);
}

function networkBroadcast(address: Buffer, prefixLength: number): string | undefined {
  if (prefixLength > 30) return undefined;
  const network = Buffer.alloc(4);
  network.writeUInt32BE((address.readUInt32BE() | (0xffffffff >>> prefixLength)) >>> 0);
  return formatIp(network);
}

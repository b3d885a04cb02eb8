/** What can be asked about addresses. */

import { checkCidr, checkIp, formatIp } from '../../address.js';
import { invalidArgValue, outOfRange, requireInteger, requireObject } from '../../arguments.js';
import { NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE } from '../netlink/message.js';
import { nothing, type Request } from '../netlink/request.js';
import {
  ADDRESS_FLAGS,
  type AddressFlag,
  type AddressInfo,
  addressTable,
  decodeAddress,
  IFADDRMSG_SIZE,
  ifaddrmsg,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
  SCOPES,
  type Scope,
} from './address.js';
import { AF_INET, AF_INET6 } from './family.js';

/** Options of an address. */
export interface AddressOptions {
  /** The other end's address, with its prefix length, of a point-to-point link. */
  readonly peer?: string;
  /** IPv4: the broadcast address; `true` for that of the network. **Default:** none, as `ip address add` */
  readonly broadcast?: string | true;
  /** How far it is valid. **Default:** `host` on 127.0.0.0/8, else `global` */
  readonly scope?: Scope;
  /** IPv4: a name that begins with the link's. */
  readonly label?: string;
  /** Seconds, Infinity: it stays. **Default:** Infinity */
  readonly validLifetime?: number;
  /** Seconds, not above `validLifetime`. **Default:** the same */
  readonly preferredLifetime?: number;
  /** IPv6: without duplicate address detection, so that it can be used at once. */
  readonly noDad?: boolean;
  /** Without the route to its network. */
  readonly noPrefixRoute?: boolean;
  /** Metric of the route to its network. */
  readonly metric?: number;
  /** Further flags: `home`, `mngtmpaddr`, `autojoin`, `optimistic`. */
  readonly flags?: readonly AddressFlag[];
}

const family = { headerSize: IFADDRMSG_SIZE, table: addressTable } as const;

/** The addresses that the kernel's filters let through. Linux before 4.20 sends all of the family. */
export function listAddressesRequest(addressFamily: number, index = 0): Request<Omit<AddressInfo, 'device'>> {
  return {
    ...family,
    operation: 'list addresses',
    type: RTM_GETADDR,
    flags: NLM_F_DUMP,
    body: ifaddrmsg(addressFamily, 0, 0, index),
    decode: (message) => (message.type === RTM_NEWADDR ? decodeAddress(message) : undefined),
  };
}

const FLAGS = {
  add: NLM_F_CREATE | NLM_F_EXCL,
  replace: NLM_F_CREATE | NLM_F_REPLACE,
  delete: 0,
} as const;

export function addressRequest(
  action: keyof typeof FLAGS,
  link: { readonly index: number; readonly name: string },
  cidrText: string,
  options: AddressOptions = {},
): Request<undefined> {
  requireObject('options', options);
  const cidr = checkCidr('address', cidrText);
  const { peer, broadcast, label, noDad = false, noPrefixRoute = false, flags = [], metric } = options;
  const v4 = cidr.family === 4;
  const local = formatIp(cidr.address);
  const other = peer === undefined ? undefined : checkCidr('options.peer', peer);
  if (other && other.family !== cidr.family) {
    throw invalidArgValue('options.peer', peer, "must be of the address's family");
  }
  if (!v4 && broadcast !== undefined) throw invalidArgValue('options.broadcast', broadcast, 'is for IPv4');
  if (typeof broadcast === 'string') checkIp('options.broadcast', broadcast);
  const loopback = v4 && cidr.address[0] === 127;
  const scope = SCOPES.number('options.scope', options.scope ?? (loopback ? 'host' : 'global'));
  const bits =
    ADDRESS_FLAGS.bits('options.flags', flags) |
    (noDad ? ADDRESS_FLAGS.bits('', ['nodad']) : 0) |
    (noPrefixRoute ? ADDRESS_FLAGS.bits('', ['noprefixroute']) : 0);
  const attributes = addressTable.encode({
    local,
    address: other ? formatIp(other.address) : local,
    label,
    broadcast: broadcast === true ? networkBroadcast(cidr.address, cidr.prefixLength) : broadcast,
    lifetimes: lifetimes(options),
    flags: bits === 0 ? undefined : bits,
    metric,
  });
  const prefixLength = (other ?? cidr).prefixLength;
  return {
    ...family,
    operation: `${action} address`,
    subject: link.name,
    type: action === 'delete' ? RTM_DELADDR : RTM_NEWADDR,
    flags: FLAGS[action],
    body: Buffer.concat([
      ifaddrmsg(v4 ? AF_INET : AF_INET6, prefixLength, action === 'delete' ? 0 : scope, link.index),
      attributes,
    ]),
    decode: nothing,
  };
}

function lifetimes({ validLifetime, preferredLifetime }: AddressOptions) {
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
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE((address.readUInt32BE() | (0xffffffff >>> prefixLength)) >>> 0);
  return formatIp(bytes);
}

/** Checks of what a user gives, before anything is sent. */

import { type Cidr, parseCidr, parseIp, parseMac } from '../address.js';
import { invalidArgType, invalidArgValue, requireInteger } from '../errors.js';

const MAX_NAME_BYTES = 15; // IFNAMSIZ less its NUL

/** Checks a link's name, or with `pattern` one such as `tun%d`, that the kernel is to complete. */
export function checkName(name: unknown, pattern: boolean): string {
  if (typeof name !== 'string') throw invalidArgType('name', 'of type string', name);
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw invalidArgValue('name', name, `must be at most ${MAX_NAME_BYTES} bytes long`);
  }
  // dev_valid_name() in net/core/dev.c.
  if (name === '' || name === '.' || name === '..' || /[/:\s\0]/.test(name)) {
    throw invalidArgValue('name', name, "must not be empty, '.' or '..', or hold '/', ':' or white space");
  }
  if (name.includes('%') && !(pattern && /^[^%]*%d[^%]*$/.test(name))) {
    const allowed = pattern
      ? "may hold '%' in one '%d' only, which the kernel replaces by a number"
      : "must not hold '%'";
    throw invalidArgValue('name', name, allowed);
  }
  return name;
}

export function checkMtu(mtu: unknown): number {
  return requireInteger('mtu', mtu, 68, 65535);
}

/** Of any kind of link: the loopback device's is above 65,535. The kernel knows each kind's limits. */
export function checkLinkMtu(mtu: unknown): number {
  return requireInteger('mtu', mtu, 68, 0x7fffffff);
}

/** Checks a link's index. */
export function checkIndex(name: string, index: unknown): number {
  return requireInteger(name, index, 1, 0x7fffffff);
}

export function requireObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw invalidArgType(name, 'an object', value);
}

/** What `parse` makes of a text, or an error that names where it came from. */
function checkText<T>(name: string, text: unknown, parse: (text: string) => T, expected: string): T {
  if (typeof text !== 'string') throw invalidArgType(name, 'of type string', text);
  try {
    return parse(text);
  } catch {
    throw invalidArgValue(name, text, `must be ${expected}`);
  }
}

/** A network prefix, and whether it is an IPv4 or an IPv6 one. */
export function checkCidr(name: string, text: unknown): Cidr {
  const expected = "an address with a prefix length, such as '10.0.0.1/24' or '2001:db8::1/64'";
  return checkText(name, text, parseCidr, expected);
}

/** An address without a prefix length. */
export function checkIp(name: string, text: unknown): Buffer {
  return checkText(name, text, parseIp, "an address such as '192.0.2.1' or '2001:db8::1'");
}

export function checkMac(name: string, text: unknown): Buffer {
  return checkText(name, text, parseMac, "a MAC address such as '02:00:00:00:00:01'");
}

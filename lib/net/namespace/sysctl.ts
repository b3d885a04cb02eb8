/** Settings of a namespace without a netlink message: files under /proc/sys/net. */

import { constants, readFileSync, writeFileSync } from 'node:fs';
import { invalidArgType, invalidArgValue } from '../../arguments.js';
import { native } from '../../native/addon.js';
import { check, systemError } from '../../system-error.js';

/** The parts of `net.ipv4.ip_forward`, or with slashes if a part contains a dot: `net/ipv4/conf/eth0.5/forwarding`. */
export function sysctlParts(name: string): readonly string[] {
  if (typeof name !== 'string') throw invalidArgType('name', 'of type string', name);
  const parts = name.split(name.includes('/') ? '/' : '.');
  const wrong = parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'));
  if (wrong || parts[0] !== 'net' || parts.length < 2) {
    throw invalidArgValue('name', name, "must name a network setting, such as 'net.ipv4.ip_forward'");
  }
  return parts;
}

/** The text that sets a value. */
export function sysctlText(value: string | number | boolean): string {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    throw invalidArgType('value', 'a string, a number or a boolean', value);
  }
  return typeof value === 'boolean' ? String(Number(value)) : String(value);
}

/**
 * Opens on a thread inside the namespace, whose settings the file then has. `use` gets a path that opens the same file
 * again, without an fd that the runtime does not know.
 */
function withSetting<T>(namespace: number, name: string, flags: number, use: (path: string) => T): T {
  const path = `/proc/sys/${sysctlParts(name).join('/')}`;
  const file = check(native().openIn(namespace, path, flags), 'open', path);
  try {
    return use(`/proc/self/fd/${file.fd()}`);
  } catch (error) {
    const { errno, syscall = 'read' } = error as NodeJS.ErrnoException;
    throw errno === undefined ? error : systemError(errno, syscall, path);
  } finally {
    file.close();
  }
}

export function readSysctl(namespace: number, name: string): string {
  return withSetting(namespace, name, constants.O_RDONLY, (path) => readFileSync(path, 'utf8').trimEnd());
}

export function writeSysctl(namespace: number, name: string, value: string | number | boolean): void {
  const text = sysctlText(value);
  withSetting(namespace, name, constants.O_WRONLY, (path) => writeFileSync(path, `${text}\n`));
}

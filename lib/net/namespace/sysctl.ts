/** The settings of a namespace that have no netlink message: files under /proc/sys/net. */

import { constants, readFileSync, writeSync } from 'node:fs';
import { invalidArgType, invalidArgValue } from '../../arguments.js';
import { native } from '../../native/addon.js';
import type { Descriptor } from '../../native/descriptor.js';
import { check, systemError } from '../../system-error.js';

/** The parts of `net.ipv4.ip_forward`, or with slashes where a part holds a dot: `net/ipv4/conf/eth0.5/forwarding`. */
export function sysctlParts(name: string): readonly string[] {
  if (typeof name !== 'string') throw invalidArgType('name', 'of type string', name);
  const parts = name.split(name.includes('/') ? '/' : '.');
  const wrong = parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'));
  if (wrong || parts[0] !== 'net' || parts.length < 2) {
    throw invalidArgValue('name', name, "must be that of a network setting, such as 'net.ipv4.ip_forward'");
  }
  return parts;
}

/** What is written for a value. */
export function sysctlText(value: string | number | boolean): string {
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
    throw invalidArgType('value', 'a string, a number or a boolean', value);
  }
  return typeof value === 'boolean' ? String(Number(value)) : String(value);
}

/** Opens on a thread inside the namespace, whose settings the file then has. */
function withSetting<T>(namespace: number, name: string, flags: number, use: (fd: number) => T): T {
  const path = `/proc/sys/${sysctlParts(name).join('/')}`;
  const file = check<Descriptor>(native().openIn(namespace, path, flags), 'open', path);
  try {
    return use(file.fd());
  } catch (error) {
    const { errno, syscall = 'read' } = error as NodeJS.ErrnoException;
    throw errno === undefined ? error : systemError(errno, syscall, path);
  } finally {
    file.close();
  }
}

export function readSysctl(namespace: number, name: string): string {
  return withSetting(namespace, name, constants.O_RDONLY, (fd) => readFileSync(fd, 'utf8').trimEnd());
}

export function writeSysctl(namespace: number, name: string, value: string | number | boolean): void {
  const text = sysctlText(value);
  withSetting(namespace, name, constants.O_WRONLY, (fd) => writeSync(fd, `${text}\n`));
}

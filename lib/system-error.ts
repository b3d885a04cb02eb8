import { getSystemErrorMap } from 'node:util';

/** The error of a system call, shaped as Node's own. Match `code`, never the text. */
export interface SystemError extends Error {
  /** The errno's name, such as `EPERM`. */
  code: string;
  /** The negative errno. */
  errno: number;
  /** The call, such as `ioctl TUNSETIFF`. */
  syscall: string;
  /** The device or path that the call was about. */
  device?: string;
}

// errnos that libuv has no name for (asm-generic/errno.h).
const FURTHER_ERRNOS = new Map<number, [string, string]>([
  [-67, ['ENOLINK', 'link has been severed']],
  [-77, ['EBADFD', 'file descriptor in bad state']],
]);

// What to do next, where that is known.
const HINTS: Readonly<Record<string, string>> = {
  'EPERM ioctl TUNSETIFF': 'this needs CAP_NET_ADMIN, or a persistent device whose owner or group you are',
  'EPERM setns': 'entering a network namespace needs CAP_SYS_ADMIN',
  'EPERM socket AF_NETLINK': 'entering a network namespace needs CAP_SYS_ADMIN',
  'EPERM unshare': 'making a network namespace needs CAP_SYS_ADMIN',
  'EPERM rtnetlink': 'changing the network configuration needs CAP_NET_ADMIN',
  'EPERM setsockopt SO_MARK': 'marking packets needs CAP_NET_ADMIN',
  'ENOENT open /dev/net/tun':
    'load the module (modprobe tun) or, in a container, pass the device in (--device /dev/net/tun)',
  'ENXIO open /dev/net/tun': 'load the module: modprobe tun',
  'ENODEV open /dev/net/tun': 'load the module: modprobe tun',
  'EACCES open /dev/net/tun': 'this user may not open the device; see docs/permissions.md',
  'EPERM open /dev/net/tun':
    'the container does not allow this device, or you may not enter its namespace; see docs/permissions.md',
  'EINVAL ioctl TUNSETIFF':
    'the device exists and is of another kind: TUN or TAP, with or without `multiQueue`',
  'EBUSY ioctl TUNSETIFF': 'the device exists already and is held, or `exclusive` was asked for',
  'EBADFD read': 'the device was deleted, or its network namespace is gone',
  'EBADFD write': 'the device was deleted, or its network namespace is gone',
  'ENOLINK read': 'the device was deleted, or its network namespace is gone',
  'ENOLINK write': 'the device was deleted, or its network namespace is gone',
};

/** `EPERM` for -1. */
export function errnoName(errno: number): string {
  return describe(errno)[0];
}

function describe(errno: number): [name: string, text: string] {
  return getSystemErrorMap().get(errno) ?? FURTHER_ERRNOS.get(errno) ?? [`E${-errno}`, `error ${-errno}`];
}

/** Builds the error for `-errno` as a native function returned it. */
export function systemError(errno: number, syscall: string, subject?: string): SystemError {
  const [code, text] = describe(errno);
  const hint = HINTS[`${code} ${syscall} ${subject}`] ?? HINTS[`${code} ${syscall}`];
  const message = `${code}: ${text}, ${syscall}${subject === undefined ? '' : ` '${subject}'`}${hint ? `: ${hint}` : ''}`;
  const error = Object.assign(new Error(message), { code, errno, syscall });
  return subject === undefined ? error : Object.assign(error, { device: subject });
}

/** Passes on what a native function returned, or throws its error. */
export function check<T>(result: T | number, syscall: string, subject?: string): T {
  if (typeof result === 'number' && result < 0) throw systemError(result, syscall, subject);
  return result as T;
}

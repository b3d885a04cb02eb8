/** Address families (sys/socket.h). */

import { invalidArgValue } from '../../arguments.js';

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

/** 4 for IPv4, 6 for IPv6. */
export type Family = 4 | 6;

export function toFamily(value: number): Family | undefined {
  return value === AF_INET ? 4 : value === AF_INET6 ? 6 : undefined;
}

/** Without a family: both. */
export function fromFamily(family: Family | 'all' | undefined): number {
  if (family === undefined || family === 'all') return AF_UNSPEC;
  if (family === 4) return AF_INET;
  if (family === 6) return AF_INET6;
  throw invalidArgValue('family', family, "must be 4, 6 or 'all'");
}

import { native } from './addon.js';

/** The negative errnos that decide what happens next (asm-generic/errno.h). */

export const EPERM = -1;
export const EAGAIN = -11;
export const EFAULT = -14;
export const EBUSY = -16;
export const EEXIST = -17;
export const ENODEV = -19;
export const EISDIR = -21;
export const EINVAL = -22;
export const EDOM = -33;
export const ENOSYS = -38;
export const EPROTO = -71;
export const EBADMSG = -74;
export const EBADFD = -77;
export const ENOTSOCK = -88;
export const EMSGSIZE = -90;
export const ENOPROTOOPT = -92;
export const ENOTSUP = -95;
export const ENETUNREACH = -101;
export const ECONNRESET = -104;
export const ENOBUFS = -105;
export const ENOTCONN = -107;
export const ETIMEDOUT = -110;
export const EALREADY = -114;
export const EINPROGRESS = -115;
export const ECANCELED = -125;

/** Whether the error says that the device itself is gone. */
export function isFatal(errno: number): boolean {
  return errno < 0 && native().fatalErrors.includes(errno);
}

import { invalidArgValue } from '../arguments.js';
import { ADDRESS_FAMILIES, Endpoint } from '../endpoint.js';
import { native } from '../native/addon.js';
import type { Descriptor } from '../native/descriptor.js';
import { EBUSY, ENOTCONN, ENOTSOCK } from '../native/errno.js';
import { getOption, localOf } from '../net/namespace/sockets.js';
import { check } from '../system-error.js';

const IPPROTO_UDP = 17;

/** A UDP socket that was made elsewhere. */
export interface AdoptedSocket {
  readonly descriptor: Descriptor;
  readonly family: 4 | 6;
  readonly ipv6Only: boolean;
  /** The connected peer, if any. */
  readonly remote: Endpoint | undefined;
}

/** Takes a UDP socket over. Until a socket is made of it, closing its descriptor leaves the fd open. */
export function adoptUdp(fd: number): AdoptedSocket {
  const option = (name: string, level = 'SOL_SOCKET'): number => {
    const value = getOption(fd, level, name);
    if (value === ENOTSOCK) throw invalidArgValue('options.fd', fd, 'is no UDP socket');
    return check<number>(value, `getsockopt ${name}`, String(fd));
  };
  const domain = option('SO_DOMAIN');
  const family = ([4, 6] as const).find((known) => ADDRESS_FAMILIES[known] === domain);
  const { SOCK_DGRAM } = native().socketConstants;
  if (!family || option('SO_TYPE') !== SOCK_DGRAM || option('SO_PROTOCOL') !== IPPROTO_UDP) {
    throw invalidArgValue('options.fd', fd, 'is no UDP socket');
  }
  if (localOf(fd, String(fd)).port === 0) throw invalidArgValue('options.fd', fd, 'is not bound to a port');
  const peer = new Endpoint('0.0.0.0', 0);
  const connected = native().peerAddress(fd, peer.entry);
  if (connected !== ENOTCONN) check(connected, 'getpeername', String(fd));
  const ipv6Only = family === 6 && option('IPV6_V6ONLY', 'SOL_IPV6') !== 0;
  const descriptor = native().adopt(fd);
  if (descriptor === EBUSY) {
    throw invalidArgValue('options.fd', fd, 'belongs to an open device or socket of this process');
  }
  return {
    descriptor: check(descriptor, 'adopt', String(fd)),
    family,
    ipv6Only,
    remote: connected === 0 ? peer : undefined,
  };
}

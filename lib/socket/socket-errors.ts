import { formatIpv4, formatIpv6 } from '../address.js';
import { EMSGSIZE } from '../native/errno.js';
import { LAYOUT } from '../native/layout.js';
import { errnoName } from '../system-error.js';
import { addressOffset, Endpoint, familyAt, LITTLE_ENDIAN } from './endpoint.js';

/** @internal */
export const ERROR_RECORD_SIZE = LAYOUT.SocketErrorRecord;
const OFFENDER = LAYOUT['SocketErrorRecord.offender'];
const ERROR = LAYOUT['SocketErrorRecord.error'];
const INFO = LAYOUT['SocketErrorRecord.info'];
const ORIGIN = LAYOUT['SocketErrorRecord.origin'];
const TYPE = LAYOUT['SocketErrorRecord.type'];
const CODE = LAYOUT['SocketErrorRecord.code'];
const ORIGINS: readonly IcmpError['origin'][] = ['socket', 'local', 'icmp', 'icmp6'];

/** What the network, or this host, said of a datagram that was sent earlier. @see IP_RECVERR in ip(7) */
export interface IcmpError {
  /** The errno's name: `ECONNREFUSED` for a closed port, `EHOSTUNREACH`, `EMSGSIZE` for the path MTU, … */
  readonly code: string;
  /** The negative errno. */
  readonly errno: number;
  /** Who says so: an ICMP or ICMPv6 message, this host when it was sent, or the socket without saying more. */
  readonly origin: 'icmp' | 'icmp6' | 'local' | 'socket';
  /** Type of the ICMP message. */
  readonly type: number;
  /** Code of the ICMP message. */
  readonly icmpCode: number;
  /** Whom the datagram was for. */
  readonly remote: Endpoint | undefined;
  /** The address of the host that reported it. */
  readonly offender: string | undefined;
  /** The path MTU in bytes, where that is what was exceeded. */
  readonly mtu: number | undefined;
}

/** The record that begins at `offset`. @internal */
export function parseErrorRecord(bytes: Uint8Array, offset: number): IcmpError {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, ERROR_RECORD_SIZE);
  const errno = view.getInt32(ERROR, LITTLE_ENDIAN);
  const info = view.getUint32(INFO, LITTLE_ENDIAN);
  const family = familyAt(bytes, offset + OFFENDER);
  const format = family === 4 ? formatIpv4 : formatIpv6;
  return {
    code: errnoName(errno),
    errno,
    origin: ORIGINS[view.getUint8(ORIGIN)] ?? 'socket',
    type: view.getUint8(TYPE),
    icmpCode: view.getUint8(CODE),
    remote: Endpoint.at(bytes, offset),
    offender: family === 0 ? undefined : format(bytes, addressOffset(family, offset + OFFENDER)),
    mtu: errno === EMSGSIZE && info > 0 ? info : undefined,
  };
}

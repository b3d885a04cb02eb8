import { formatIpv4, formatIpv6 } from '../address.js';
import { addressOffset, Endpoint, familyAt, LITTLE_ENDIAN } from '../endpoint.js';
import { EMSGSIZE } from '../native/errno.js';
import { LAYOUT } from '../native/layout.js';
import { errnoName } from '../system-error.js';

const ERROR_COUNT = LAYOUT['UdpState.error_count'] / 4;
const ERROR_RECORDS_SIZE = LAYOUT.UdpState - LAYOUT['UdpState.errors'];
const RECORD_SIZE = LAYOUT.SocketErrorRecord;
const OFFENDER = LAYOUT['SocketErrorRecord.offender'];
const ERROR = LAYOUT['SocketErrorRecord.error'];
const INFO = LAYOUT['SocketErrorRecord.info'];
const ORIGIN = LAYOUT['SocketErrorRecord.origin'];
const TYPE = LAYOUT['SocketErrorRecord.type'];
const CODE = LAYOUT['SocketErrorRecord.code'];
const ORIGINS: readonly IcmpError['origin'][] = ['socket', 'local', 'icmp', 'icmp6'];

/** An error that the network, or this host, reported for a datagram that was sent earlier. @see IP_RECVERR in ip(7) */
export interface IcmpError {
  /** The errno's name: `ECONNREFUSED` for a closed port, `EHOSTUNREACH`, `EMSGSIZE` for the path MTU, … */
  readonly code: string;
  /** The negative errno. */
  readonly errno: number;
  /** Who reported it: an ICMP or ICMPv6 message, this host when it sent, or the socket without a source. */
  readonly origin: 'icmp' | 'icmp6' | 'local' | 'socket';
  /** Type of the ICMP message. */
  readonly type: number;
  /** Code of the ICMP message. */
  readonly icmpCode: number;
  /** The peer that the datagram was for. */
  readonly remote: Endpoint | undefined;
  /** The address of the host that reported it. */
  readonly offender: string | undefined;
  /** The path MTU in bytes, if the datagram exceeded it. */
  readonly mtu: number | undefined;
}

/** The errors that native code has put into a socket's state, one for each datagram that failed. */
export class SocketErrors {
  readonly #state: Uint32Array;
  readonly #records: Uint8Array;
  readonly #emit: (error: IcmpError) => void;

  constructor(state: Uint32Array, emit: (error: IcmpError) => void) {
    this.#state = state;
    this.#records = new Uint8Array(state.buffer, LAYOUT['UdpState.errors'], ERROR_RECORDS_SIZE);
    this.#emit = emit;
  }

  /** Emits the errors and empties the list. */
  report(): void {
    const count = this.#state[ERROR_COUNT];
    if (count === 0) return;
    const errors = Array.from({ length: count }, (_, i) => parseErrorRecord(this.#records, i * RECORD_SIZE));
    this.#state[ERROR_COUNT] = 0;
    for (const error of errors) this.#emit(error);
  }

  /** Reports in a turn of its own: a listener never runs inside the call that found the error. */
  reportLater(): void {
    if (this.#state[ERROR_COUNT] > 0) process.nextTick(() => this.report());
  }
}

/** The record that begins at `offset`. */
function parseErrorRecord(bytes: Uint8Array, offset: number): IcmpError {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, RECORD_SIZE);
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

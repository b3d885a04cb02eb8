import {
  checkName,
  checkSignal,
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireInteger,
} from '../arguments.js';
import { Endpoint } from '../endpoint.js';
import { native } from '../native/addon.js';
import { ENOPROTOOPT } from '../native/errno.js';
import type { NamespaceReference } from '../net/network-namespace.js';
import { check } from '../system-error.js';

/** Options of {@link openUdp}. */
export interface UdpOptions {
  /**
   * An open UDP socket that is bound to a port, from a parent process or a helper with more rights, to use instead of
   * opening one. It is closed with this one. `address`, `port`, `namespace`, `ipv6Only`, `reuseAddress` and `reusePort`
   * are the fd's and must be left out. If an option is refused, the fd stays open. **Default:** none
   */
  readonly fd?: number;
  /**
   * The local address. `'::'` receives IPv6 and, without `ipv6Only`, IPv4.
   * **Default:** `'::'`; with `remote` any address of its family; if the kernel has no IPv6, `'0.0.0.0'`
   */
  readonly address?: string;
  /** The local port, 0 to 65,535; for 0 the kernel chooses one. **Default:** `0` */
  readonly port?: number;
  /** The peer to connect to: the socket receives its datagrams only, and sends there what has no remote. */
  readonly remote?: Endpoint;
  /** The network namespace that the socket lives in. **Default:** the process's own */
  readonly namespace?: NamespaceReference;
  /** Whether a socket on `'::'` receives no IPv4. **Default:** `false` */
  readonly ipv6Only?: boolean;
  /** SO_REUSEADDR. **Default:** `false` */
  readonly reuseAddress?: boolean;
  /** SO_REUSEPORT: several sockets share the port, and the kernel spreads flows over them. **Default:** `false` */
  readonly reusePort?: boolean;
  /** The link, by name, that all datagrams go through (SO_BINDTODEVICE). **Default:** any */
  readonly device?: string;
  /** The mark that datagrams leave with, for routing rules and filters (SO_MARK), 0 to 2^32-1. Needs CAP_NET_ADMIN. */
  readonly mark?: number;
  /** Receive buffer in bytes; only CAP_NET_ADMIN may exceed net.core.rmem_max. **Default:** the kernel's */
  readonly receiveBuffer?: number;
  /** Send buffer in bytes; only CAP_NET_ADMIN may exceed net.core.wmem_max. **Default:** the kernel's */
  readonly sendBuffer?: number;
  /** IPv4 TOS or IPv6 traffic class that datagrams leave with, 0 to 255; the low two bits are ECN. **Default:** `0` */
  readonly tos?: number;
  /** Whether {@link DatagramTable.tos} has the TOS of each datagram. **Default:** `false` */
  readonly receiveTos?: boolean;
  /**
   * Whether {@link DatagramTable.localAddress} and {@link DatagramTable.interfaceIndex} have this host's address, and the
   * link, that each datagram came to. **Default:** `false`
   */
  readonly packetInfo?: boolean;
  /**
   * `true`: the kernel never fragments, and refuses with EMSGSIZE what exceeds the path MTU. `'probe'`: it never
   * fragments, and sends what fits the link even if the path MTU is smaller. `false`: it fragments. **Default:** the
   * kernel discovers the path MTU and fragments on this host
   * @see IP_MTU_DISCOVER in ip(7)
   */
  readonly dontFragment?: boolean | 'probe';
  /** Whether runs of packets of one size leave as one send (UDP_SEGMENT). **Default:** `true` */
  readonly gso?: boolean;
  /** Whether the kernel may hand over several datagrams of one size as one (UDP_GRO). **Default:** `true` */
  readonly gro?: boolean;
  /** In bytes, 1 to 65,535. A longer datagram is cut to this length and flagged. **Default:** `65535` */
  readonly maxDatagramSize?: number;
  /** Bytes kept free before each packet of a batch, up to 4,096. **Default:** `0` */
  readonly headroom?: number;
  /** Bytes kept free after each packet of a batch, up to 4,096. **Default:** `0` */
  readonly tailroom?: number;
  /** Closes the socket when it aborts; a loop over batches rejects with an AbortError. */
  readonly signal?: AbortSignal;
}

/** What an adopted socket has already. */
const OF_THE_FD = ['address', 'port', 'namespace', 'ipv6Only', 'reuseAddress', 'reusePort'] as const;

/** Checks all options before anything is opened. */
export function checkUdpOptions(options: UdpOptions): UdpOptions {
  if (typeof options !== 'object' || options === null) throw invalidArgType('options', 'an object', options);
  const { fd, remote, device, dontFragment, signal } = options;
  // Throws if either is wrong.
  new Endpoint(options.address ?? '::', options.port ?? 0);
  if (remote !== undefined && !(remote instanceof Endpoint)) {
    throw invalidArgType('options.remote', 'an Endpoint', remote);
  }
  if (device !== undefined) checkName(device, false);
  for (const name of [
    'ipv6Only',
    'reuseAddress',
    'reusePort',
    'receiveTos',
    'packetInfo',
    'gso',
    'gro',
  ] as const) {
    if (options[name] !== undefined) requireBoolean(`options.${name}`, options[name]);
  }
  if (dontFragment !== undefined && dontFragment !== 'probe') {
    requireBoolean('options.dontFragment', dontFragment);
  }
  for (const [name, minimum, maximum] of [
    ['mark', 0, 0xffffffff],
    ['receiveBuffer', 1, 0x3fffffff],
    ['sendBuffer', 1, 0x3fffffff],
    ['tos', 0, 255],
    ['maxDatagramSize', 1, 65535],
    ['headroom', 0, 4096],
    ['tailroom', 0, 4096],
  ] as const) {
    if (options[name] !== undefined) requireInteger(`options.${name}`, options[name], minimum, maximum);
  }
  checkSignal(signal);
  if (fd !== undefined) {
    requireInteger('options.fd', fd, 0, 0x7fffffff);
    for (const name of OF_THE_FD) {
      if (options[name] !== undefined) {
        throw invalidArgValue(`options.${name}`, options[name], 'must be left out: it is that of options.fd');
      }
    }
  }
  return options;
}

/** The family of the socket that the options ask for. */
export function socketFamily({ address, remote }: UdpOptions): 4 | 6 {
  return address === undefined ? (remote?.family ?? 6) : new Endpoint(address, 0).family;
}

/** Sets options on a socket that is not bound yet, or was adopted. Returns whether GSO and GRO are on. */
export function applyUdpOptions(
  fd: number,
  family: 4 | 6,
  options: UdpOptions,
): { gso: boolean; gro: boolean } {
  const constants = native().socketConstants;
  const tryTo = (level: string, name: string, value: number | string): number =>
    native().setSocketOption(fd, constants[level], constants[name], value);
  const set = (level: string, name: string, value: number | string): void => {
    check(tryTo(level, name, value), `setsockopt ${name}`);
  };
  // IPv4 through an IPv6 socket heeds the options of the IP level.
  const setIp = (name: string, name6: string, value: number): void => {
    set('SOL_IP', name, value);
    if (family === 6) set('SOL_IPV6', name6, value);
  };
  // What exceeds the sysctl's limit needs a privilege.
  const setBuffer = (name: string, bytes: number): void => {
    if (tryTo('SOL_SOCKET', `${name}FORCE`, bytes) < 0) set('SOL_SOCKET', name, bytes);
  };

  if (family === 6 && options.fd === undefined)
    set('SOL_IPV6', 'IPV6_V6ONLY', Number(options.ipv6Only ?? false));
  if (options.reuseAddress) set('SOL_SOCKET', 'SO_REUSEADDR', 1);
  if (options.reusePort) set('SOL_SOCKET', 'SO_REUSEPORT', 1);
  if (options.mark !== undefined) set('SOL_SOCKET', 'SO_MARK', options.mark | 0);
  if (options.device !== undefined) set('SOL_SOCKET', 'SO_BINDTODEVICE', options.device);
  if (options.receiveBuffer !== undefined) setBuffer('SO_RCVBUF', options.receiveBuffer);
  if (options.sendBuffer !== undefined) setBuffer('SO_SNDBUF', options.sendBuffer);
  // Emulated systems lack it. Their drops are not counted.
  const counts = tryTo('SOL_SOCKET', 'SO_RXQ_OVFL', 1);
  if (counts !== ENOPROTOOPT) check(counts, 'setsockopt SO_RXQ_OVFL');
  setIp('IP_RECVERR', 'IPV6_RECVERR', 1);
  if (options.tos !== undefined) setIp('IP_TOS', 'IPV6_TCLASS', options.tos);
  if (options.receiveTos) setIp('IP_RECVTOS', 'IPV6_RECVTCLASS', 1);
  if (options.packetInfo) setIp('IP_PKTINFO', 'IPV6_RECVPKTINFO', 1);
  if (options.dontFragment !== undefined) {
    const how = { true: 'DO', false: 'DONT', probe: 'PROBE' }[`${options.dontFragment}`];
    setIp('IP_MTU_DISCOVER', 'IPV6_MTU_DISCOVER', constants[`IP_PMTUDISC_${how}`]);
  }
  // Before Linux 4.18 and 5.0 these are not known; a control message would be passed over in silence.
  const segments = native().getSocketOption(fd, constants.SOL_UDP, constants.UDP_SEGMENT) >= 0;
  return {
    gso: (options.gso ?? true) && segments,
    gro: (options.gro ?? true) && tryTo('SOL_UDP', 'UDP_GRO', 1) === 0,
  };
}

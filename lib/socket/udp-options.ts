import {
  checkGiven,
  checkSignal,
  invalidArgType,
  invalidArgValue,
  requireBoolean,
  requireObject,
} from '../arguments.js';
import { Endpoint } from '../endpoint.js';
import type { PacketMargins } from '../io/packet-batch.js';
import { native } from '../native/addon.js';
import { ENOPROTOOPT } from '../native/errno.js';
import { checkRouting, getOption, setOption, setRouting, trySetOption } from '../net/namespace/sockets.js';
import type { NamespaceReference } from '../net/network-namespace.js';
import { check } from '../system-error.js';

/** Options of {@link openUdp}. */
export interface UdpOptions extends PacketMargins {
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
  /**
   * The only link, by name, that datagrams leave and come in through (SO_BINDTODEVICE). Needs no capability; before Linux
   * 5.7, CAP_NET_RAW. **Default:** any
   */
  readonly device?: string;
  /** The mark that datagrams leave with, for routing rules and filters (SO_MARK), 0 to 2^32-1. Needs CAP_NET_ADMIN. **Default:** none */
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
  /** Closes the socket when it aborts; a loop over batches rejects with an AbortError. */
  readonly signal?: AbortSignal;
}

/** Which offloads of a socket are on. */
export interface UdpOffloads {
  /** Whether runs of packets of one size leave as one send (UDP_SEGMENT). */
  readonly gso: boolean;
  /** Whether the kernel may hand over several datagrams of one size as one (UDP_GRO). */
  readonly gro: boolean;
}

/** What an adopted socket has already. */
const OF_THE_FD = ['address', 'port', 'namespace', 'ipv6Only', 'reuseAddress', 'reusePort'] as const;

/** Checks all options before anything is opened. */
export function checkUdpOptions(options: UdpOptions): UdpOptions {
  requireObject('options', options);
  const { remote, dontFragment } = options;
  // Throws if either is wrong.
  new Endpoint(options.address ?? '::', options.port ?? 0);
  if (remote !== undefined && !(remote instanceof Endpoint)) {
    throw invalidArgType('options.remote', 'an Endpoint', remote);
  }
  checkRouting(options);
  if (dontFragment !== undefined && dontFragment !== 'probe') {
    requireBoolean('options.dontFragment', dontFragment);
  }
  checkGiven(options, ['ipv6Only', 'reuseAddress', 'reusePort', 'receiveTos', 'packetInfo', 'gso', 'gro'], {
    fd: [0, 0x7fffffff],
    receiveBuffer: [1, 0x3fffffff],
    sendBuffer: [1, 0x3fffffff],
    tos: [0, 255],
    maxDatagramSize: [1, 65535],
    headroom: [0, 4096],
    tailroom: [0, 4096],
  });
  checkSignal(options.signal);
  if (options.fd !== undefined) {
    for (const name of OF_THE_FD) {
      if (options[name] !== undefined) {
        throw invalidArgValue(`options.${name}`, options[name], 'must be left out: it is that of options.fd');
      }
    }
  }
  return options;
}

/** Sets options on a socket that is not bound yet, or was adopted. Returns whether GSO and GRO are on. */
export function applyUdpOptions(fd: number, family: 4 | 6, options: UdpOptions): UdpOffloads {
  // IPv4 through an IPv6 socket heeds the options of the IP level.
  const setIp = (name: string, name6: string, value: number): void => {
    setOption(fd, 'SOL_IP', name, value);
    if (family === 6) setOption(fd, 'SOL_IPV6', name6, value);
  };
  // What exceeds the sysctl's limit needs a privilege.
  const setBuffer = (name: string, bytes: number): void => {
    if (trySetOption(fd, 'SOL_SOCKET', `${name}FORCE`, bytes) < 0) setOption(fd, 'SOL_SOCKET', name, bytes);
  };

  if (family === 6 && options.fd === undefined)
    setOption(fd, 'SOL_IPV6', 'IPV6_V6ONLY', Number(options.ipv6Only ?? false));
  if (options.reuseAddress) setOption(fd, 'SOL_SOCKET', 'SO_REUSEADDR', 1);
  if (options.reusePort) setOption(fd, 'SOL_SOCKET', 'SO_REUSEPORT', 1);
  setRouting(fd, options);
  if (options.receiveBuffer !== undefined) setBuffer('SO_RCVBUF', options.receiveBuffer);
  if (options.sendBuffer !== undefined) setBuffer('SO_SNDBUF', options.sendBuffer);
  // Emulated systems lack it. Their drops are not counted.
  const counts = trySetOption(fd, 'SOL_SOCKET', 'SO_RXQ_OVFL', 1);
  if (counts !== ENOPROTOOPT) check(counts, 'setsockopt SO_RXQ_OVFL');
  setIp('IP_RECVERR', 'IPV6_RECVERR', 1);
  if (options.tos !== undefined) setIp('IP_TOS', 'IPV6_TCLASS', options.tos);
  if (options.receiveTos) setIp('IP_RECVTOS', 'IPV6_RECVTCLASS', 1);
  if (options.packetInfo) setIp('IP_PKTINFO', 'IPV6_RECVPKTINFO', 1);
  if (options.dontFragment !== undefined) {
    const how = { true: 'DO', false: 'DONT', probe: 'PROBE' }[`${options.dontFragment}`];
    setIp('IP_MTU_DISCOVER', 'IPV6_MTU_DISCOVER', native().socketConstants[`IP_PMTUDISC_${how}`]);
  }
  // Before Linux 4.18 and 5.0 these are not known; a control message would be passed over in silence.
  const segments = getOption(fd, 'SOL_UDP', 'UDP_SEGMENT') >= 0;
  return {
    gso: (options.gso ?? true) && segments,
    gro: (options.gro ?? true) && trySetOption(fd, 'SOL_UDP', 'UDP_GRO', 1) === 0,
  };
}

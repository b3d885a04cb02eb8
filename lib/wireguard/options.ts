/** What describes a WireGuard interface and its peers: shared by openWireGuard, files and the control socket. */

import type { NamespaceReference } from '../net/index.js';

/** A key: 44 characters of base64, or its 32 bytes. */
export type Key = string | Uint8Array;

/** Where routes to the peers' allowed IPs go: as wg-quick chooses, nowhere, or into this routing table. */
export type RouteOption = 'auto' | 'off' | number;

/** A peer. */
export interface PeerOptions {
  /** Identifies the peer. */
  readonly publicKey: Key;
  /** A secret that both ends have besides their keys. All zeros: none. **Default:** none */
  readonly presharedKey?: Key;
  /** Where the peer is: `192.0.2.1:51820`, `[2001:db8::1]:51820` or `vpn.example.org:51820`. **Default:** unknown */
  readonly endpoint?: string;
  /** The networks behind the peer, such as `10.0.0.0/24`; a bare address is a host. **Default:** none */
  readonly allowedIps?: readonly string[];
  /** Seconds between keepalives that hold NAT mappings open, 0 to 65,535. **Default:** 0, none are sent */
  readonly persistentKeepalive?: number;
}

/** An interface and its peers. */
export interface InterfaceOptions {
  /** The interface's own key. Without one it sends nothing and answers nobody. */
  readonly privateKey?: Key;
  /** UDP port, 0 to 65,535. **Default:** 0, the kernel chooses */
  readonly listenPort?: number;
  /** The firewall mark of the encrypted UDP packets to peers (SO_MARK), not of what is inside them; 0: none. **Default:** 0, or as `routes` needs it */
  readonly fwmark?: number;
  /** The interface's own addresses, such as `10.0.0.1/24`; a bare address is a host. **Default:** none */
  readonly addresses?: readonly string[];
  /** In bytes, 68 to 65,535. **Default:** what fits on the ways to the endpoints */
  readonly mtu?: number;
  /** **Default:** `'auto'` */
  readonly routes?: RouteOption;
  /** **Default:** none */
  readonly peers?: readonly PeerOptions[];
}

/** Options of openWireGuard. */
export interface WireGuardOptions extends InterfaceOptions {
  /** Where the tunnel's link is. **Default:** the process's own namespace */
  readonly namespace?: NamespaceReference;
  /** Where the UDP socket is. **Default:** the process's own namespace */
  readonly socketNamespace?: NamespaceReference;
  /** Whether to set the link up. **Default:** `true` */
  readonly up?: boolean;
  /** An open fd of a TUN device, to adopt. **Default:** none, a new device is made */
  readonly tunFd?: number;
  /**
   * An open UDP socket that is bound to a port, to adopt when the link comes up, instead of opening one. Sockets that
   * follow it, after a change of the port for example, are opened as without it. **Default:** none
   */
  readonly udpFd?: number;
  /** A listening unix socket, to adopt as control socket. **Default:** none */
  readonly controlFd?: number;
  /** Whether wg(8) can control the interface; a path: where its socket is. **Default:** `true` */
  readonly control?: boolean | string;
  /**
   * Threads that seal what goes to peers, up to 64, beside one that sends it; packets keep their order. Worth it where a
   * tunnel sends more than one core can seal. What comes from peers is opened on the calling thread. **Default:** 0, that
   * thread seals, too
   */
  readonly threads?: number;
  /** Closes the tunnel when it aborts, and ends the attempt to open one. */
  readonly signal?: AbortSignal;
}

/** A peer as a program may see it: without secrets. */
export interface PeerInfo {
  /** In base64. */
  readonly publicKey: string;
  /** Whether a preshared key is set. */
  readonly hasPresharedKey: boolean;
  /** Where the peer was last heard, or is expected. */
  readonly endpoint?: string;
  /** The networks behind the peer. */
  readonly allowedIps: readonly string[];
  /** In seconds; 0: off. */
  readonly persistentKeepalive: number;
  /** In milliseconds since 1970. */
  readonly latestHandshake?: number;
  /** UDP payload received from the peer, handshakes included. */
  readonly rxBytes: number;
  /** UDP payload sent to the peer, handshakes included. */
  readonly txBytes: number;
}

/** A file of wg-quick(8): an interface and what belongs around it. */
export interface WireGuardConfig extends InterfaceOptions {
  /** Addresses of DNS servers. */
  readonly dns?: readonly string[];
  /** Domains that host names are looked up in. */
  readonly searchDomains?: readonly string[];
  /** Commands to run before the interface exists; `%i` stands for its name. */
  readonly preUp?: readonly string[];
  /** Commands to run when all is up. */
  readonly postUp?: readonly string[];
  /** Commands to run before anything is taken down. */
  readonly preDown?: readonly string[];
  /** Commands to run when the interface is gone. */
  readonly postDown?: readonly string[];
  /** Whether to write the interface's state into the file when it goes down. **Default:** `false` */
  readonly saveConfig?: boolean;
}

/** A peer as {@link parseConfig} returns it: keys are base64, addresses are in canonical form. */
export interface ParsedPeer extends PeerOptions {
  readonly publicKey: string;
  readonly presharedKey?: string;
  readonly allowedIps: readonly string[];
}

/** What {@link parseConfig} returns: all lists are there, keys are base64, addresses are in canonical form. */
export interface ParsedConfig extends WireGuardConfig {
  readonly privateKey?: string;
  readonly addresses: readonly string[];
  readonly peers: readonly ParsedPeer[];
  readonly dns: readonly string[];
  readonly searchDomains: readonly string[];
  readonly preUp: readonly string[];
  readonly postUp: readonly string[];
  readonly preDown: readonly string[];
  readonly postDown: readonly string[];
  readonly saveConfig: boolean;
}

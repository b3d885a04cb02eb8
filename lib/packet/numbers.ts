/** Numbers assigned by IANA and IEEE. A name is the registry's own, or the kernel's without its prefix. */

/**
 * What an Ethernet frame carries: the kernel's `ETH_P_*`.
 *
 * @see {@link https://www.iana.org/assignments/ieee-802-numbers | IANA, IEEE 802 numbers}
 */
export const EtherType = {
  /** IPv4, `ETH_P_IP`. */
  IPV4: 0x0800,
  /** Address resolution, `ETH_P_ARP`. */
  ARP: 0x0806,
  /** 802.1Q customer VLAN tag, `ETH_P_8021Q`. */
  DOT1Q: 0x8100,
  /** IPv6, `ETH_P_IPV6`. */
  IPV6: 0x86dd,
  /** 802.1ad service VLAN tag, `ETH_P_8021AD`. */
  DOT1AD: 0x88a8,
  /** Link layer discovery, `ETH_P_LLDP`. */
  LLDP: 0x88cc,
} as const;

/**
 * What an IP packet carries, or the next header of IPv6: the kernel's `IPPROTO_*`.
 *
 * @see {@link https://www.iana.org/assignments/protocol-numbers | IANA, protocol numbers}
 */
export const IpProtocol = {
  /** IPv6 hop-by-hop options. */
  HOPOPTS: 0,
  /** ICMP for IPv4. */
  ICMP: 1,
  /** Group management. */
  IGMP: 2,
  /** IPv4 inside IP. */
  IPIP: 4,
  /** Transmission control. */
  TCP: 6,
  /** User datagrams. */
  UDP: 17,
  /** IPv6 inside IP. */
  IPV6: 41,
  /** IPv6 routing header. */
  ROUTING: 43,
  /** IPv6 fragment header. */
  FRAGMENT: 44,
  /** Generic routing encapsulation. */
  GRE: 47,
  /** IPsec encapsulating security payload. */
  ESP: 50,
  /** IPsec authentication header. */
  AH: 51,
  /** ICMP for IPv6. */
  ICMPV6: 58,
  /** IPv6: nothing follows. */
  NONE: 59,
  /** IPv6 destination options. */
  DSTOPTS: 60,
  /** Stream control transmission. */
  SCTP: 132,
} as const;

/**
 * Types of ICMP message for IPv4.
 *
 * @see {@link https://www.iana.org/assignments/icmp-parameters | IANA, ICMP parameters}
 */
export const Icmpv4Type = {
  /** Answer to an echo request. */
  ECHO_REPLY: 0,
  /** Error: the packet can't be delivered. */
  DESTINATION_UNREACHABLE: 3,
  /** Error: congestion; deprecated by RFC 6633. */
  SOURCE_QUENCH: 4,
  /** Error: a better first hop exists. */
  REDIRECT: 5,
  /** What `ping` sends. */
  ECHO_REQUEST: 8,
  /** A router tells of itself. */
  ROUTER_ADVERTISEMENT: 9,
  /** A host asks for routers. */
  ROUTER_SOLICITATION: 10,
  /** Error: the TTL or the time for reassembly ran out. */
  TIME_EXCEEDED: 11,
  /** Error: a header field is wrong. */
  PARAMETER_PROBLEM: 12,
} as const;

/**
 * Types of ICMP message for IPv6. Types below 128 are errors.
 *
 * @see {@link https://www.iana.org/assignments/icmpv6-parameters | IANA, ICMPv6 parameters}
 */
export const Icmpv6Type = {
  /** Error: the packet can't be delivered. */
  DESTINATION_UNREACHABLE: 1,
  /** Error: larger than the next link's MTU. */
  PACKET_TOO_BIG: 2,
  /** Error: the hop limit or the time for reassembly ran out. */
  TIME_EXCEEDED: 3,
  /** Error: a header field is wrong. */
  PARAMETER_PROBLEM: 4,
  /** What `ping` sends. */
  ECHO_REQUEST: 128,
  /** Answer to an echo request. */
  ECHO_REPLY: 129,
  /** A router asks for group members. */
  MULTICAST_LISTENER_QUERY: 130,
  /** A member of a group, MLDv1. */
  MULTICAST_LISTENER_REPORT: 131,
  /** No longer a member of a group. */
  MULTICAST_LISTENER_DONE: 132,
  /** A host asks for routers. */
  ROUTER_SOLICITATION: 133,
  /** A router tells of itself and its prefixes. */
  ROUTER_ADVERTISEMENT: 134,
  /** Who has this address? */
  NEIGHBOR_SOLICITATION: 135,
  /** I have this address. */
  NEIGHBOR_ADVERTISEMENT: 136,
  /** A better first hop exists. */
  REDIRECT: 137,
  /** Memberships in groups, MLDv2. */
  MULTICAST_LISTENER_REPORT_V2: 143,
} as const;

/** Operations of ARP, RFC 826. */
export const ArpOperation = {
  /** Who has the target address? */
  REQUEST: 1,
  /** The sender has the sender address. */
  REPLY: 2,
} as const;

/**
 * Kinds of TCP option.
 *
 * @see {@link https://www.iana.org/assignments/tcp-parameters | IANA, TCP parameters}
 */
export const TcpOptionKind = {
  /** End of the option list. */
  END: 0,
  /** Padding. */
  NOP: 1,
  /** Maximum segment size, 2 bytes. */
  MSS: 2,
  /** Window scale, 1 byte. */
  WINDOW_SCALE: 3,
  /** Selective acknowledgments permitted, no data. */
  SACK_PERMITTED: 4,
  /** Selective acknowledgments. */
  SACK: 5,
  /** Timestamps, 8 bytes. */
  TIMESTAMPS: 8,
} as const;

/** Types of neighbor discovery option that carry a link-layer address, RFC 4861 section 4.6.1. */
export const NdpOptionType = {
  /** Link-layer address of the sender, in solicitations. */
  SOURCE_LINK_LAYER_ADDRESS: 1,
  /** Link-layer address of the target, in advertisements. */
  TARGET_LINK_LAYER_ADDRESS: 2,
} as const;

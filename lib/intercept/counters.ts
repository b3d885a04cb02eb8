import type { Nat } from './nat.js';
import type { OtherPackets } from './other-packets.js';

/** What an {@link Interceptor} has done. */
export interface InterceptorCounters {
  /** Connections that clients asked for. */
  readonly connections: number;
  /** Those that wait for a decision now. */
  readonly pending: number;
  /** Those that were accepted and have not ended. */
  readonly open: number;
  /** Those that were refused. */
  readonly refused: number;
  /** Those that nobody decided about in time. */
  readonly timedOut: number;
  /** SYNs of the interceptor's own connections and datagrams of its own sockets, which were refused. */
  readonly loops: number;
  /** RSTs that answered segments of no connection. */
  readonly resets: number;
  /** Flows of UDP datagrams. */
  readonly flows: number;
  /** Those that have not ended. */
  readonly openFlows: number;
  /** Those that ended before their time, for a newer one: there were `maxFlows`. */
  readonly replacedFlows: number;
  /** UDP datagrams that clients sent. */
  readonly datagramsReceived: number;
  /** Those that clients were sent. */
  readonly datagramsSent: number;
  /** Those that were answered with an ICMP error, or would have been if there had been fewer. */
  readonly datagramsRefused: number;
  /** Echo requests. */
  readonly echoes: number;
  /** Packets that were put together of fragments. */
  readonly reassembled: number;
  /** Packets that were dropped, by reason. */
  readonly dropped: {
    /** Headers that contradict each other, or a wrong checksum of a SYN or of a datagram. */
    readonly malformed: number;
    /** Segments of no connection. */
    readonly unknown: number;
    /** SYNs beyond `maxPending`. */
    readonly maxPending: number;
    /** SYNs beyond `maxConnections`. */
    readonly maxConnections: number;
    /** Datagrams that came while the loop over {@link Interceptor.datagrams} was busy. */
    readonly busy: number;
    /** Connections and datagrams to fake addresses that no name has. */
    readonly unknownNames: number;
    /** Fragments that overlap others or contradict them, and those that came with them. */
    readonly fragments: number;
    /** Fragments whose packet was not complete within 30 seconds, or among more than 64. */
    readonly incomplete: number;
    /** ICMP messages about no connection, and echo requests without a listener. */
    readonly icmp: number;
    /** Protocols that are not intercepted, and addresses that are no single host's. */
    readonly unsupported: number;
  };
}

export function countersOf(nat: Nat, others: OtherPackets): InterceptorCounters {
  const { malformed, unknown, pendingLimit, openLimit, protocol, ...connections } = nat.counters;
  const datagrams = others.counters;
  return {
    ...connections,
    loops: connections.loops + others.port.own.loops,
    flows: datagrams.flows,
    openFlows: datagrams.openFlows,
    replacedFlows: datagrams.replacedFlows,
    datagramsReceived: datagrams.received,
    datagramsSent: datagrams.sent,
    datagramsRefused: datagrams.refused,
    echoes: others.echoes,
    reassembled: datagrams.reassembled,
    dropped: {
      malformed: malformed + datagrams.malformed,
      unknown,
      maxPending: pendingLimit,
      maxConnections: openLimit,
      busy: others.port.lost,
      unknownNames: others.port.unknownNames,
      fragments: datagrams.wrongFragments,
      incomplete: datagrams.lostFragments,
      icmp: others.icmp,
      unsupported: protocol,
    },
  };
}

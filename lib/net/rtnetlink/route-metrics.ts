/** RTA_METRICS of routes (linux/rtnetlink.h, ip-route(8)). */

import { AttributeTable, attribute, type FieldsOf } from '../netlink/attributes.js';
import { scaled, text, u32 } from '../netlink/codecs.js';
import { flagNames } from '../netlink/names.js';

const METRICS = {
  /** MTU of the way, in bytes. */
  mtu: attribute(2, 'RTAX_MTU', u32),
  /** The largest TCP window, in bytes. */
  window: attribute(3, 'RTAX_WINDOW', u32),
  /** First estimate of the round-trip time. */
  rttMs: attribute(4, 'RTAX_RTT', scaled(8)),
  /** First estimate of the round-trip time's variance. */
  rttVarianceMs: attribute(5, 'RTAX_RTTVAR', scaled(4)),
  /** First TCP slow start threshold, in segments. */
  ssthresh: attribute(6, 'RTAX_SSTHRESH', u32),
  /** The largest TCP congestion window, in segments, if it is locked. */
  cwnd: attribute(7, 'RTAX_CWND', u32),
  /** The largest TCP segment that the other end may send, in bytes. */
  advmss: attribute(8, 'RTAX_ADVMSS', u32),
  /** How many TCP segments may overtake one another. */
  reordering: attribute(9, 'RTAX_REORDERING', u32),
  /** Hop limit of packets sent. */
  hoplimit: attribute(10, 'RTAX_HOPLIMIT', u32),
  /** First TCP congestion window, in segments. */
  initcwnd: attribute(11, 'RTAX_INITCWND', u32),
  /** `RTAX_FEATURE_*` of linux/rtnetlink.h; 1 is ECN. */
  features: attribute(12, 'RTAX_FEATURES', u32),
  /** The shortest TCP retransmission timeout. */
  rtoMinMs: attribute(13, 'RTAX_RTO_MIN', u32),
  /** First TCP receive window, in segments. */
  initrwnd: attribute(14, 'RTAX_INITRWND', u32),
  /** 1: TCP acknowledges at once. */
  quickack: attribute(15, 'RTAX_QUICKACK', u32),
  /** TCP congestion control algorithm. */
  congestion: attribute(16, 'RTAX_CC_ALGO', text),
  /** 1: TCP Fast Open without a cookie. */
  fastopenNoCookie: attribute(17, 'RTAX_FASTOPEN_NO_COOKIE', u32),
};
/** Properties of the way to a route's destination. */
export interface RouteMetrics extends FieldsOf<typeof METRICS> {}
/** The name of a metric. */
export type RouteMetric = keyof typeof METRICS;
// Bit n of RTAX_LOCK is for the metric with the number n.
export const LOCKS = flagNames(
  Object.fromEntries(Object.entries(METRICS).map(([name, { type }]) => [name, 2 ** type])) as Record<
    RouteMetric,
    number
  >,
);
export const metricsTable = new AttributeTable({ lock: attribute(1, 'RTAX_LOCK', u32), ...METRICS });

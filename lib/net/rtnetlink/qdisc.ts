/** Queueing disciplines: `tc qdisc` (linux/pkt_sched.h). */

import {
  invalidArgType,
  invalidArgValue,
  outOfRange,
  requireInteger,
  requireObject,
} from '../../arguments.js';
import {
  AttributeTable,
  attribute,
  type Codec,
  defined,
  type UnknownAttribute,
} from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { nestedBy, text, u32, u64 } from '../netlink/codecs.js';
import type { NetlinkMessage } from '../netlink/message.js';
import { enumNames } from '../netlink/names.js';
import { changeRequest, getRequest, type Request } from '../netlink/request.js';

const TCMSG_SIZE = 20;
const TC_H_ROOT = 0xffffffff;
const TC_H_INGRESS = 0xfffffff1;
const TC_LINKLAYER_ETHERNET = 1;
const TC_LINKLAYER_ATM = 2;
// PSCHED_SHIFT of net/pkt_sched.h.
const TICK_SECONDS = 64e-9;

const LINK_LAYERS = enumNames({ unaware: 0, ethernet: 1, atm: 2 });

/** A token bucket: a rate, after a burst. */
export interface TbfOptions {
  /** Bits a second, 8 at least. */
  readonly rate: number;
  /** Bytes that may leave at once; at least one packet, and rate / HZ for the rate to be reached. */
  readonly burst: number;
  /** Bytes that may wait; more are dropped. */
  readonly limit: number;
  /** Bits a second of the burst itself, from a second bucket. **Default:** no limit */
  readonly peakRate?: number;
  /** Bytes that may leave at once at `peakRate`; at least one packet. Required with `peakRate`. */
  readonly peakBurst?: number;
  /** Bytes that each packet has besides, may be negative. **Default:** 0 */
  readonly overhead?: number;
  /** The smallest size that a packet counts with, in bytes. **Default:** 0 */
  readonly mpu?: number;
  /** How packet sizes are counted; `atm`: in cells. **Default:** `ethernet` */
  readonly linkLayer?: 'ethernet' | 'atm' | 'unaware' | number;
}

/**
 * struct tc_tbf_qopt: two tc_ratespec of 12 bytes (cell_log, linklayer, overhead, cell_align, mpu, rate), limit, buffer,
 * mtu. The kernel counts bytes a second, and gives buffers as the time that they take, in ticks.
 */
const readTbf = (from: Buffer, start: number) => ({
  linkLayer: from[start + 1] & 0xf,
  overhead: (bytes.readU16(from, start + 2) << 16) >> 16,
  mpu: bytes.readU16(from, start + 6),
  rate: bytes.readU32(from, start + 8),
  peakRate: bytes.readU32(from, start + 20),
  limit: bytes.readU32(from, start + 24),
  buffer: bytes.readU32(from, start + 28),
  peakBuffer: bytes.readU32(from, start + 32),
});
type TbfParameters = ReturnType<typeof readTbf>;

const tbfParameters: Codec<TbfParameters> = {
  fits: (length) => length >= 36,
  read: readTbf,
  write({ linkLayer, overhead, mpu, rate, peakRate, limit, buffer, peakBuffer }) {
    const cost = [Buffer.of(0, linkLayer), bytes.u16(overhead & 0xffff), bytes.u16(0), bytes.u16(mpu)];
    const spec = (value: number) => [...cost, bytes.u32(Math.min(value, 0xffffffff))];
    const numbers = [limit, buffer, peakBuffer].map(bytes.u32);
    return Buffer.concat([
      ...spec(rate),
      ...(peakRate === 0 ? [Buffer.alloc(12)] : spec(peakRate)),
      ...numbers,
    ]);
  },
};

const tbfTable = new AttributeTable({
  parameters: attribute(1, 'TCA_TBF_PARMS', tbfParameters),
  rate64: attribute(4, 'TCA_TBF_RATE64', u64),
  peakRate64: attribute(5, 'TCA_TBF_PRATE64', u64),
  burst: attribute(6, 'TCA_TBF_BURST', u32),
  peakBurst: attribute(7, 'TCA_TBF_PBURST', u32),
});

export const qdiscTable = new AttributeTable({
  kind: attribute(1, 'TCA_KIND', text),
  options: attribute(2, 'TCA_OPTIONS', nestedBy('kind', { tbf: tbfTable })),
});

/** A queueing discipline, as `tc qdisc` shows it. */
export interface QdiscInfo {
  /** Index of the link. */
  readonly deviceIndex: number;
  /** Name of the link. */
  readonly device: string;
  /** Such as `noqueue`, `pfifo_fast` or `tbf`. */
  readonly kind: string;
  /** Its number, as `tc` writes it: `8001:`. */
  readonly handle: string;
  /** `root`, `ingress`, or the class that it is below: `1:10`. */
  readonly parent: string;
  /** Of a tbf. */
  readonly tbf?: TbfOptions;
  /** Of another kind: its options as the kernel has them. */
  readonly options?: Uint8Array;
  /** Attributes that this package has no name for, such as counters. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** A token bucket to add or replace. */
export interface NewQdisc extends Omit<TbfOptions, 'limit'> {
  /** Name or index of the link. */
  readonly device: string | number;
  /** The kind. */
  readonly kind: 'tbf';
  /** Bytes that may wait; required unless you give `latencyMs`. */
  readonly limit?: number;
  /** Milliseconds that a packet may wait, in place of `limit`. */
  readonly latencyMs?: number;
  /** Its number, as `tc` writes it: `1:`. **Default:** the kernel chooses one */
  readonly handle?: string;
  /** `root`, or the class that it is below: `1:10`. **Default:** `root` */
  readonly parent?: string;
}

/** RTM_NEWQDISC. */
const qdiscMessages = { type: 36, headerSize: TCMSG_SIZE, table: qdiscTable } as const;

function tcmsg(index: number, handle: number, parent: number): Buffer {
  return Buffer.concat([0, index, handle, parent, 0].map(bytes.u32));
}

export function listQdiscsRequest(): Request<Omit<QdiscInfo, 'device'>> {
  return getRequest(qdiscMessages, 'list qdiscs', [tcmsg(0, 0, 0)], decodeQdisc);
}

function decodeQdisc({ payload }: NetlinkMessage): Omit<QdiscInfo, 'device'> | undefined {
  if (payload.length < TCMSG_SIZE) return undefined;
  const { kind = '', options, unknown } = qdiscTable.decode(payload, TCMSG_SIZE);
  const parent = bytes.readU32(payload, 12);
  return {
    deviceIndex: bytes.readI32(payload, 4),
    kind,
    handle: handleText(bytes.readU32(payload, 8)),
    parent: parent === TC_H_ROOT ? 'root' : parent === TC_H_INGRESS ? 'ingress' : handleText(parent),
    ...(kind === 'tbf'
      ? defined({ tbf: toTbf(options as TbfValues | undefined) })
      : { options: (options as Uint8Array | undefined) ?? NO_OPTIONS }),
    ...defined({ unknown }),
  };
}

const NO_OPTIONS = new Uint8Array();
type TbfValues = Parameters<typeof tbfTable.encode>[0];

function toTbf({ parameters, rate64, peakRate64 }: TbfValues = {}): TbfOptions | undefined {
  if (parameters === undefined) return undefined;
  const { limit, buffer, peakBuffer, overhead, mpu, linkLayer } = parameters;
  const rate = rate64 ?? parameters.rate;
  const peakRate = peakRate64 ?? parameters.peakRate;
  return {
    rate: rate * 8,
    burst: toSize(buffer, rate, parameters),
    limit,
    ...(peakRate !== 0 && { peakRate: peakRate * 8, peakBurst: toSize(peakBuffer, peakRate, parameters) }),
    ...(overhead !== 0 && { overhead }),
    ...(mpu !== 0 && { mpu }),
    ...(linkLayer !== TC_LINKLAYER_ETHERNET && { linkLayer: LINK_LAYERS.nameOf(linkLayer) }),
  };
}

type PacketCost = Pick<TbfParameters, 'overhead' | 'linkLayer'>;

/** The size of a packet that takes these ticks (psched_l2t_ns() of net/sch_generic.h, reversed). */
function toSize(ticks: number, rate: number, { overhead, linkLayer }: PacketCost): number {
  const size = ticks * TICK_SECONDS * rate;
  return Math.round(linkLayer === TC_LINKLAYER_ATM ? Math.round(size / 53) * 48 : size) - overhead;
}

function toTicks(size: number, rate: number, { overhead, linkLayer }: PacketCost): number {
  const counted = size + overhead;
  const sent = linkLayer === TC_LINKLAYER_ATM ? Math.ceil(counted / 48) * 53 : counted;
  return Math.min(Math.round(sent / rate / TICK_SECONDS), 0xffffffff);
}

/** The exact size that goes with ticks. The kernel rounds down: with half a tick more it gets the same ticks. */
function exactSize(size: number, ticks: number, rate: number, cost: PacketCost): number {
  return Math.max(size, cost.linkLayer === TC_LINKLAYER_ATM ? 0 : toSize(ticks + 0.5, rate, cost));
}

function handleText(handle: number): string {
  const minor = handle & 0xffff;
  return `${(handle >>> 16).toString(16)}:${minor === 0 ? '' : minor.toString(16)}`;
}

function parseHandle(argument: string, handle: unknown): number {
  const match = typeof handle === 'string' ? /^([0-9a-f]{1,4}):([0-9a-f]{0,4})$/i.exec(handle) : null;
  if (match === null) throw invalidArgValue(argument, handle, "must be a number such as '1:'");
  return Number.parseInt(match[1], 16) * 0x10000 + Number.parseInt(match[2] || '0', 16);
}

function parseParent(parent: string): number {
  if (parent === 'root') return TC_H_ROOT;
  return parent === 'ingress' ? TC_H_INGRESS : parseHandle('qdisc.parent', parent);
}

export function checkQdisc(qdisc: NewQdisc | QdiscInfo): void {
  qdiscRequest('add', qdisc, 1);
}

export function qdiscRequest(
  action: 'add' | 'replace',
  qdisc: NewQdisc | QdiscInfo,
  index: number,
): Request<undefined> {
  requireObject('qdisc', qdisc);
  const { kind, handle = '0:', parent = 'root' } = qdisc;
  const { tbf, options: raw, unknown } = qdisc as Partial<QdiscInfo>;
  if (kind !== 'tbf' && raw === undefined) {
    const reason = "must be 'tbf', or come with the `options` that qdiscs() listed";
    throw invalidArgValue('qdisc.kind', kind, reason);
  }
  const options = kind === 'tbf' ? tbfValues(tbf ?? (qdisc as NewQdisc)) : raw;
  return changeRequest(qdiscMessages, action, 'qdisc', String(qdisc.device), [
    tcmsg(index, parseHandle('qdisc.handle', handle), parseParent(parent)),
    qdiscTable.encode({ kind, options, unknown }),
  ]);
}

function tbfValues(qdisc: TbfOptions | NewQdisc): TbfValues {
  const { burst, peakBurst = 0, overhead = 0, mpu = 0 } = qdisc;
  requireInteger('qdisc.rate', qdisc.rate, 8, Number.MAX_SAFE_INTEGER);
  requireInteger('qdisc.burst', burst, 1, 0xffffffff);
  const rate = Math.floor(qdisc.rate / 8);
  const limit = qdisc.limit ?? fromLatency(rate, burst, (qdisc as NewQdisc).latencyMs);
  requireInteger('qdisc.limit', limit, 1, 0xffffffff);
  const hasPeak = qdisc.peakRate !== undefined;
  const peakRate = hasPeak
    ? Math.floor(requireInteger('qdisc.peakRate', qdisc.peakRate, 8, Number.MAX_SAFE_INTEGER) / 8)
    : 0;
  requireInteger('qdisc.peakBurst', peakBurst, hasPeak ? 1 : 0, 0xffffffff);
  const cost = {
    overhead: requireInteger('qdisc.overhead', overhead, -0x8000, 0x7fff),
    // With a link layer, the kernel needs no rate table.
    linkLayer: LINK_LAYERS.number('qdisc.linkLayer', qdisc.linkLayer ?? 'ethernet'),
  };
  const buffer = toTicks(burst, rate, cost);
  const peakBuffer = hasPeak ? toTicks(peakBurst, peakRate, cost) : 0;
  return {
    parameters: {
      ...{ rate, peakRate, limit, buffer, peakBuffer, ...cost },
      mpu: requireInteger('qdisc.mpu', mpu, 0, 0xffff),
    },
    rate64: rate > 0xffffffff ? rate : undefined,
    peakRate64: peakRate > 0xffffffff ? peakRate : undefined,
    burst: exactSize(burst, buffer, rate, cost),
    peakBurst: hasPeak ? exactSize(peakBurst, peakBuffer, peakRate, cost) : undefined,
  };
}

function fromLatency(bytesPerSecond: number, burst: number, latencyMs: number | undefined): number {
  if (typeof latencyMs !== 'number')
    throw invalidArgType('qdisc.limit', 'given, or qdisc.latencyMs', latencyMs);
  if (!(latencyMs >= 0)) throw outOfRange('qdisc.latencyMs', 'at least 0', latencyMs);
  return Math.floor((bytesPerSecond * latencyMs) / 1000) + burst;
}

/** Removes a discipline of a link. If it was at the root, the kernel puts the default one there. */
export function deleteQdiscRequest(
  index: number,
  subject: string,
  { handle = '0:', parent = 'root' }: { readonly handle?: string; readonly parent?: string } = {},
): Request<undefined> {
  const header = tcmsg(index, parseHandle('qdisc.handle', handle), parseParent(parent));
  return changeRequest(qdiscMessages, 'delete', 'qdisc', subject, [header]);
}

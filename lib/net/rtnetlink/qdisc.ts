/** Queueing disciplines: `tc qdisc` (linux/pkt_sched.h). */

import {
  invalidArgType,
  invalidArgValue,
  outOfRange,
  requireInteger,
  requireObject,
} from '../../arguments.js';
import { AttributeTable, attribute, type Codec, type UnknownAttribute } from '../netlink/attributes.js';
import * as bytes from '../netlink/bytes.js';
import { nestedBy, text, u32 } from '../netlink/codecs.js';
import {
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
} from '../netlink/message.js';
import { nothing, type Request } from '../netlink/request.js';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;
const TCMSG_SIZE = 20;
const TC_H_ROOT = 0xffffffff;
const TC_H_INGRESS = 0xfffffff1;
const TC_LINKLAYER_ETHERNET = 1;
// PSCHED_SHIFT of net/pkt_sched.h.
const TICK_SECONDS = 64e-9;

/** A token bucket: so many bits a second, after a burst. */
export interface TbfOptions {
  /** FlagNames a second. */
  readonly rate: number;
  /** Bytes that may leave at once; at least one packet, and rate / HZ for the rate to be reached. */
  readonly burst: number;
  /** Bytes that may wait; more are dropped. */
  readonly limit: number;
}

interface TbfParameters {
  readonly rate: number;
  readonly buffer: number;
  readonly limit: number;
}

/** struct tc_tbf_qopt: two tc_ratespec of 12 bytes, then limit, buffer in ticks, mtu. */
const tbfParameters: Codec<TbfParameters> = {
  fits: (length) => length >= 36,
  read: (from, start) => ({
    rate: bytes.readU32(from, start + 8),
    limit: bytes.readU32(from, start + 24),
    buffer: bytes.readU32(from, start + 28),
  }),
  write: ({ rate, limit, buffer }) =>
    Buffer.concat([
      // With its link layer told, the kernel wants no rate table.
      Buffer.of(0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0),
      bytes.u32(Math.min(rate, 0xffffffff)),
      Buffer.alloc(12),
      bytes.u32(limit),
      bytes.u32(buffer),
      bytes.u32(0),
    ]),
};

const rate64: Codec<number> = {
  fits: (length) => length >= 8,
  read: (from, start) => Number(bytes.readU64(from, start)),
  write: (value) => bytes.u64(BigInt(value)),
};

const tbfTable = new AttributeTable({
  parameters: attribute(1, 'TCA_TBF_PARMS', tbfParameters),
  rate64: attribute(4, 'TCA_TBF_RATE64', rate64),
  burst: attribute(6, 'TCA_TBF_BURST', u32),
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
  /** What the kernel said besides. */
  readonly unknown?: readonly UnknownAttribute[];
}

/** A queueing discipline to add or replace. */
export interface NewQdisc {
  /** Name or index of the link. */
  readonly device: string | number;
  /** The kind. */
  readonly kind: 'tbf';
  /** FlagNames a second, 8 at least. */
  readonly rate: number;
  /** Bytes that may leave at once. */
  readonly burst: number;
  /** Bytes that may wait; or `latency` tells it. */
  readonly limit?: number;
  /** Milliseconds that a packet may wait, in place of `limit`. */
  readonly latencyMs?: number;
  /** Its number, as `tc` writes it: `1:`. **Default:** the kernel chooses one */
  readonly handle?: string;
}

const family = { headerSize: TCMSG_SIZE, table: qdiscTable } as const;

function tcmsg(index: number, handle: number, parent: number): Buffer {
  return Buffer.concat([
    Buffer.alloc(4),
    bytes.u32(index),
    bytes.u32(handle),
    bytes.u32(parent),
    bytes.u32(0),
  ]);
}

export function listQdiscsRequest(): Request<Omit<QdiscInfo, 'device'>> {
  return {
    ...family,
    operation: 'list qdiscs',
    type: RTM_GETQDISC,
    flags: NLM_F_DUMP,
    body: tcmsg(0, 0, 0),
    decode: (message) => (message.type === RTM_NEWQDISC ? decodeQdisc(message) : undefined),
  };
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
    ...(kind === 'tbf' && options !== undefined && toTbf(options as Parameters<typeof toTbf>[0])),
    ...(unknown !== undefined && { unknown }),
  };
}

function toTbf(options: { parameters?: TbfParameters; rate64?: number }): { tbf: TbfOptions } | undefined {
  const { parameters } = options;
  if (parameters === undefined) return undefined;
  const bytesPerSecond = options.rate64 ?? parameters.rate;
  const burst = Math.round(bytesPerSecond * parameters.buffer * TICK_SECONDS);
  return { tbf: { rate: bytesPerSecond * 8, burst, limit: parameters.limit } };
}

function handleText(handle: number): string {
  const minor = handle & 0xffff;
  return `${(handle >>> 16).toString(16)}:${minor === 0 ? '' : minor.toString(16)}`;
}

export function checkQdisc(qdisc: NewQdisc): void {
  qdiscRequest('add', qdisc, 1);
}

export function qdiscRequest(action: 'add' | 'replace', qdisc: NewQdisc, index: number): Request<undefined> {
  requireObject('qdisc', qdisc);
  const { kind, rate, burst, latencyMs, handle } = qdisc;
  if (kind !== 'tbf') throw invalidArgValue('qdisc.kind', kind, "must be 'tbf'");
  requireInteger('qdisc.rate', rate, 8, Number.MAX_SAFE_INTEGER);
  requireInteger('qdisc.burst', burst, 1, 0xffffffff);
  const bytesPerSecond = Math.floor(rate / 8);
  const limit = qdisc.limit ?? fromLatency(bytesPerSecond, burst, latencyMs);
  requireInteger('qdisc.limit', limit, 1, 0xffffffff);
  const buffer = Math.min(Math.round(burst / bytesPerSecond / TICK_SECONDS), 0xffffffff);
  return {
    ...family,
    operation: `${action} qdisc`,
    subject: String(qdisc.device),
    type: RTM_NEWQDISC,
    flags: NLM_F_CREATE | (action === 'add' ? NLM_F_EXCL : NLM_F_REPLACE),
    body: Buffer.concat([
      tcmsg(index, handle === undefined ? 0 : parseHandle(handle), TC_H_ROOT),
      qdiscTable.encode({
        kind,
        options: {
          parameters: { rate: bytesPerSecond, limit, buffer },
          ...(bytesPerSecond > 0xffffffff && { rate64: bytesPerSecond }),
          burst,
        },
      }),
    ]),
    decode: nothing,
  };
}

function fromLatency(bytesPerSecond: number, burst: number, latencyMs: number | undefined): number {
  if (typeof latencyMs !== 'number')
    throw invalidArgType('qdisc.limit', 'given, or qdisc.latencyMs', latencyMs);
  if (!(latencyMs >= 0)) throw outOfRange('qdisc.latencyMs', 'at least 0', latencyMs);
  return Math.floor((bytesPerSecond * latencyMs) / 1000) + burst;
}

function parseHandle(handle: string): number {
  const match = /^([0-9a-f]{1,4}):$/i.exec(handle);
  if (match === null) throw invalidArgValue('qdisc.handle', handle, "must be a number such as '1:'");
  return Number.parseInt(match[1], 16) * 0x10000;
}

/** Removes the root discipline of a link, so that the default one takes its place. */
export function deleteQdiscRequest(index: number, subject: string): Request<undefined> {
  return {
    ...family,
    operation: 'delete qdisc',
    subject,
    type: RTM_DELQDISC,
    flags: 0,
    body: tcmsg(index, 0, TC_H_ROOT),
    decode: nothing,
  };
}

/** Flows, datagrams and fragments of intercepted packets: src-cpp/intercept/datagrams.h and reassembly.h. */

import type { PacketBatch } from '../io/packet-batch.js';
import { native } from '../native/addon.js';
import type { DatagramsHandle } from '../native/datagram-calls.js';
import { type DatagramTable, entriesOf } from '../socket/datagram-table.js';
import { check } from '../system-error.js';
import { countsByName } from './counts.js';

/** DatagramCounter. */
const COUNTERS = [
  'received',
  'sent',
  'refused',
  'malformed',
  'flows',
  'openFlows',
  'replacedFlows',
  'reassembled',
  'wrongFragments',
  'lostFragments',
] as const;
const SENT = COUNTERS.indexOf('sent');

/** Unreachable of src-cpp/intercept/replies.h. */
const REASONS = { 'port-unreachable': 0, 'host-unreachable': 1, prohibited: 2 } as const;

/** How a datagram can be refused. */
export type DatagramRefusal = keyof typeof REASONS;

export function isDatagramRefusal(reason: string): reason is DatagramRefusal {
  return Object.hasOwn(REASONS, reason);
}

/** How {@link Datagrams} are made. */
export interface DatagramsOptions {
  /** Bytes of the virtio_net_hdr before each packet. */
  readonly prefix: number;
  /** Whether the device takes runs of datagrams as one packet. */
  readonly superPackets: boolean;
  readonly maxFlows: number;
  readonly flowTimeout: number;
}

/** A flow that has only asked DNS servers goes sooner. */
const QUESTION_TIMEOUT = 10_000;
const EXPIRED_AT_ONCE = 1024;

/** Takes datagrams out of packets, and makes packets of datagrams. */
export class Datagrams {
  readonly #handle: DatagramsHandle;
  readonly #slots = new Uint32Array(EXPIRED_AT_ONCE);
  readonly #counts = new Float64Array(COUNTERS.length);

  constructor({ prefix, superPackets, maxFlows, flowTimeout }: DatagramsOptions) {
    const questionTimeout = Math.min(flowTimeout, QUESTION_TIMEOUT);
    const options = Uint32Array.of(prefix, Number(superPackets), maxFlows, flowTimeout, questionTimeout);
    this.#handle = check<DatagramsHandle>(native().newDatagrams(options), 'newDatagrams');
  }

  /**
   * Takes the payloads out of UDP packets, which it drops, and tells in the table where they come from and go to.
   * @returns the packet to go on with, which is `end` unless the payloads or the table are full
   */
  take(batch: PacketBatch, start: number, end: number, payloads: PacketBatch, table: DatagramTable): number {
    const { memory } = batch;
    const next = native().takeDatagrams(this.#handle, memory, start, end, entriesOf(table), payloads.memory);
    return check<number>(next, 'takeDatagrams');
  }

  /** Appends packets of these payloads. @returns the payload to go on with */
  build(payloads: PacketBatch, start: number, table: DatagramTable, packets: PacketBatch): number {
    const { memory } = payloads;
    const next = native().buildDatagrams(this.#handle, memory, start, entriesOf(table), packets.memory);
    return check<number>(next, 'buildDatagrams');
  }

  /** Appends an ICMP error that answers the datagram of an entry. */
  refuse(table: DatagramTable, index: number, reason: DatagramRefusal, packets: PacketBatch): void {
    const { memory } = packets;
    const result = native().refuseDatagram(this.#handle, entriesOf(table), index, REASONS[reason], memory);
    check(result, 'refuseDatagram');
  }

  /** Puts fragments together, which it drops, and appends whole packets. */
  addFragments(batch: PacketBatch, start: number, end: number, wholes: PacketBatch): void {
    check(native().addFragments(this.#handle, batch.memory, start, end, wholes.memory), 'addFragments');
  }

  /** Ends flows that were idle for too long. */
  expire(ended: (slot: number) => void): void {
    for (;;) {
      const count = check<number>(native().expireFlows(this.#handle, this.#slots), 'expireFlows');
      for (let i = 0; i < count; i++) ended(this.#slots[i]);
      if (count < EXPIRED_AT_ONCE) return;
    }
  }

  removeFlow(slot: number): void {
    native().removeFlow(this.#handle, slot);
  }

  /** How many datagrams were sent so far, without an allocation. */
  get sent(): number {
    check(native().datagramCounters(this.#handle, this.#counts), 'counters');
    return this.#counts[SENT];
  }

  /** Counts by name. */
  get counters(): Readonly<Record<(typeof COUNTERS)[number], number>> {
    return countsByName(COUNTERS, (counts) => native().datagramCounters(this.#handle, counts));
  }
}

import { markAsUntransferable } from 'node:worker_threads';
import { ADDRESS_FAMILIES } from '../endpoint.js';
import { PacketBatch } from '../io/packet-batch.js';
import type { PacketChannel, PacketCounters } from '../io/packet-channel.js';
import { native } from '../native/addon.js';
import type { Descriptor } from '../native/descriptor.js';
import { LAYOUT } from '../native/layout.js';
import { check } from '../system-error.js';
import { DatagramTable } from './datagram-table.js';
import type { UdpOffloads, UdpOptions } from './udp-options.js';

// Places in the socket's state, in 32-bit words.
const GSO = LAYOUT['UdpState.gso'] / 4;
const GRO = LAYOUT['UdpState.gro'] / 4;
const DROPS = LAYOUT['UdpState.drops'] / 4;
const SEGMENTED_SENDS = LAYOUT['UdpState.segmented_sends'] / 4;
const COALESCED_READS = LAYOUT['UdpState.coalesced_reads'] / 4;
const ERRORS_LOST = LAYOUT['UdpState.errors_lost'] / 4;
const { UdpState: STATE_SIZE, kMaxSegments: MAX_SEGMENTS, kReceivedMessages: MESSAGES } = LAYOUT;
const { kEnoughDatagrams: ENOUGH_PACKETS } = LAYOUT;
const CAPACITY = ENOUGH_PACKETS + MESSAGES * MAX_SEGMENTS;
const USUAL_DATAGRAM = 2048;
const MAX_DATAGRAM = 65535;

/** What a socket transferred since it was opened. */
export interface UdpCounters extends PacketCounters {
  /** Datagrams that the kernel dropped since the receive buffer was full, as of the last one received. */
  readonly dropped: number;
  /** Sends of several datagrams as one (UDP_SEGMENT). */
  readonly segmentedSends: number;
  /** Receipts of several datagrams as one (UDP_GRO). */
  readonly coalescedReads: number;
  /** ICMP errors that were not reported since more than 32 came at once. */
  readonly icmpErrorsLost: number;
}

/** Owns the memory that a socket shares with native code: its state, and a table of what was received. */
export class UdpReceiver {
  /** A UdpState of src-cpp/batch/layout.h. */
  readonly state: Uint32Array;
  /** Entry `i` describes packet `i` of the batch that was read last. */
  readonly received: DatagramTable;

  constructor(descriptor: Descriptor, family: 4 | 6, options: UdpOptions, { gso, gro }: UdpOffloads) {
    const memory = new ArrayBuffer(STATE_SIZE + CAPACITY * LAYOUT.DatagramEntry);
    markAsUntransferable(memory);
    this.state = new Uint32Array(memory, 0, STATE_SIZE / 4);
    this.state[GSO] = Number(gso);
    this.state[GRO] = Number(gro);
    this.received = new DatagramTable(CAPACITY, memory, STATE_SIZE);
    const { maxDatagramSize = MAX_DATAGRAM } = options;
    check(native().attachUdp(descriptor, ADDRESS_FAMILIES[family], memory, maxDatagramSize), 'attach');
  }

  /** A batch with room for all that one read may bring. */
  newBatch(headroom: number, tailroom: number): PacketBatch {
    const room = headroom + tailroom + LAYOUT.kSlotAlignment;
    const size = ENOUGH_PACKETS * (USUAL_DATAGRAM + room) + MESSAGES * (MAX_DATAGRAM + MAX_SEGMENTS * room);
    return new PacketBatch({ capacity: CAPACITY, size, headroom, tailroom });
  }

  get offloads(): UdpOffloads {
    return { gso: this.state[GSO] !== 0, gro: this.state[GRO] !== 0 };
  }

  counters(channel: PacketChannel): UdpCounters {
    const { malformed: _, ...counters } = channel.counters;
    return {
      ...counters,
      dropped: this.state[DROPS],
      segmentedSends: this.state[SEGMENTED_SENDS],
      coalescedReads: this.state[COALESCED_READS],
      icmpErrorsLost: this.state[ERRORS_LOST],
    };
  }
}

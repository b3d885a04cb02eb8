/** The translation of connections: src-cpp/intercept/nat.h. */

import { formatIpv4, formatIpv6 } from '../address.js';
import type { TunDevice } from '../device/tun-tap-device.js';
import type { Endpoint } from '../endpoint.js';
import { LITTLE_ENDIAN } from '../endpoint.js';
import { PacketBatch } from '../io/packet-batch.js';
import { type PacketRuns, rowsOf, setLength } from '../io/packet-runs.js';
import { descriptorOf } from '../io/packet-stream.js';
import { native } from '../native/addon.js';
import type { Descriptor } from '../native/descriptor.js';
import type { NatHandle } from '../native/intercept-calls.js';
import { LAYOUT } from '../native/layout.js';
import { check } from '../system-error.js';
import { countsByName } from './counts.js';

/** What the packets of a run are, RunKind of src-cpp/intercept/nat.h. */
export const RUN_KINDS = { udp: 1, icmp: 2, fragment: 3 } as const;

/** RefusalKind, and what JavaScript decides beside refusing. */
export const DECISIONS = {
  reset: 0,
  'port-unreachable': 1,
  'host-unreachable': 2,
  prohibited: 3,
  drop: 4,
  accept: 16,
  abort: 17,
} as const;

/** NatEventKind. */
const NEW = 1;
const ENDINGS = [undefined, undefined, 'timed-out', 'closed', 'reset', 'idle'] as const;

/** Why a connection ended. */
export type Ending = 'timed-out' | 'closed' | 'reset' | 'idle';

/** NatCounter, then how many wait and are open. */
const COUNTERS = [
  'connections',
  'refused',
  'timedOut',
  'loops',
  'resets',
  'malformed',
  'unknown',
  'pendingLimit',
  'openLimit',
  'protocol',
  'pending',
  'open',
] as const;

/** One end of a connection. */
export interface ConnectionEnd {
  /** An IPv4 or IPv6 address. */
  readonly address: string;
  /** 1 to 65,535. */
  readonly port: number;
  /** 4 or 6. */
  readonly family: 4 | 6;
  /** With option `names`: the name that a destination's fake address stands for. */
  readonly name?: string;
}

/** A connection among those of a Nat: a slot, and how often it was taken. */
export interface SlotReference {
  readonly slot: number;
  readonly generation: number;
}

/** Who hears of a Nat's connections. */
export interface NatListener {
  /** A SYN waits for a decision. */
  readonly begun: (slot: SlotReference, source: ConnectionEnd, destination: ConnectionEnd) => void;
  /** @param read the bytes that the client sent. @param written those that it was sent */
  readonly ended: (slot: SlotReference, how: Ending, read: number, written: number) => void;
}

/** How a Nat is made. */
export interface NatOptions {
  /** Bytes of the virtio_net_hdr before each packet. */
  readonly prefix: number;
  /** Whether the stack's packets come from the client's device. */
  readonly shared: boolean;
  /** The ports that the stack listens at; 0: not. */
  readonly ports: Readonly<Record<4 | 6, number>>;
  readonly maxPending: number;
  readonly maxConnections: number;
  readonly decisionTimeout: number;
  readonly idleTimeout: number;
}

const HAS_EVENTS = 0x10000; // kHasEvents of src-cpp/node/intercept_calls.cc
const EVENT_ROWS = 256;
const ROW = LAYOUT.NatEvent;

/** Translates batches between a client's device and a stack's. It makes packets of its own, too: see {@link toClient}. */
export class Nat {
  /** @internal */
  readonly handle: NatHandle;
  /** Packets that are to be written to the client's device: write and clear it after each call. */
  readonly toClient = new PacketBatch();
  /** The same for the stack. */
  readonly toStack = new PacketBatch();
  readonly #rows = new Uint8Array(EVENT_ROWS * ROW);
  readonly #view = new DataView(this.#rows.buffer);
  readonly #pair = new Uint32Array(2);
  readonly #totals = new Float64Array(2);
  readonly #listener: NatListener;
  /** What native code tells of batches that it wrote: NatWord of src-cpp/batch/layout.h. */
  readonly #words = new Uint32Array(LAYOUT.kNatWords);
  readonly #wordsBack = new Uint32Array(LAYOUT.kNatWords);

  constructor(options: NatOptions, listener: NatListener) {
    this.#listener = listener;
    const { prefix, shared, ports, maxPending, maxConnections, decisionTimeout, idleTimeout } = options;
    this.handle = check<NatHandle>(
      native().newNat(
        Uint32Array.of(
          prefix,
          Number(shared),
          ports[4],
          ports[6],
          maxPending,
          maxConnections,
          decisionTimeout,
          idleTimeout,
        ),
      ),
      'newNat',
    );
  }

  /**
   * Lets native code carry what the devices read, as long as it is TCP alone: from the client's to the stack's, and `back`.
   * The loop over `batches()` gets what else there is, and each batch that it has something to do for.
   */
  carry(client: TunDevice, stack: TunDevice): void {
    this.#carry(client, stack, false);
    if (stack !== client) this.#carry(stack, client, true);
  }

  #carry(from: TunDevice, to: TunDevice | null, back: boolean): void {
    const words = back ? this.#wordsBack : this.#words;
    const { memory: toClient } = this.toClient;
    const other = to && descriptorOf(to);
    native().natCarry(this.handle, descriptorOf(from), other, back, toClient, this.toStack.memory, words);
  }

  /** Undoes {@link carry}. */
  carryNoMore(client: TunDevice, stack: TunDevice): void {
    for (const device of [client, stack]) if (device.fd >= 0) this.#carry(device, null, false);
  }

  /**
   * Whether native code has translated the batch that was read last and written it to `to`, but the kernel did not take all;
   * what it refused is counted then.
   */
  takeWritten(batch: PacketBatch, to: TunDevice, back: boolean): boolean {
    const words = back ? this.#wordsBack : this.#words;
    if (words[0] === 0) return false;
    words[0] = 0;
    batch.setOutcome(words[1], words[2] | 0);
    this.#takeEvents();
    if (to.fd >= 0) to.settleBatch(batch, 0, batch.transferred);
    return true;
  }

  /**
   * Translates the client's packets for the stack. Those of {@link RUN_KINDS} are left as they are, in runs: use and drop
   * them. All others are dropped.
   */
  translate(batch: PacketBatch, runs: PacketRuns): void {
    const result = check<number>(
      native().natTranslate(
        this.handle,
        batch.memory,
        rowsOf(runs),
        this.toClient.memory,
        this.toStack.memory,
      ),
      'translate',
    );
    setLength(runs, result % HAS_EVENTS);
    if (result >= HAS_EVENTS) this.#takeEvents();
  }

  /** Translates the stack's packets for the client. */
  translateBack(batch: PacketBatch): void {
    const hasEvents = check<number>(
      native().natTranslateBack(this.handle, batch.memory, this.toClient.memory, this.toStack.memory),
      'translate',
    );
    if (hasEvents) this.#takeEvents();
  }

  /** Ends what is too old; call it now and then. Returns whether something is left, for which there was no room. */
  expire(): boolean {
    const result = check<number>(
      native().natExpire(this.handle, this.toClient.memory, this.toStack.memory),
      'expire',
    );
    if (result >= HAS_EVENTS) this.#takeEvents();
    return result % HAS_EVENTS !== 0;
  }

  /** Ends connections with RST; returns whether some are left, for which there was no room. */
  abortAll(): boolean {
    return Boolean(
      check<number>(native().natAbortAll(this.handle, this.toClient.memory, this.toStack.memory), 'abort'),
    );
  }

  /** Whether there is room for the packets of a decision. */
  get hasRoom(): boolean {
    return [this.toClient, this.toStack].every((to) => to.hasRoom && to.length + 2 <= to.capacity);
  }

  /** Decides about a connection; returns false if it has ended, or was decided about. */
  decide({ slot, generation }: SlotReference, decision: keyof typeof DECISIONS): boolean {
    const { toClient, toStack } = this;
    const id = DECISIONS[decision];
    return Boolean(
      check<number>(
        native().natDecide(this.handle, slot, generation, id, toClient.memory, toStack.memory),
        'decide',
      ),
    );
  }

  /** Accepts connections from a socket that listens in the stack; returns what ended that, a negative errno. */
  acceptAll(listener: Descriptor, use: (slot: SlotReference, fd: number) => void): number {
    for (;;) {
      const fd = native().acceptConnection(listener.fd(), this.handle, this.#pair);
      if (fd < 0) return fd;
      use({ slot: this.#pair[0], generation: this.#pair[1] }, fd);
    }
  }

  /** The bytes that the client sent and was sent, of a connection that has not ended. */
  totals({ slot, generation }: SlotReference): readonly [read: number, written: number] | undefined {
    if (native().natTotals(this.handle, slot, generation, this.#totals) !== 1) return undefined;
    return [this.#totals[0], this.#totals[1]];
  }

  /** Notes a connection of the interceptor itself, whose SYN is refused if it comes back; undefined if it can't. */
  addOwn(local: Endpoint, remote: Endpoint): SlotReference | undefined {
    if (native().natAddOwn(this.handle, local.entry, remote.entry, this.#pair) !== 1) return undefined;
    return { slot: this.#pair[0], generation: this.#pair[1] };
  }

  removeOwn({ slot, generation }: SlotReference): void {
    native().natRemoveOwn(this.handle, slot, generation);
  }

  /** Counts by name. */
  get counters(): Readonly<Record<(typeof COUNTERS)[number], number>> {
    return countsByName(COUNTERS, (counts) => native().natCounters(this.handle, counts));
  }

  #takeEvents(): void {
    for (;;) {
      const count = check<number>(native().natEvents(this.handle, this.#rows), 'events');
      for (let row = 0; row < count; row++) this.#report(row * ROW);
      if (count < EVENT_ROWS) return;
    }
  }

  #report(at: number): void {
    const view = this.#view;
    const word = (offset: number) => view.getUint32(at + offset, LITTLE_ENDIAN);
    const slot = { slot: word(0), generation: word(4) };
    const kind = word(8);
    if (kind === NEW) {
      const family = word(12) as 4 | 6;
      const end = (field: 'source' | 'destination', portAt: number): ConnectionEnd => {
        const offset = at + LAYOUT[`NatEvent.ends.${field}`];
        const address = (family === 4 ? formatIpv4 : formatIpv6)(this.#rows, offset);
        return { address, port: view.getUint16(at + portAt, LITTLE_ENDIAN), family };
      };
      this.#listener.begun(slot, end('source', 16), end('destination', 18));
    } else {
      const offset = at + LAYOUT['NatEvent.totals.client_bytes'];
      const read = view.getFloat64(offset, LITTLE_ENDIAN);
      const written = view.getFloat64(offset + 8, LITTLE_ENDIAN);
      this.#listener.ended(slot, ENDINGS[kind] as Ending, read, written);
    }
  }
}

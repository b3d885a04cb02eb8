import type { TunDevice } from '../device/tun-tap-device.js';
import { PacketBatch } from '../io/packet-batch.js';
import type { PacketRuns } from '../io/packet-runs.js';
import { DatagramPort, type DatagramPortOwner } from './datagram-port.js';
import { Datagrams, type DatagramsOptions } from './datagrams.js';
import { InterceptedEcho } from './echo.js';
import type { FakeNames } from './names.js';
import { RUN_KINDS } from './nat.js';

/** Packets that fragments can make in one turn: 64 of the largest size, and as many bytes as a batch brings. */
const WHOLES = { capacity: 4096, size: 64 * 65_545 + 2 ** 20 } as const;

/** What {@link OtherPackets} need of their interceptor. */
export interface OtherPacketsOwner extends DatagramPortOwner {
  /** Whether somebody listens for echo requests. */
  takesEchoes(): boolean;
  echo(echo: InterceptedEcho): void;
}

/** How {@link OtherPackets} are made. */
export interface OtherPacketsOptions extends Omit<DatagramsOptions, 'superPackets'> {
  readonly tun: TunDevice;
  readonly names: FakeNames | undefined;
}

/** What is done with a client's packets other than TCP. */
export class OtherPackets {
  readonly port: DatagramPort;
  readonly #datagrams: Datagrams;
  readonly #owner: OtherPacketsOwner;
  readonly #prefix: number;
  readonly #wholes = new PacketBatch(WHOLES);
  /** Echo requests. */
  echoes = 0;
  /** Other ICMP messages, and requests for which nobody listens. */
  icmp = 0;

  constructor({ tun, names, ...options }: OtherPacketsOptions, owner: OtherPacketsOwner) {
    const { uso4, uso6 } = tun.offloads;
    this.#datagrams = new Datagrams({ ...options, superPackets: uso4 && uso6 });
    this.port = new DatagramPort(this.#datagrams, names, owner);
    this.#prefix = options.prefix;
    this.#owner = owner;
  }

  /**
   * Handles the runs of a batch, and drops their packets.
   * @returns packets that were put together of fragments, to be handled as if the device had given them; clear it then
   */
  handle(batch: PacketBatch, runs: PacketRuns): PacketBatch {
    for (let run = 0; run < runs.length; run++) {
      const start = runs.start(run);
      const end = runs.end(run);
      const kind = runs.value(run);
      if (kind === RUN_KINDS.udp) this.port.handle(batch, start, end);
      else if (kind === RUN_KINDS.icmp) this.#answerAll(batch, start, end);
      // A packet that was put together is none itself.
      else if (batch === this.#wholes) for (let i = start; i < end; i++) batch.drop(i);
      else this.#datagrams.addFragments(batch, start, end, this.#wholes);
    }
    return this.#wholes;
  }

  get counters(): Datagrams['counters'] {
    return this.#datagrams.counters;
  }

  #answerAll(batch: PacketBatch, start: number, end: number): void {
    for (let i = start; i < end; i++) {
      const echo = this.#owner.takesEchoes()
        ? InterceptedEcho.of(batch.at(i).subarray(this.#prefix), this.#reply)
        : undefined;
      batch.drop(i);
      if (echo === undefined) {
        this.icmp++;
        continue;
      }
      this.echoes++;
      this.#owner.echo(echo);
    }
  }

  readonly #reply = (reply: Buffer): void => {
    if (this.port.closed) return;
    const { toClient } = this.#owner;
    const packet = Buffer.concat([Buffer.alloc(this.#prefix), reply]);
    if (!toClient.push(packet)) {
      this.#owner.send();
      toClient.push(packet);
    }
    this.#owner.flushLater();
  };
}

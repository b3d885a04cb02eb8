import { invalidArgType, requireInteger } from '../arguments.js';
import type { Endpoint } from '../endpoint.js';
import { PacketBatch } from '../io/packet-batch.js';
import { alreadyReading } from '../io/packet-channel.js';
import { DatagramTable } from '../socket/datagram-table.js';
import { interceptorClosed } from './connection-errors.js';
import { DatagramReader, newReceivedDatagrams } from './datagram-reader.js';
import type { DatagramRefusal, Datagrams } from './datagrams.js';
import { emitSafely } from './faults.js';
import { type FlowOwner, InterceptedFlow } from './flow.js';
import type { FakeNames } from './names.js';
import type { ConnectionEnd } from './nat.js';
import { OwnDatagrams } from './own-datagrams.js';

const DNS_PORT = 53;
const OUTGOING = 1024;

/** What a {@link DatagramPort} needs of its interceptor. */
export interface DatagramPortOwner {
  /** Returns false if nobody listens. */
  flow(flow: InterceptedFlow): boolean;
  /** Packets for the client, which {@link send} writes and clears. */
  readonly toClient: PacketBatch;
  send(): void;
  /** Flushes the port, and sends, before this turn of the event loop ends. */
  flushLater(): void;
}

/** Gives the datagrams of clients to a loop, or to the listeners of flows, and takes their answers. */
export class DatagramPort {
  readonly #datagrams: Datagrams;
  readonly #names: FakeNames | undefined;
  readonly #owner: DatagramPortOwner;
  readonly #flows: (InterceptedFlow | undefined)[] = [];
  /** Ids of flows that ended while their batch is given out. */
  readonly #forgotten = new Set<number>();
  readonly #received = newReceivedDatagrams();
  readonly #outgoing = new PacketBatch({ capacity: OUTGOING, size: 2 ** 20 });
  readonly #outgoingTable = new DatagramTable(OUTGOING);
  readonly #refused = new DatagramTable(1);
  #reader: DatagramReader | undefined;
  #closed = false;
  /** The sockets by which flows are passed on. */
  readonly own = new OwnDatagrams();
  /** Datagrams that were lost since the loop was busy. */
  lost = 0;
  /** Datagrams to fake addresses that no name has. */
  unknownNames = 0;

  constructor(datagrams: Datagrams, names: FakeNames | undefined, owner: DatagramPortOwner) {
    this.#datagrams = datagrams;
    this.#names = names;
    this.#owner = owner;
  }

  /** Datagrams of the batch that the loop has, by index. */
  get received(): DatagramTable {
    return (this.#reader?.given ?? this.#received).table;
  }

  /** Whether the interceptor is closed. */
  get closed(): boolean {
    return this.#closed;
  }

  batches(): AsyncIterableIterator<PacketBatch> {
    this.#requireOpen();
    if (this.#reader) throw alreadyReading('The interceptor', 'in batches');
    this.#reader = new DatagramReader(() => {
      this.#reader = undefined;
    });
    return this.#reader;
  }

  /** Takes the UDP packets of a run. */
  handle(batch: PacketBatch, start: number, end: number): void {
    const reader = this.#reader;
    if (reader) this.#give(reader, batch, start, end);
    else this.#emitAll(batch, start, end);
  }

  /** Sends payloads, each from the local address of its entry to the remote. Returns how many were taken. */
  writeBatch(payloads: PacketBatch, table: DatagramTable, start: number): number {
    if (!(payloads instanceof PacketBatch)) throw invalidArgType('batch', 'a PacketBatch', payloads);
    if (!(table instanceof DatagramTable)) throw invalidArgType('table', 'a DatagramTable', table);
    requireInteger('start', start, 0, payloads.length);
    this.#requireOpen();
    const before = this.#datagrams.sent;
    this.#build(payloads, table, start);
    this.#owner.send();
    return this.#datagrams.sent - before;
  }

  /** Makes packets of what flows have sent. */
  flush(): void {
    if (this.#outgoing.length === 0) return;
    this.#build(this.#outgoing, this.#outgoingTable, 0);
    this.#outgoing.clear();
  }

  expire(): void {
    this.#datagrams.expire(this.#ended);
  }

  close(): void {
    this.#closed = true;
    this.#reader?.finish();
    for (const flow of this.#flows) flow?.end();
    this.#flows.length = 0;
  }

  #requireOpen(): void {
    if (this.#closed) throw interceptorClosed();
  }

  #build(payloads: PacketBatch, table: DatagramTable, start: number): void {
    const { toClient } = this.#owner;
    for (let next = start; next < payloads.length; ) {
      next = this.#datagrams.build(payloads, next, table, toClient);
      if (next < payloads.length) this.#owner.send();
    }
  }

  #give(reader: DatagramReader, batch: PacketBatch, start: number, end: number): void {
    const { batch: payloads, table } = reader.filling;
    const first = payloads.length;
    const next = this.#datagrams.take(batch, start, end, payloads, table);
    for (let i = next; i < end; i++) {
      batch.drop(i);
      this.lost++;
    }
    if (this.#names) {
      for (let i = first; i < payloads.length; i++)
        if (this.#answerQuestion(payloads, table, i)) payloads.drop(i);
    }
    reader.deliver();
  }

  #emitAll(batch: PacketBatch, start: number, end: number): void {
    const { batch: payloads, table } = this.#received;
    for (let next = start; next < end; ) {
      payloads.clear();
      this.#forgotten.clear();
      next = this.#datagrams.take(batch, next, end, payloads, table);
      for (let i = 0; i < payloads.length; i++) {
        if (!this.#answerQuestion(payloads, table, i)) this.#emit(payloads, table, i);
      }
    }
  }

  /** Whether it was a question for a name, which is answered. */
  #answerQuestion(payloads: PacketBatch, table: DatagramTable, i: number): boolean {
    if (this.#names === undefined || table.localPort(i) !== DNS_PORT) return false;
    const answer = this.#names.answer(payloads.at(i));
    if (answer) this.#push(answer, (at) => this.#outgoingTable.copy(at, table, i));
    return true;
  }

  #emit(payloads: PacketBatch, table: DatagramTable, i: number): void {
    const known = this.#knownFlow(table, i);
    const source = known?.source ?? (table.remote(i) as Endpoint);
    const end = { address: table.localAddress(i) as string, port: table.localPort(i) };
    if (this.own.take(source, end)) {
      this.#refuse(table, i, 'host-unreachable');
      if (known === undefined) this.#forget(table.flow(i), table.flowId(i));
      return;
    }
    const flow = known ?? this.#newFlow(table, i, source as Endpoint);
    if (flow === undefined) {
      this.#refuse(table, i, 'port-unreachable');
      return;
    }
    const destination = this.named({ ...end, family: flow.source.family });
    if (destination === undefined) {
      this.#refuse(table, i, 'host-unreachable');
      return;
    }
    const bytes = Buffer.from(payloads.at(i));
    emitSafely(() => flow.emit('message', bytes, destination));
  }

  #knownFlow(table: DatagramTable, i: number): InterceptedFlow | undefined {
    const flow = this.#flows[table.flow(i)];
    return flow?.id === table.flowId(i) ? flow : undefined;
  }

  /** A new flow; undefined if nobody takes flows. */
  #newFlow(table: DatagramTable, i: number, source: Endpoint): InterceptedFlow | undefined {
    const slot = table.flow(i);
    const id = table.flowId(i);
    if (this.#forgotten.has(id)) return undefined;
    this.#ended(slot); // a newer flow took its place
    const flow = new InterceptedFlow(this.#flowOwner, slot, id, source);
    this.#flows[slot] = flow;
    if (this.#owner.flow(flow)) return flow;
    this.#flowOwner.forget(flow);
    return undefined;
  }

  /** The destination with the name that its address stands for; undefined for a fake address of no name. */
  named(destination: ConnectionEnd): ConnectionEnd | undefined {
    const names = this.#names;
    if (names === undefined) return destination;
    const name = names.nameOf(destination.address);
    if (name !== undefined) return { ...destination, name };
    if (!names.isFake(destination.address)) return destination;
    this.unknownNames++;
    return undefined;
  }

  #forget(slot: number, id: number): void {
    this.#datagrams.removeFlow(slot);
    this.#forgotten.add(id);
  }

  #refuse(table: DatagramTable, i: number, reason: DatagramRefusal): void {
    this.#datagrams.refuse(table, i, reason, this.#owner.toClient);
    this.#owner.flushLater();
  }

  /** @param fill fills in the entry */
  #push(bytes: Uint8Array, fill: (index: number) => void): void {
    if (!this.#outgoing.push(bytes)) {
      this.flush();
      this.#outgoing.push(bytes);
    }
    fill(this.#outgoing.length - 1);
    this.#owner.flushLater();
  }

  readonly #ended = (slot: number): void => {
    const flow = this.#flows[slot];
    this.#flows[slot] = undefined;
    flow?.end();
  };

  readonly #flowOwner: FlowOwner = {
    send: (bytes, from, to) =>
      this.#push(bytes, (at) => {
        this.#outgoingTable.setRemote(at, to);
        this.#outgoingTable.setLocal(at, from);
        this.#names?.nameOf(from.address);
      }),
    refuse: (source, destination, reason) => {
      this.#refused.setRemote(0, source);
      this.#refused.setLocal(0, destination);
      this.#refuse(this.#refused, 0, reason);
    },
    forget: (flow) => {
      if (this.#flows[flow.slot] !== flow) return;
      this.#forget(flow.slot, flow.id);
      this.#ended(flow.slot);
    },
    own: this.own,
  };
}

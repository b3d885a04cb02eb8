/**
 * Devices of the core on a virtual network with a virtual clock: what the rim does with sockets, batches and a timer,
 * in a few lines. Everything in it is determined by a seed.
 */

import { ReplayWindow } from 'tuntap-native/tunnel';
import type { Source } from '#dist/wireguard/cookie.js';
import { blake2s, open, seal } from '#dist/wireguard/crypto.js';
import { type Environment, LIMITS, type Limits } from '#dist/wireguard/environment.js';
import type { Keypair, Transport, TransportParameters } from '#dist/wireguard/keypair.js';
import { DATA_OVERHEAD, MessageType, messageType, readUInt32 } from '#dist/wireguard/messages.js';
import type { Action, Peer } from '#dist/wireguard/peer.js';
import { Protocol } from '#dist/wireguard/protocol.js';

const NOTHING = new Uint8Array(0);

/** Numbers from 0 to below 1, always the same ones for a seed (xorshift32). */
export function pseudoRandom(seed: number): () => number {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Seals and opens data messages one at a time. */
export class TestTransport implements Transport {
  counter = 0;
  disposed = false;
  readonly remoteIndex: number;
  readonly receivesUntil: number;
  readonly #sending: Buffer;
  readonly #receiving: Buffer;
  readonly #window = new ReplayWindow();

  constructor({ sending, receiving, remoteIndex, receivesUntil }: TransportParameters) {
    this.#sending = Buffer.from(sending);
    this.#receiving = Buffer.from(receiving);
    this.remoteIndex = remoteIndex;
    this.receivesUntil = receivesUntil;
  }

  seal(plaintext: Uint8Array): Buffer {
    const header = Buffer.alloc(16).fill(MessageType.data, 0, 1);
    header.writeUInt32LE(this.remoteIndex, 4);
    header.writeBigUInt64LE(BigInt(this.counter++), 8);
    return Buffer.concat([header, seal(this.#sending, nonce(header), plaintext, NOTHING)]);
  }

  /** @returns undefined for what is not authentic or was seen */
  open(message: Uint8Array): Buffer | undefined {
    const header = Buffer.from(message.subarray(0, 16));
    const plaintext = open(this.#receiving, nonce(header), message.subarray(16), NOTHING);
    return plaintext && this.#window.check(Number(header.readBigUInt64LE(8))) ? plaintext : undefined;
  }

  [Symbol.dispose](): void {
    this.disposed = true;
  }
}

function nonce(header: Buffer): Buffer {
  return Buffer.concat([Buffer.alloc(4), header.subarray(8, 16)]);
}

/** How a datagram fares: the delays in milliseconds after which it arrives, none if it is lost. */
export type Path = (datagram: Buffer, from: TestDevice, to: TestDevice) => readonly number[];

/** What a device of the tests has around it: a clock in milliseconds, one timer, a way for its datagrams. */
export interface Medium {
  readonly now: number;
  at(time: number, run: () => void): void;
  transmit(datagram: Buffer, from: TestDevice, to: Source): void;
}

/** A virtual clock and the datagrams under way. */
export class TestNetwork implements Medium {
  now = 0;
  path: Path = () => [10];
  readonly devices: TestDevice[] = [];
  readonly #events: { at: number; run: () => void }[] = [];

  at(at: number, run: () => void): void {
    let i = this.#events.length;
    while (i > 0 && this.#events[i - 1].at > at) i--;
    this.#events.splice(i, 0, { at, run });
  }

  after(delay: number, run: () => void): void {
    this.at(this.now + delay, run);
  }

  transmit(datagram: Buffer, from: TestDevice, to: Source): void {
    const device = this.devices.find(({ source }) => sameSource(source, to));
    if (!device) return;
    const source = from.source;
    for (const delay of this.path(datagram, from, device)) {
      this.after(delay, () => device.receive(Buffer.from(datagram), source));
    }
  }

  /** Lets time pass. */
  run(milliseconds: number): void {
    const end = this.now + milliseconds;
    while (this.#events.length > 0 && this.#events[0].at <= end) {
      const { at, run } = this.#events[0];
      this.#events.shift();
      this.now = Math.max(this.now, at);
      run();
    }
    this.now = end;
  }
}

/** One line of what happened at a device. */
export interface LogEntry {
  readonly at: number;
  readonly type: Action<TestTransport>['type'] | 'received' | 'wake';
  readonly reason?: string;
}

export interface DeviceOptions {
  readonly limits?: Partial<Limits>;
  /** How far the device's time of day is off, in milliseconds. */
  readonly clockOffset?: number;
  readonly seed?: number;
  readonly privateKey?: Buffer;
}

/** A device and its rim. */
export class TestDevice {
  readonly protocol: Protocol<TestTransport>;
  readonly network: Medium;
  readonly log: LogEntry[] = [];
  readonly sent: Buffer[] = [];
  /** The data that came, as text. */
  readonly received: string[] = [];
  readonly transports: TestTransport[] = [];
  readonly endpoints = new Map<Peer<TestTransport>, Source>();
  readonly staged = new Map<Peer<TestTransport>, Buffer[]>();
  source: Source;
  /** Handshake messages that the test pretends are waiting. */
  queued = 0;
  clockOffset: number;
  /** Takes the data that came. */
  onData = (packet: Buffer, _peer: Peer<TestTransport>): void => {
    this.received.push(packet.toString().replaceAll('\0', ''));
  };
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(network: Medium, address: number, options: DeviceOptions = {}) {
    const random = pseudoRandom(options.seed ?? address);
    const randomBytes = (size: number) => Buffer.from(Array.from({ length: size }, () => 256 * random()));
    const environment: Environment = {
      randomBytes,
      random,
      wallClock: () => 1_700_000_000_000 + network.now + this.clockOffset,
      limits: { ...LIMITS, ...options.limits },
    };
    this.network = network;
    this.source = { address: Buffer.of(192, 0, 2, address), port: 51820 };
    this.clockOffset = options.clockOffset ?? 0;
    this.protocol = new Protocol((parameters) => {
      const transport = new TestTransport(parameters);
      this.transports.push(transport);
      return transport;
    }, environment);
    this.protocol.setPrivateKey(options.privateKey ?? privateKeyFor(address));
    if (network instanceof TestNetwork) network.devices.push(this);
  }

  get publicKey(): Buffer {
    return this.protocol.publicKey as Buffer;
  }

  /** Makes another device a peer. */
  add(other: TestDevice, endpoint = true): Peer<TestTransport> {
    const peer = this.protocol.addPeer(other.publicKey);
    if (!peer) throw new Error('That is this device');
    if (endpoint) this.setEndpoint(peer, other.source);
    return peer;
  }

  setEndpoint(peer: Peer<TestTransport>, source: Source): void {
    this.endpoints.set(peer, source);
    peer.reachable = true;
  }

  /** Sends data, or stages it. */
  send(peer: Peer<TestTransport>, data: string | Buffer): void {
    const staged = this.staged.get(peer) ?? [];
    staged.push(Buffer.from(data));
    if (staged.length > LIMITS.stagedPackets) staged.shift();
    this.staged.set(peer, staged);
    this.#sendStaged(peer);
    this.settle();
  }

  /** Takes a datagram in, whatever it is. */
  receive(datagram: Buffer, source: Source): void {
    const type = messageType(datagram);
    const { now } = this.network;
    if (type === MessageType.data) this.#receiveData(datagram, source);
    else this.protocol.receiveHandshake(datagram, source, now, this.queued);
    this.settle();
  }

  /** Does what the core wants, and arms the timer. */
  settle(): void {
    for (
      let actions = this.protocol.takeActions();
      actions.length > 0;
      actions = this.protocol.takeActions()
    ) {
      for (const action of actions) this.#perform(action);
    }
    const deadline = this.protocol.nextDeadline;
    if (deadline >= this.#wakeAt) return;
    this.#wakeAt = deadline;
    this.network.at(deadline, () => {
      if (this.#wakeAt !== deadline) return;
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#note('wake');
      this.protocol.tick(this.network.now);
      this.settle();
    });
  }

  /** When something of a type happened, in milliseconds. */
  times(type: LogEntry['type']): number[] {
    return this.log.filter((entry) => entry.type === type).map(({ at }) => at);
  }

  /** How many messages of a type were sent. */
  count(type: MessageType): number {
    return this.sent.filter((datagram) => datagram[0] === type).length;
  }

  #receiveData(datagram: Buffer, source: Source): void {
    const { now } = this.network;
    const entry = this.protocol.find(readUInt32(datagram, 4));
    const keypair = entry?.keypair;
    if (!entry || !keypair?.mayReceive(now)) return;
    const plaintext = keypair.transport.open(datagram);
    if (!plaintext) return;
    this.endpoints.set(entry.peer, source);
    entry.peer.received(keypair, now, plaintext.length > 0, datagram.length);
    if (plaintext.length === 0) return;
    this.onData(plaintext, entry.peer);
    this.#note('received');
  }

  #perform(action: Action<TestTransport>): void {
    if (action.type === 'send') this.#note('send', action.message[0] === 1 ? 'initiation' : 'response');
    else this.#note(action.type, action.type === 'expired' ? action.reason : undefined);
    if (action.type === 'reply') this.#transmit(action.message, action.source);
    if (action.type === 'send') this.#transmit(action.message, this.endpoints.get(action.peer));
    if (action.type === 'endpoint') this.endpoints.set(action.peer, action.source);
    if (action.type === 'drop-staged') this.staged.delete(action.peer);
    if (action.type === 'send-staged') this.#sendStaged(action.peer);
    if (action.type === 'keepalive' && !this.#sendStaged(action.peer)) this.#sendKeepalive(action.peer);
  }

  /** @returns whether there was something */
  #sendStaged(peer: Peer<TestTransport>): boolean {
    const staged = this.staged.get(peer) ?? [];
    if (staged.length === 0) return false;
    const { now } = this.network;
    const keypair = peer.keypairToSend(now, staged.length);
    if (!keypair) return true;
    this.staged.delete(peer);
    let bytes = 0;
    for (const packet of staged) bytes += this.#sealAndSend(peer, keypair, packet);
    peer.dataSent(now, bytes);
    return true;
  }

  #sendKeepalive(peer: Peer<TestTransport>): void {
    const { now } = this.network;
    const keypair = peer.keypairToSend(now);
    if (!keypair) return;
    this.#sealAndSend(peer, keypair, Buffer.alloc(0));
    peer.keepaliveSent(now, DATA_OVERHEAD);
  }

  #sealAndSend(peer: Peer<TestTransport>, keypair: Keypair<TestTransport>, packet: Buffer): number {
    if (this.network.now >= keypair.transport.receivesUntil) throw new Error('A keypair sends too late');
    const padded = Buffer.alloc(Math.min(Math.ceil(packet.length / 16) * 16, 1420));
    padded.set(packet);
    const datagram = keypair.transport.seal(padded);
    this.#transmit(datagram, this.endpoints.get(peer));
    return datagram.length;
  }

  #transmit(datagram: Buffer, to: Source | undefined): void {
    this.sent.push(datagram);
    if (to) this.network.transmit(datagram, this, to);
  }

  #note(type: LogEntry['type'], reason?: string): void {
    this.log.push({ at: this.network.now, type, reason });
  }
}

export function sameSource(one: Source, other: Source): boolean {
  return one.port === other.port && Buffer.from(one.address).equals(Buffer.from(other.address));
}

/** A private key that is always the same for a number. */
export function privateKeyFor(number: number): Buffer {
  const key = Buffer.alloc(32);
  blake2s(key, NOTHING, Buffer.from(`private key ${number}`));
  return key;
}

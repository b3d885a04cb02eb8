/** What the addon has for TypeScript. */

import { dirname, join } from 'node:path';
import type { DatagramCalls } from './datagram-calls.js';
import type { Descriptor } from './descriptor.js';
import type { InterceptCalls } from './intercept-calls.js';
import type { Layout } from './layout.js';
import { loadAddon } from './load.js';

export interface Interface {
  readonly name: string;
  readonly flags: number;
}

export interface Native extends InterceptCalls, DatagramCalls {
  readonly path: string;
  readonly layout?: Layout;
  /** What watches fds: libuv's poll, or a thread of the addon's own. */
  readonly engine: 'uv' | 'thread';
  /** Negative errnos that say that the device itself is gone. */
  readonly fatalErrors: readonly number[];
  openIn(namespace: number, path: string, flags: number): Descriptor | number;
  isNetworkNamespace(fd: number): number;
  openSysfsIn(namespace: number): Descriptor | number;
  openCharacterDevice(major: number, minor: number): Descriptor | number;
  /** Whether it belongs to another user namespace than the process's. */
  isRootless(fd: number): number;
  newNetworkNamespace(rootless: boolean): Promise<Descriptor | number>;
  openNetlinkRoute(namespace: number, groups: Uint32Array, receiveBuffer: number): Descriptor | number;
  sendNetlink(fd: number, bytes: Uint8Array): number;
  receiveNetlink(fd: number, timeoutMs: number): Buffer[] | number;
  /** Sends `bytes`, unless they are empty, and receives, on libuv's pool. */
  exchangeNetlink(fd: number, bytes: Uint8Array, timeoutMs: number): Promise<Buffer[] | number>;
  shareMounts(directory: string): number;
  bindNamespace(namespace: number, path: string): number;
  unbindNamespace(path: string): Promise<number>;
  setInterface(descriptor: Descriptor, name: string, flags: number): Interface | number;
  getInterface(fd: number): Interface | number;
  setPersist(fd: number, persist: boolean): number;
  setOwner(fd: number, uid: number): number;
  setGroup(fd: number, gid: number): number;
  setSendBuffer(fd: number, bytes: number): number;
  setCarrier(fd: number, on: boolean): number;
  setOffload(fd: number, features: number): number;
  getVirtioHeaderSize(fd: number): number;
  setVirtioHeaderSize(fd: number, bytes: number): number;
  /** `header`: the size of the virtio_net_hdr before each packet. */
  useOffloads(descriptor: Descriptor, ethernet: boolean, tcp: boolean, udp: boolean, header: number): number;
  /** The offloads that are on at a link in the namespace of a socket, bits of TUN_F_*. */
  getOffload(socket: number, name: string): number;
  /** How many queues the device has, other programs' included. */
  countQueues(fd: number): number;
  /** A Descriptor that owns the fd once `watch` succeeded, and until then leaves it as it was. */
  adopt(fd: number): Descriptor | number;
  attachFilter(fd: number, program: Uint8Array): number;
  detachFilter(fd: number): number;
  setTxFilter(fd: number, addresses: Uint8Array, allMulticast: boolean): number;
  deviceNamespace(fd: number): Descriptor | number;
  /** Properties of the link of that name in the namespace of a socket: the MTU, IFF_* flags, and 1 if it has a carrier. */
  getLinkMtu(socket: number, name: string): number;
  getLinkFlags(socket: number, name: string): number;
  getLinkCarrier(socket: number, name: string): number;
  writePackets(descriptor: Descriptor, memory: ArrayBufferLike, start: number): number;
  writePacket(descriptor: Descriptor, packet: Uint8Array): number;
  readonly socketConstants: Readonly<Record<string, number>>;
  /** A socket that does not block. A promise, on libuv's pool, once a child process had to enter a namespace. */
  openSocket(
    namespace: number,
    family: number,
    type: number,
  ): Descriptor | number | Promise<Descriptor | number>;
  /** Another fd of the same file, for a runtime that takes it over; `closeFd` closes it if that fails. */
  duplicate(fd: number): number;
  closeFd(fd: number): number;
  openUdpSocket(namespace: number, family: number): Descriptor | number;
  setSocketNumber(fd: number, level: number, name: number, value: number): number;
  setSocketText(fd: number, level: number, name: number, value: string): number;
  getSocketOption(fd: number, level: number, name: number): number;
  bindSocket(fd: number, family: number, address: Uint8Array): number;
  connectSocket(fd: number, family: number, address: Uint8Array): number;
  socketAddress(fd: number, address: Uint8Array): number;
  peerAddress(fd: number, address: Uint8Array): number;
  attachUdp(descriptor: Descriptor, family: number, memory: ArrayBuffer, maxSize: number): number;
  writeDatagrams(
    descriptor: Descriptor,
    memory: ArrayBufferLike,
    start: number,
    entries: Uint8Array | null,
    runs: Uint32Array | null,
    runCount: number,
  ): number;
  sendDatagram(descriptor: Descriptor, datagram: Uint8Array, entry: Uint8Array | null): number;
  newAead(cipher: number, key: Uint8Array, layout: Uint32Array, threads: number): AeadHandle | number;
  /** 0 for OpenSSL, 1 for the bundled ciphers. */
  aeadSource(aead: AeadHandle): number;
  /** The bundled ciphers that this processor can run, by its instructions, the fastest first. */
  cipherLevels(): readonly string[];
  disposeAead(aead: AeadHandle): void;
  sealPackets(
    aead: AeadHandle,
    memory: ArrayBufferLike,
    start: number,
    end: number,
    header: Uint8Array,
    counter: number,
    multiple: number,
    limit: number,
  ): number;
  /** Fills `out`, up to 256 bytes. Like the twelve that follow, it returns 0 or -errno. */
  randomBytes(out: Uint8Array): number;
  /** BLAKE2s of all parts, keyed unless the key is empty. */
  blake2s(out: Uint8Array, key: Uint8Array, ...parts: readonly Uint8Array[]): number;
  deriveKeys(salt: Uint8Array, input: Uint8Array, ...outputs: readonly Uint8Array[]): number;
  x25519PublicKey(out: Uint8Array, privateKey: Uint8Array): number;
  x25519(out: Uint8Array, privateKey: Uint8Array, publicKey: Uint8Array): number;
  sealMessage(
    out: Uint8Array,
    key: Uint8Array,
    nonce: Uint8Array,
    message: Uint8Array,
    associatedData: Uint8Array,
  ): number;
  openMessage(
    out: Uint8Array,
    key: Uint8Array,
    nonce: Uint8Array,
    sealed: Uint8Array,
    associatedData: Uint8Array,
  ): number;
  /** Noise's SymmetricState has 96 bytes: chaining key, hash, key. The key encrypts or decrypts once. */
  mixHash(state: Uint8Array, data: Uint8Array): number;
  mixKey(state: Uint8Array, input: Uint8Array): number;
  mixKeyAndHash(state: Uint8Array, input: Uint8Array): number;
  mixSharedSecret(state: Uint8Array, privateKey: Uint8Array, publicKey: Uint8Array): number;
  encryptAndHash(state: Uint8Array, plaintext: Uint8Array, out: Uint8Array): number;
  decryptAndHash(state: Uint8Array, ciphertext: Uint8Array, out: Uint8Array): number;
  bootTime(): number;
  newPrefixTable(): PrefixTableHandle;
  setPrefix(table: PrefixTableHandle, address: Uint8Array, length: number, value: number): number;
  removePrefix(table: PrefixTableHandle, address: Uint8Array, length: number): number;
  lookupPrefix(table: PrefixTableHandle, address: Uint8Array): number;
  runsByDestination(
    table: PrefixTableHandle,
    memory: ArrayBufferLike,
    start: number,
    end: number,
    runs: Uint32Array,
  ): number;
  newSessionTable(
    cipher: number,
    layout: Uint32Array,
    indexOffset: number,
    type: number,
    counterLimit: number,
  ): SessionTableHandle | number;
  setSession(table: SessionTableHandle, index: number, key: Uint8Array, value: number, until: number): number;
  removeSession(table: SessionTableHandle, index: number): number;
  clearSessions(table: SessionTableHandle): void;
  openSessions(
    table: SessionTableHandle,
    memory: ArrayBufferLike,
    start: number,
    end: number,
    runs: Uint32Array,
    sources: PrefixTableHandle | null,
    datagrams: Uint8Array | null,
  ): number;
  newShortcut(
    prefixes: PrefixTableHandle,
    sessions: SessionTableHandle,
    sentRuns: Uint32Array,
    receivedRuns: Uint32Array,
    routes: Uint8Array,
    state: Uint32Array,
    books: Float64Array,
    timer: Descriptor,
  ): ShortcutHandle;
  /** Is readable once the Shortcut that it is given to has kept books for a while. */
  openTimer(): Descriptor | number;
  setShortcutSender(
    shortcut: ShortcutHandle,
    peer: number,
    aead: AeadHandle,
    header: Uint8Array,
    counter: Float64Array,
    counterLimit: number,
    until: number,
    route: Uint8Array,
    session: number,
  ): number;
  removeShortcutSender(shortcut: ShortcutHandle, peer: number): number;
  shortcutToSocket(shortcut: ShortcutHandle, device: Descriptor, socket: Descriptor | null): number;
  shortcutToDevice(
    shortcut: ShortcutHandle,
    socket: Descriptor,
    device: Descriptor,
    received: Uint8Array,
  ): number;
  openPackets(aead: AeadHandle, memory: ArrayBufferLike, start: number, end: number): number;
  /** Threads that seal and send: src-cpp/tunnel/sealing_pool.h. What can fail returns -errno. */
  newSealingPool(
    threads: number,
    few: number,
    memories: readonly ArrayBufferLike[],
  ): SealingPoolHandle | number;
  stopSealingPool(pool: SealingPoolHandle): void;
  useSealingSocket(pool: SealingPoolHandle, fd: number, family: number, gso: boolean): number;
  waitForSealing(pool: SealingPoolHandle): number;
  isSealingIdle(pool: SealingPoolHandle): number;
  sealLater(
    pool: SealingPoolHandle,
    aead: AeadHandle,
    start: number,
    end: number,
    header: Uint8Array,
    counter: number,
    multiple: number,
    limit: number,
  ): number;
  sendLater(pool: SealingPoolHandle, runs: Uint32Array, runCount: number, entries: Uint8Array): number;
  /** Closes a connection's fd with RST. */
  resetFd(fd: number): void;
  /** An fd of the process's namespace that does not block. */
  openStreamSocket(family: number): number;
  /** A thread that relays between sockets; see src-cpp/node/relay_calls.cc. */
  newRelays(
    onEvent: (
      id: number,
      hasEnded: number,
      error: number,
      reply: number,
      fromFirst: number,
      fromSecond: number,
    ) => void,
  ): RelaysHandle | number;
  /** The sockets are the relay's from then on, also after an error. */
  startRelay(
    relays: RelaysHandle,
    id: number,
    first: number,
    second: number,
    toFirst: Uint8Array | null,
    toSecond: Uint8Array | null,
  ): number;
  /** The same of the second socket, which is connecting. */
  dialRelay(
    relays: RelaysHandle,
    id: number,
    second: number,
    protocol: number,
    greeting: Uint8Array,
    password: Uint8Array,
    request: Uint8Array,
  ): number;
  joinRelay(relays: RelaysHandle, id: number, first: number): number;
  abortRelay(relays: RelaysHandle, id: number): number;
  relayBytes(relays: RelaysHandle, id: number, side: 0 | 1): number;
}

declare const handle: unique symbol;
interface Handle<Kind extends string> {
  readonly [handle]: Kind;
}
export type AeadHandle = Handle<'aead'>;
export type PrefixTableHandle = Handle<'prefixes'>;
export type SealingPoolHandle = Handle<'pool'>;
export type RelaysHandle = Handle<'relays'>;
export type SessionTableHandle = Handle<'sessions'>;
export type ShortcutHandle = Handle<'shortcut'>;

let loaded: Native | undefined;

/** The addon. It is loaded at the first call; throws what {@link loadAddon} throws. */
export function native(): Native {
  loaded ??= loadAddon() as Native;
  return loaded;
}

/** The program that {@link NetworkNamespace.spawn} starts; it stands beside the addon. */
export function namespaceExecPath(): string {
  return join(dirname(native().path), 'namespace_exec');
}

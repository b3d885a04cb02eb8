/** Relays between two sockets, by a native thread: no byte passes through JavaScript. */

import type { Socket } from 'node:net';
import { invalidArgValue } from '../arguments.js';
import { native, type RelaysHandle } from '../native/addon.js';
import { descriptorOf } from '../net/namespace/sockets.js';
import { check } from '../system-error.js';
import type { ProxyMessages } from './proxy.js';

/** A socket for a relay: its fd, and what was read from it before. Whoever has it must relay or close it. */
export interface RelaySocket {
  readonly fd: number;
  readonly received: Uint8Array | null;
}

/** How a relay ended: 0 after both directions, or the negative errno of a socket. */
export interface RelayEnd {
  readonly error: number;
  /** Why a proxy refused: see {@link refusedByProxy}; or 0. */
  readonly reply: number;
  /** Bytes of the first socket that the second one took, and of the second that the first took. */
  readonly bytes: readonly [fromFirst: number, fromSecond: number];
}

/** Two sockets whose bytes a thread passes on. */
export class Relay {
  /** Resolves once the relay is connected: to nothing, or to its end if that can't be. */
  readonly connected: Promise<RelayEnd | undefined>;
  /** Resolves once both sockets are closed. */
  readonly ended: Promise<RelayEnd>;
  readonly #id = nextId();
  readonly #thread = relayThread();
  #end: RelayEnd | undefined;

  private constructor(start: (thread: RelaysHandle, id: number) => number) {
    check(start(this.#thread, this.#id), 'relay');
    let connected: (end: RelayEnd | undefined) => void;
    this.connected = new Promise((resolve) => {
      connected = resolve;
    });
    this.ended = new Promise((resolve) => {
      listeners.set(this.#id, (end) => {
        this.#end = end;
        connected(end);
        if (end) resolve(end);
      });
    });
  }

  /** Takes both sockets over, also if it throws. */
  static between(first: RelaySocket, second: RelaySocket): Relay {
    return new Relay((thread, id) =>
      native().startRelay(thread, id, first.fd, second.fd, second.received, first.received),
    );
  }

  /** A relay whose second socket is connecting; {@link join} gives it the first one. Takes that socket over. */
  static dial(second: number, protocol: number, messages: ProxyMessages): Relay {
    const { greeting, password, request } = messages;
    return new Relay((thread, id) =>
      native().dialRelay(thread, id, second, protocol, greeting, password, request),
    );
  }

  /** Gives a connected relay its first socket, which is reset if the relay has ended. */
  join(first: number): void {
    native().joinRelay(this.#thread, this.#id, first);
  }

  /** The bytes of the first (0) or second (1) socket that the other one has taken so far. */
  bytes(side: 0 | 1): number {
    return this.#end?.bytes[side] ?? native().relayBytes(this.#thread, this.#id, side);
  }

  /** Resets both connections; `ended` has ECANCELED. */
  abort(): void {
    native().abortRelay(this.#thread, this.#id);
  }
}

/** By id: is told that a relay is connected, and how it ended. */
const listeners = new Map<number, (end: RelayEnd | undefined) => void>();
let relays: RelaysHandle | undefined;
let lastId = 0;

function relayThread(): RelaysHandle {
  relays ??= check<RelaysHandle>(
    native().newRelays((id, hasEnded, error, reply, fromFirst, fromSecond) => {
      const listener = listeners.get(id);
      if (hasEnded) listeners.delete(id);
      listener?.(hasEnded ? { error, reply, bytes: [fromFirst, fromSecond] } : undefined);
    }),
    'epoll_create1',
  );
  return relays;
}

function nextId(): number {
  do lastId = (lastId + 1) >>> 0;
  while (listeners.has(lastId));
  return lastId;
}

/** Whether the fd of a socket is known, so that {@link takeSocket} can take it over. */
export function canTake(socket: unknown): socket is Socket {
  return descriptorOf(socket as Socket) !== undefined;
}

function written(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(new Uint8Array(0), (error) => (error ? reject(error) : resolve()));
  });
}

/**
 * Takes a socket over from Node.js: waits until what was written has left, keeps what was received, and destroys the
 * object, whose fd lives on.
 */
export async function takeSocket(socket: Socket): Promise<RelaySocket> {
  socket.removeAllListeners('data').pause();
  if (socket.writableLength > 0) await written(socket);
  const fd = descriptorOf(socket);
  if (fd === undefined || socket.destroyed || socket.writableEnded) {
    throw invalidArgValue('stream', socket, 'must be open in both directions');
  }
  const { readableEncoding } = socket;
  const chunks: Buffer[] = [];
  for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) {
    chunks.push(typeof chunk === 'string' ? Buffer.from(chunk, readableEncoding ?? undefined) : chunk);
  }
  const copy = check(native().duplicate(fd), 'fcntl F_DUPFD_CLOEXEC');
  socket.destroy();
  return { fd: copy, received: chunks.length > 0 ? Buffer.concat(chunks) : null };
}

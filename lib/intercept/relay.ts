/** Relays between two sockets, by a native thread: no byte passes through JavaScript. */

import type { Socket } from 'node:net';
import { invalidArgValue } from '../arguments.js';
import { native, type RelaysHandle } from '../native/addon.js';
import { descriptorOf } from '../net/namespace/sockets.js';
import { check } from '../system-error.js';

/** A socket for a relay: its fd, and what was read from it before. Whoever has it must relay or close it. */
export interface RelaySocket {
  readonly fd: number;
  readonly received: Uint8Array | null;
}

/** How a relay ended: 0 after both directions, or the negative errno of a socket. */
export interface RelayEnd {
  readonly error: number;
  /** Bytes of the first socket that the second one took, and of the second that the first took. */
  readonly bytes: readonly [fromFirst: number, fromSecond: number];
}

/** Two sockets whose bytes a thread passes on. */
export class Relay {
  /** Resolves once both sockets are closed. */
  readonly ended: Promise<RelayEnd>;
  readonly #id: number;
  #end: RelayEnd | undefined;

  /** Takes both sockets over, also if it throws. */
  constructor(first: RelaySocket, second: RelaySocket) {
    const thread = relayThread();
    this.#id = nextId();
    check(
      native().startRelay(thread, this.#id, first.fd, second.fd, second.received, first.received),
      'relay',
    );
    this.ended = new Promise((resolve) => {
      listeners.set(this.#id, (end) => {
        this.#end = end;
        resolve(end);
      });
    });
  }

  /** The bytes of the first (0) or second (1) socket that the other one has taken so far. */
  bytes(side: 0 | 1): number {
    return this.#end?.bytes[side] ?? native().relayBytes(relayThread(), this.#id, side);
  }

  /** Resets both connections; `ended` has ECANCELED. */
  abort(): void {
    native().abortRelay(relayThread(), this.#id);
  }
}

const listeners = new Map<number, (end: RelayEnd) => void>();
let thread: RelaysHandle | undefined;
let lastId = 0;

function relayThread(): RelaysHandle {
  thread ??= check<RelaysHandle>(
    native().newRelays((id, error, fromFirst, fromSecond) => {
      const listener = listeners.get(id);
      listeners.delete(id);
      listener?.({ error, bytes: [fromFirst, fromSecond] });
    }),
    'epoll_create1',
  );
  return thread;
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
    throw invalidArgValue('socket', socket, 'must be open in both directions');
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

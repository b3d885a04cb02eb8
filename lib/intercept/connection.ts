import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { invalidArgValue, unsupported } from '../arguments.js';
import { native } from '../native/addon.js';
import { adoptStream } from '../net/namespace/sockets.js';
import { aborted, decidedBefore, timedOut } from './connection-errors.js';
import { emitSafely } from './faults.js';
import type { ConnectionEnd, Ending, SlotReference } from './nat.js';
import type { OwnConnections } from './own-connections.js';
import {
  type RelayOptions,
  type RelayOutcome,
  type RelayToOptions,
  relayBetween,
  relayTo,
} from './relaying.js';

/** How a connection can be refused. */
export type Refusal = 'reset' | 'port-unreachable' | 'host-unreachable' | 'prohibited' | 'drop';

const REFUSALS: readonly Refusal[] = ['reset', 'port-unreachable', 'host-unreachable', 'prohibited', 'drop'];

/** What the client of a refused connection is to see, by the error of the connection that was to replace it. */
const REFUSAL_OF: Readonly<Record<string, Refusal>> = {
  ETIMEDOUT: 'drop',
  EHOSTUNREACH: 'host-unreachable',
  ENETUNREACH: 'host-unreachable',
  EHOSTDOWN: 'host-unreachable',
  ENETDOWN: 'host-unreachable',
  ENOTFOUND: 'host-unreachable',
  EACCES: 'prohibited',
  EPERM: 'prohibited',
};

/**
 * `'pending'`: nobody has decided. `'accepting'`: the handshake is under way. `'open'`: it has ended. `'refused'`,
 * `'closed'`: the connection is over.
 */
export type ConnectionState = 'pending' | 'accepting' | 'open' | 'refused' | 'closed';

/** The events of an {@link InterceptedConnection}. */
export interface ConnectionEvents {
  /** The client gave up before the connection was open, or nobody decided in time. */
  abort: [error: NodeJS.ErrnoException];
  /** The connection is over; always the last event. */
  close: [];
}

/** What a connection needs of its interceptor. */
export interface ConnectionOwner {
  /** The interceptor's own connections. */
  own(): OwnConnections;
  /** Returns false if the connection has ended meanwhile. */
  decide(slot: SlotReference, decision: Refusal | 'accept' | 'abort'): boolean;
  totals(slot: SlotReference): readonly [read: number, written: number] | undefined;
  /** The connection was refused or reset: no event of its slot is for it any more. */
  forget(connection: InterceptedConnection): void;
}

interface Waiting {
  /** Takes over the fd, or closes it. */
  readonly use: (fd: number) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A TCP connection that a client of the intercepted device asked for. Its SYN is not answered yet: until you
 * {@link accept} or {@link refuse}, the client waits.
 */
export class InterceptedConnection extends EventEmitter<ConnectionEvents> {
  /** Who connects. */
  readonly source: ConnectionEnd;
  /** Where to. */
  readonly destination: ConnectionEnd;
  /** @internal */
  readonly slot: SlotReference;
  readonly #owner: ConnectionOwner;
  #state: ConnectionState = 'pending';
  #ending: Ending | undefined;
  /** Whether the program has decided. */
  #decided = false;
  #waiting: Waiting | undefined;
  #totals: readonly [read: number, written: number] = [0, 0];

  /** @internal */
  constructor(
    owner: ConnectionOwner,
    slot: SlotReference,
    source: ConnectionEnd,
    destination: ConnectionEnd,
  ) {
    super();
    this.#owner = owner;
    this.slot = slot;
    this.source = source;
    this.destination = destination;
  }

  /** How far the connection has come. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** How the connection ended, once it has. @internal */
  get ending(): Ending | undefined {
    return this.#ending;
  }

  /** Bytes of data that the client sent and that were acknowledged so far. */
  get bytesRead(): number {
    return this.#currentTotals[0];
  }

  /** Bytes of data that the client was sent so far. */
  get bytesWritten(): number {
    return this.#currentTotals[1];
  }

  /**
   * Answers the client and waits for the end of its handshake.
   * @returns a connected socket, as that of a server; its `remoteAddress` is one of the interceptor's own: see
   * {@link source}
   * @throws ECONNABORTED if the client gave up, or {@link destroy} ended the connection meanwhile; ETIMEDOUT if nobody
   * decided in time, or the client's handshake never ended; Error `ERR_TUNTAP_DECIDED` after another decision of yours,
   * whatever became of the connection; Error `ERR_TUNTAP_UNSUPPORTED` in Bun
   */
  async accept(): Promise<Socket> {
    if (process.versions.bun) throw unsupported('Bun has no accept()', 'it adopts no connected sockets');
    return this.acceptFd((fd) => adoptStream(fd));
  }

  /**
   * {@link accept} for who takes over the fd itself. If `use` throws, the fd is closed and the client reset.
   * @internal
   */
  acceptFd<T>(use: (fd: number) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#requireUndecided();
      if (!this.#owner.decide(this.slot, 'accept')) throw aborted();
      this.#decided = true;
      this.#state = 'accepting';
      this.#waiting = {
        use: (fd) => {
          try {
            resolve(use(fd));
          } catch (error) {
            native().closeFd(fd);
            reject(error);
          }
        },
        reject,
      };
    });
  }

  /**
   * Answers the client, and passes on what it sends to the other stream, and back, with the ends of both directions and
   * with resets. A thread does that for sockets of `interceptor.connect()`, `namespace.connect()` and {@link accept},
   * which are taken over: their objects are destroyed, and what they had received comes first. Any other stream is piped.
   * @param stream open for writing; it is destroyed if this throws
   * @returns when both are closed: the error of the one that was reset, or undefined. That is no failure: the reset
   * was passed on
   * @throws the stream's error, or EPIPE, if it has ended before; what {@link accept} throws; AbortError; TypeError
   * `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`
   * @example
   * ```ts
   * const { address, port } = connection.destination;
   * try {
   *   await connection.relay(await namespace.connect({ host: address, port }));
   * } catch (error) {
   *   if (connection.state === 'pending') connection.refuse(error);
   * }
   * ```
   */
  async relay(stream: Duplex, options: RelayOptions = {}): Promise<RelayOutcome> {
    return relayBetween(this, stream, options);
  }

  /**
   * Connects to where the client wants, or to another host, directly or through a proxy; then answers the client, and
   * relays as {@link relay} does. All of it is a thread's work. The sockets are of this process's namespace.
   * @returns as {@link relay}
   * @throws ECONNREFUSED, EHOSTUNREACH and the like if it can't connect, as `net.connect` or the proxy reports it: give the
   * error to {@link refuse}; EACCES if the client's destination is this machine's loopback and `host` is no other name or address,
   * or the proxy refuses the password or the destination; EPROTO, ENOTSUP, EAFNOSUPPORT if the proxy can't do it;
   * what {@link accept} throws; AbortError; TypeError or RangeError with an `ERR_…` code for bad options
   * @example
   * ```ts
   * interceptor.on('connection', (connection) => {
   *   connection.relayTo({ via: 'socks5://127.0.0.1:1080' }).catch((error) => connection.refuse(error));
   * });
   * ```
   */
  async relayTo(options: RelayToOptions = {}): Promise<RelayOutcome> {
    this.#requireUndecided();
    return relayTo(this, this.#owner.own(), options);
  }

  /**
   * Refuses the connection. `'reset'` and `'port-unreachable'` make connect(2) of the client fail with ECONNREFUSED,
   * `'host-unreachable'` with EHOSTUNREACH, `'prohibited'` with EHOSTUNREACH over IPv4 and EACCES over IPv6. `'drop'`
   * lets the client wait until it gives up. An error stands for what its `code` says: ETIMEDOUT for `'drop'`,
   * EHOSTUNREACH, ENETUNREACH and ENOTFOUND for `'host-unreachable'`, EACCES and EPERM for `'prohibited'`, all others for
   * `'reset'`. If the connection is over or was refused, nothing happens.
   * @throws Error `ERR_TUNTAP_DECIDED` after another decision; TypeError `ERR_INVALID_ARG_VALUE`; the error itself, after the
   * refusal, if it is one of Node.js's for wrong arguments (`ERR_INVALID_…`, `ERR_OUT_OF_RANGE`)
   */
  refuse(reason: Refusal | Error = 'reset'): void {
    const refusal = refusalOf(reason);
    if (this.#state === 'closed' || this.#state === 'refused') return;
    this.#requireUndecided();
    this.#owner.decide(this.slot, refusal);
    this.#decided = true;
    this.#state = 'refused';
    this.#owner.forget(this);
    emitSafely(() => this.emit('close'));
    if (reason instanceof Error && isMistake(reason)) throw reason;
  }

  /**
   * Ends the connection at once: refuses it if nobody has decided, else resets both ends. That is your decision, so
   * {@link accept} throws `ERR_TUNTAP_DECIDED` from then on. A connection that is over stays as it is.
   */
  destroy(): void {
    if (this.#state === 'pending') this.refuse();
    if (this.#state === 'closed' || this.#state === 'refused') return;
    const totals = this.#currentTotals;
    this.#owner.decide(this.slot, 'abort');
    this.#owner.forget(this);
    this.#close('reset', totals, aborted('the program has ended the connection'));
    emitSafely(() => this.emit('close'));
  }

  /** The handshake has ended. @internal */
  arrived(fd: number): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) {
      native().closeFd(fd);
      return;
    }
    this.#state = 'open';
    waiting.use(fd);
  }

  /** The connection is over. @internal */
  end(how: Ending, read: number, written: number): void {
    const early = this.#state === 'pending' || this.#state === 'accepting';
    // Not made for each connection: an error's stack takes 5 µs.
    const error = early ? endedBefore(how) : undefined;
    this.#close(how, [read, written], error);
    if (error) emitSafely(() => this.emit('abort', error));
    emitSafely(() => this.emit('close'));
  }

  /** @param error is for who waits for the handshake, which somebody does only before the connection is open */
  #close(how: Ending, totals: readonly [read: number, written: number], error: Error | undefined): void {
    this.#state = 'closed';
    this.#ending = how;
    this.#totals = totals;
    if (error) this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  get #currentTotals(): readonly [read: number, written: number] {
    const live = this.#state === 'accepting' || this.#state === 'open';
    return (live && this.#owner.totals(this.slot)) || this.#totals;
  }

  #requireUndecided(): void {
    if (this.#decided) throw decidedBefore(this.#state);
    if (this.#state === 'closed') throw endedBefore(this.#ending);
  }
}

/** Why a connection is over that was never open. */
function endedBefore(how: Ending | undefined): NodeJS.ErrnoException {
  return how === 'timed-out' || how === 'idle' ? timedOut() : aborted();
}

/** Whether the program did something wrong, which must not be hidden by a refusal. */
function isMistake({ code }: NodeJS.ErrnoException): boolean {
  return code !== undefined && /^ERR_(INVALID_|OUT_OF_RANGE$)/.test(code);
}

function refusalOf(reason: Refusal | Error): Refusal {
  if (reason instanceof Error) return REFUSAL_OF[(reason as NodeJS.ErrnoException).code ?? ''] ?? 'reset';
  if (REFUSALS.includes(reason)) return reason;
  throw invalidArgValue('reason', reason, `must be an Error or one of ${REFUSALS.join(', ')}`);
}

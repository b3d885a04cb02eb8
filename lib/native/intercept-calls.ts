import type { Descriptor } from './descriptor.js';

declare const handle: unique symbol;
/** A native translation of connections. */
export interface NatHandle {
  readonly [handle]: 'nat';
}

/** What the addon has for intercepted connections: src-cpp/node/intercept_calls.cc. What can fail returns -errno. */
export interface InterceptCalls {
  newNat(options: Uint32Array): NatHandle | number;
  natTranslate(
    nat: NatHandle,
    memory: ArrayBufferLike,
    runs: Uint32Array,
    toClient: ArrayBufferLike,
    toStack: ArrayBufferLike,
  ): number;
  natTranslateBack(
    nat: NatHandle,
    memory: ArrayBufferLike,
    toClient: ArrayBufferLike,
    toStack: ArrayBufferLike,
  ): number;
  /** What `from` reads is translated and written to `to`, unless it has other packets than TCP's; null: no longer. */
  natCarry(
    nat: NatHandle,
    from: Descriptor,
    to: Descriptor | null,
    back: boolean,
    toClient: ArrayBufferLike,
    toStack: ArrayBufferLike,
    words: Uint32Array,
  ): number;
  natExpire(nat: NatHandle, toClient: ArrayBufferLike, toStack: ArrayBufferLike): number;
  natAbortAll(nat: NatHandle, toClient: ArrayBufferLike, toStack: ArrayBufferLike): number;
  natDecide(
    nat: NatHandle,
    slot: number,
    generation: number,
    decision: number,
    toClient: ArrayBufferLike,
    toStack: ArrayBufferLike,
  ): number;
  natEvents(nat: NatHandle, rows: Uint8Array): number;
  natCounters(nat: NatHandle, out: Float64Array): number;
  natTotals(nat: NatHandle, slot: number, generation: number, out: Float64Array): number;
  natAddOwn(nat: NatHandle, local: Uint8Array, remote: Uint8Array, out: Uint32Array): number;
  natRemoveOwn(nat: NatHandle, slot: number, generation: number): number;
  listenSocket(fd: number, backlog: number): number;
  /** An accepted fd, with its slot and generation in `out`. */
  acceptConnection(fd: number, nat: NatHandle, out: Uint32Array): number;
}

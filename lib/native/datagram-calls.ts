declare const handle: unique symbol;
/** The native flows, datagrams and fragments of an interceptor. */
export interface DatagramsHandle {
  readonly [handle]: 'datagrams';
}

/** What the addon has for intercepted datagrams: src-cpp/node/datagram_calls.cc. What can fail returns -errno. */
export interface DatagramCalls {
  newDatagrams(options: Uint32Array): DatagramsHandle | number;
  /** The packet to go on with. */
  takeDatagrams(
    datagrams: DatagramsHandle,
    memory: ArrayBufferLike,
    start: number,
    end: number,
    entries: Uint8Array,
    payloads: ArrayBufferLike,
  ): number;
  /** The payload to go on with. */
  buildDatagrams(
    datagrams: DatagramsHandle,
    payloads: ArrayBufferLike,
    start: number,
    entries: Uint8Array,
    packets: ArrayBufferLike,
  ): number;
  refuseDatagram(
    datagrams: DatagramsHandle,
    entries: Uint8Array,
    index: number,
    reason: number,
    packets: ArrayBufferLike,
  ): number;
  addFragments(
    datagrams: DatagramsHandle,
    memory: ArrayBufferLike,
    start: number,
    end: number,
    wholes: ArrayBufferLike,
  ): number;
  /** How many slots of flows that have ended it filled in. */
  expireFlows(datagrams: DatagramsHandle, slots: Uint32Array): number;
  removeFlow(datagrams: DatagramsHandle, slot: number): number;
  datagramCounters(datagrams: DatagramsHandle, out: Float64Array): number;
}

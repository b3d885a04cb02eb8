/**
 * Tunnels: UDP sockets, authenticated encryption and replay protection by batches.
 * @module tuntap-native/tunnel
 */

export { Endpoint } from '../endpoint.js';
export { PacketRuns } from '../io/packet-runs.js';
export { DatagramTable } from '../socket/datagram-table.js';
export type { IcmpError } from '../socket/socket-errors.js';
export { openUdp, UdpBatchSocket, type UdpEvents } from '../socket/udp-batch-socket.js';
export type { UdpOffloads, UdpOptions } from '../socket/udp-options.js';
export type { UdpCounters } from '../socket/udp-receiver.js';
export { Aead, type AeadCipher, type AeadOptions, type CipherSource, type Padding } from './aead.js';
export { bootTime } from './boot-time.js';
export { PrefixTable } from './prefix-table.js';
export { ReplayWindow } from './replay-window.js';
export { type OpenOptions, type SessionOptions, SessionTable } from './session-table.js';

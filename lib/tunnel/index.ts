/** Tunnels: UDP sockets, authenticated encryption and replay protection by batches. The public names, nothing else. */

export { Aead, type AeadCipher, type AeadOptions } from './aead.js';
export { DatagramTable } from './datagram-table.js';
export { Endpoint } from './endpoint.js';
export type { IcmpError } from './icmp-error.js';
export { ReplayWindow } from './replay-window.js';
export {
  openUdp,
  UdpBatchSocket,
  type UdpCounters,
  type UdpEvents,
  type UdpOffloads,
} from './udp-batch-socket.js';
export type { UdpOptions } from './udp-options.js';

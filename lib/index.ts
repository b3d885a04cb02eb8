/**
 * TUN, TAP and macvtap devices, packet batches and network namespaces.
 * @module tuntap-native
 */

export { Capture, type CaptureOptions } from './device/capture.js';
export type { LinkEvent } from './device/device-link.js';
export type { OffloadedProtocols, OffloadOption, Offloads } from './device/offload.js';
export { openMacvtap } from './device/open-macvtap.js';
export { openTap, openTun } from './device/open-tun-tap.js';
export type { DeviceOptions, MacvtapOptions, TapOptions, TunOptions } from './device/options.js';
export { type DeviceCounters, PacketDevice } from './device/packet-device.js';
export { MacvtapDevice, TapDevice, TunDevice, TunTapDevice } from './device/tun-tap-device.js';
export { PacketBatch, type PacketBatchOptions, type PacketMargins } from './io/packet-batch.js';
export type { PacketCounters } from './io/packet-channel.js';
export type { PacketStream, WriteCallback } from './io/packet-stream.js';
export { type NamespaceReference, NetworkNamespace } from './net/network-namespace.js';
export type { SystemError } from './system-error.js';

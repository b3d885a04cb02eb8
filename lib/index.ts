export { Capture, type CaptureOptions } from './device/capture.js';
export type { OffloadedProtocols, OffloadOption, Offloads } from './device/offload.js';
export { openMacvtap, openTap, openTun } from './device/open.js';
export type { DeviceOptions, MacvtapOptions, TapOptions, TunOptions } from './device/options.js';
export { PacketBatch, type PacketBatchOptions } from './device/packet-batch.js';
export { type DeviceCounters, PacketDevice } from './device/packet-device.js';
export { MacvtapDevice, TapDevice, TunDevice, TunTapDevice } from './device/tun-tap-device.js';
export { type NamespaceReference, NetworkNamespace } from './net/network-namespace.js';
export type { SystemError } from './system-error.js';

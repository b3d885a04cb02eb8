export { type ConfigError, type ConfigWarning, formatConfig, parseConfig } from './config.js';
export { generatePresharedKey, generatePrivateKey, publicKey } from './keys.js';
export { openWireGuard } from './open-wireguard.js';
export type {
  InterfaceOptions,
  Key,
  ParsedConfig,
  ParsedPeer,
  PeerInfo,
  PeerOptions,
  RouteOption,
  WireGuardConfig,
  WireGuardOptions,
} from './options.js';
export type { InterfaceChanges, PeerChanges, WireGuardEvents } from './tunnel-types.js';
export { WireGuard } from './wireguard.js';

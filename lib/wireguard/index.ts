export { type ConfigError, type ConfigWarning, formatConfig, parseConfig } from './config.js';
export { generatePresharedKey, generatePrivateKey, publicKey } from './keys.js';
export type {
  InterfaceOptions,
  Key,
  ParsedConfig,
  ParsedPeer,
  PeerOptions,
  RouteOption,
  WireGuardConfig,
} from './options.js';

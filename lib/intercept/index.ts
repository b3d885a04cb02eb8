/**
 * Traffic out of a TUN device as connections.
 * @module tuntap-native/intercept
 */

export {
  type ConnectionEvents,
  type ConnectionState,
  InterceptedConnection,
  type Refusal,
} from './connection.js';
export { type InterceptOptions, intercept } from './intercept.js';
export { Interceptor, type InterceptorCounters, type InterceptorEvents } from './interceptor.js';
export type { ConnectionEnd } from './nat.js';
export type { InterceptorConnectOptions } from './own-connections.js';
export type { RelayOutcome, RelayToOptions } from './relaying.js';

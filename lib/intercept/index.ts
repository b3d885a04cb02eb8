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
export type { InterceptorCounters } from './counters.js';
export type { DatagramRefusal } from './datagrams.js';
export { InterceptedEcho } from './echo.js';
export { type FlowEvents, InterceptedFlow } from './flow.js';
export { type InterceptOptions, intercept } from './intercept.js';
export { Interceptor } from './interceptor.js';
export type { InterceptorEvents } from './interceptor-events.js';
export type { ConnectionEnd } from './nat.js';
export type { InterceptorConnectOptions } from './own-connections.js';
export type { RelayOptions, RelayOutcome, RelayToOptions } from './relaying.js';
export type { StackKind } from './stack.js';

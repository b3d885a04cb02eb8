import type { InterceptedConnection } from './connection.js';
import type { InterceptedEcho } from './echo.js';
import type { InterceptedFlow } from './flow.js';

/** The events of an {@link Interceptor}. */
export interface InterceptorEvents {
  /** A client asks for a connection, and waits until you accept or refuse it. Without a listener it is reset. */
  connection: [connection: InterceptedConnection];
  /**
   * A source sends its first datagram, which the flow's `'message'` event brings next. While a loop over
   * {@link Interceptor.datagrams} runs, there are no flows. With neither, ICMP port unreachable answers the datagram.
   */
  flow: [flow: InterceptedFlow];
  /** A client sent an ICMP echo request. Without a listener it is dropped. */
  echo: [echo: InterceptedEcho];
  /** The interceptor can't go on, as when its device was deleted; `'close'` follows. */
  error: [error: Error];
  /** The interceptor is closed. */
  close: [];
}

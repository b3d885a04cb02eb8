/** Errors of interceptors and their connections. */

import { codedError } from '../arguments.js';

export function aborted(why = 'the client gave up'): NodeJS.ErrnoException {
  const code = 'ECONNABORTED';
  return codedError(code, `accept ${code}: ${why}`, { syscall: 'accept' });
}

export function timedOut(): NodeJS.ErrnoException {
  return codedError('ETIMEDOUT', 'accept ETIMEDOUT', { syscall: 'accept' });
}

export function decidedBefore(state: string): Error {
  return codedError('ERR_TUNTAP_DECIDED', `The connection was decided about before: it is ${state}`);
}

export function interceptorClosed(): Error {
  return codedError('ERR_TUNTAP_CLOSED', 'The interceptor is closed');
}

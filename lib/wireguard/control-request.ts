/** The requests in the bytes of a control connection. */

import { EINVAL, EIO, ENOMEM, EPROTO, SetRequest } from './control-set.js';
import type { DeviceChanges } from './controlled-device.js';

const MAX_LINE = 4096;
/** What a short line costs at least: it becomes an object. */
const LINE_OVERHEAD = 32;

/** How many bytes of requests may wait for their ends, on all connections together. */
export class ByteBudget {
  #left: number;

  constructor(maximum: number) {
    this.#left = maximum;
  }

  /** @returns whether so many were left */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** A request, or what is to be done about bytes that are none. */
export type ControlRequest =
  | { readonly kind: 'get' }
  | { readonly kind: 'set'; readonly changes: DeviceChanges }
  /** Answer with this errno, then end the connection. */
  | { readonly kind: 'refuse'; readonly errno: number }
  /** End the connection without an answer, as wireguard-go does with an unknown request. */
  | { readonly kind: 'hangUp' };

/** Finds the requests in a stream of bytes. It keeps at most one line and one unfinished request. */
export class RequestParser {
  readonly #budget: ByteBudget;
  #partial = '';
  #state: 'operation' | 'get' | 'set' | 'ended' = 'operation';
  #set = new SetRequest();
  #taken = 0;

  constructor(budget: ByteBudget) {
    this.#budget = budget;
  }

  /** The requests that these bytes complete. What follows a request is read when the next one is asked for. */
  *push(bytes: Buffer): Generator<ControlRequest, void> {
    const text = this.#partial + bytes.toString('latin1');
    let start = 0;
    for (
      let end = text.indexOf('\n');
      end !== -1 && this.#state !== 'ended';
      end = text.indexOf('\n', start)
    ) {
      const request = end - start > MAX_LINE ? this.#lineTooLong() : this.#line(text.slice(start, end));
      start = end + 1;
      if (request) yield request;
    }
    this.#partial = this.#state === 'ended' ? '' : text.slice(start);
    if (this.#partial.length > MAX_LINE) yield this.#lineTooLong();
  }

  /** The other end has closed its side. @returns what to do about an unfinished request */
  end(): ControlRequest | undefined {
    const state = this.#state;
    this.#reset('ended');
    return state === 'set' ? { kind: 'refuse', errno: -EPROTO } : undefined;
  }

  #reset(state: 'operation' | 'ended'): void {
    this.#state = state;
    this.#partial = '';
    this.#set = new SetRequest();
    this.#budget.give(this.#taken);
    this.#taken = 0;
  }

  #refuse(errno: number): ControlRequest {
    this.#reset('ended');
    return { kind: 'refuse', errno };
  }

  #lineTooLong(): ControlRequest {
    if (this.#state === 'set') return this.#refuse(-EIO);
    this.#reset('ended');
    return { kind: 'hangUp' };
  }

  #line(line: string): ControlRequest | undefined {
    if (this.#state === 'set') return this.#setLine(line.endsWith('\r') ? line.slice(0, -1) : line);
    if (this.#state === 'get') {
      // wg(8) understands no sign in the answer to a get request.
      if (line !== '') return this.#refuse(EINVAL);
      this.#state = 'operation';
      return { kind: 'get' };
    }
    if (line === 'get=1') this.#state = 'get';
    else if (line === 'set=1') this.#state = 'set';
    else {
      this.#reset('ended');
      return { kind: 'hangUp' };
    }
    return undefined;
  }

  #setLine(line: string): ControlRequest | undefined {
    if (line === '') {
      const { changes } = this.#set;
      this.#reset('operation');
      return { kind: 'set', changes };
    }
    const cost = line.length + LINE_OVERHEAD;
    if (!this.#budget.take(cost)) return this.#refuse(-ENOMEM);
    this.#taken += cost;
    const errno = this.#set.add(line);
    return errno === 0 ? undefined : this.#refuse(-errno);
  }
}

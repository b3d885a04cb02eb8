/** A request and its answer, whichever way they travel: pure, without I/O. */

import { errnoOf, netlinkError, type RequestDescription } from './error.js';
import {
  encodeMessage,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './message.js';

/** What a rtnetlink is asked to do. */
export interface Request<T> extends RequestDescription {
  readonly type: number;
  readonly flags: number;
  /** The family's header and the attributes. */
  readonly body: Buffer;
  /** Reads one answer; undefined leaves it out. */
  decode(message: NetlinkMessage): T | undefined;
}

export const nothing = (): undefined => undefined;

export function isDump(request: Request<unknown>): boolean {
  return (request.flags & NLM_F_DUMP) === NLM_F_DUMP;
}

/** How often a dump that was interrupted is asked for again. */
export const DUMP_ATTEMPTS = 50;

export function dumpInterrupted({ operation }: Request<unknown>): Error {
  return Object.assign(
    new Error(
      `What the kernel listed changed meanwhile, ${DUMP_ATTEMPTS} times in a row (${operation}): try again`,
    ),
    { code: 'ERR_TUNTAP_DUMP_INTERRUPTED', operation },
  );
}

/** One request under way. */
export class PendingRequest<T> {
  readonly request: Request<T>;
  readonly bytes: Buffer;
  readonly sequence: number;
  readonly #results: T[] = [];
  #error: unknown;
  #done = false;
  #interrupted = false;

  constructor(request: Request<T>, sequence: number) {
    this.request = request;
    this.sequence = sequence;
    this.bytes = encodeMessage(
      request.type,
      request.flags | NLM_F_REQUEST | (isDump(request) ? 0 : NLM_F_ACK),
      sequence,
      request.body,
    );
  }

  /** The whole answer has come. */
  get done(): boolean {
    return this.#done;
  }

  /** A dump whose parts do not fit together. */
  get interrupted(): boolean {
    return this.#interrupted;
  }

  /** Takes one message of the answer; those of others are passed over. */
  take(message: NetlinkMessage): void {
    if (this.#done || message.sequence !== this.sequence) return;
    if (message.flags & NLM_F_DUMP_INTR && isDump(this.request)) this.#interrupted = true;
    if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
      this.#done = true;
      const errno = errnoOf(message);
      if (errno < 0) this.#error ??= netlinkError(errno, this.request, this.bytes, message);
      return;
    }
    if (this.#interrupted) return;
    try {
      const result = this.request.decode(message);
      if (result !== undefined) this.#results.push(result);
    } catch (error) {
      this.#error ??= error;
    }
  }

  /** The answers, or the error. */
  results(): T[] {
    if (this.#error !== undefined) throw this.#error;
    return this.#results;
  }
}

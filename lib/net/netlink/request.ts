/** A request and its answer, as data without I/O. */

import { codedError } from '../../arguments.js';
import type { AttributeTable, Shape } from './attributes.js';
import { errnoOf, netlinkError, type RequestDescription } from './error.js';
import {
  CHANGE_FLAGS,
  type Change,
  encodeMessage,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './message.js';

/** What the kernel is asked to do. */
export interface Request<T> extends RequestDescription {
  readonly type: number;
  readonly flags: number;
  /** The family's header and the attributes. */
  readonly body: Buffer;
  /** Reads one answer. Undefined leaves it out. */
  decode(message: NetlinkMessage): T | undefined;
}

/** The messages about one kind of object. Their numbers follow one another: RTM_NEWx, RTM_DELx, RTM_GETx. */
export interface MessageFamily {
  /** RTM_NEWx. */
  readonly type: number;
  /** Bytes of the header before the attributes. */
  readonly headerSize: number;
  readonly table: AttributeTable<Shape>;
}

/** Asks for one object, or with NLM_F_DUMP for all that the kernel's filters let through. */
export function getRequest<T>(
  family: MessageFamily,
  operation: string,
  body: readonly Uint8Array[],
  decode: Request<T>['decode'],
  { subject, flags = NLM_F_DUMP }: { readonly subject?: string; readonly flags?: number } = {},
): Request<T> {
  return {
    ...family,
    ...{ operation, subject, flags },
    type: family.type + 2,
    body: Buffer.concat(body),
    decode: (message) => (message.type === family.type ? decode(message) : undefined),
  };
}

/** Adds, changes or deletes an object, such as a `route`. */
export function changeRequest(
  family: MessageFamily,
  action: Change,
  object: string,
  subject: string | undefined,
  body: readonly Uint8Array[],
): Request<undefined> {
  return {
    ...family,
    operation: `${action} ${object}`,
    subject,
    type: action === 'delete' ? family.type + 1 : family.type,
    flags: CHANGE_FLAGS[action],
    body: Buffer.concat(body),
    decode: nothing,
  };
}

export const nothing = (): undefined => undefined;

export function isDump(request: Request<unknown>): boolean {
  return (request.flags & NLM_F_DUMP) === NLM_F_DUMP;
}

/** How many times a dump is requested if it is interrupted each time. */
export const DUMP_ATTEMPTS = 50;

export function dumpInterrupted({ operation }: Request<unknown>): Error {
  const message = `The list changed while it was read, ${DUMP_ATTEMPTS} times in a row (${operation}): try again`;
  return codedError('ERR_TUNTAP_DUMP_INTERRUPTED', message, { operation });
}

/** One request under way. */
export class PendingRequest<T> {
  readonly request: Request<T>;
  readonly bytes: Buffer;
  readonly sequence: number;
  /** The whole answer is here. */
  done = false;
  /** The parts of a dump do not fit together. */
  interrupted = false;
  readonly #results: T[] = [];
  #error: unknown;

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

  /** Takes one message of the answer. It ignores messages of other requests. */
  take(message: NetlinkMessage): void {
    if (this.done || message.sequence !== this.sequence) return;
    if (message.flags & NLM_F_DUMP_INTR && isDump(this.request)) this.interrupted = true;
    if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
      this.done = true;
      const errno = errnoOf(message);
      if (errno < 0) this.#error ??= netlinkError(errno, this.request, this.bytes, message);
      return;
    }
    if (this.interrupted) return;
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

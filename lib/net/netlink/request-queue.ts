import { codedError } from '../../arguments.js';
import { native } from '../../native/addon.js';
import type { Descriptor } from '../../native/descriptor.js';
import { systemError } from '../../system-error.js';
import { decodeMessages } from './message.js';
import { DUMP_ATTEMPTS, dumpInterrupted, isDump, PendingRequest, type Request } from './request.js';
import { openNetlinkRoute, TIMEOUT_MS } from './socket.js';

// The most requests of one send. Their answers, each a link of up to 2 KiB, fit the receive buffer.
const MAX_BATCH = 16;
const MAX_BATCH_BYTES = 16_384;
const NO_BYTES = new Uint8Array();

interface Pending {
  readonly exchange: PendingRequest<unknown>;
  readonly settle: () => void;
  readonly fail: (error: unknown) => void;
}

export function closedError(): Error {
  return codedError('ERR_TUNTAP_CLOSED', 'The network namespace is closed');
}

/**
 * The rtnetlink requests of one namespace. Any number of callers may use it at the same time. Requests leave in the order
 * of the calls, on libuv's thread pool: the kernel carries each one out before its send returns, and may wait for a lock.
 * Requests that wait together leave together, except dumps, which leave alone. A request that changes something is
 * never sent twice.
 */
export class RequestQueue {
  readonly #open: () => Descriptor;
  readonly #queue: Pending[] = [];
  #descriptor: Descriptor | undefined;
  #sequence = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  /** @param namespace returns an nsfs fd, or -1 for the process's own namespace; called once, at the first request */
  constructor(namespace: () => number) {
    this.#open = () => openNetlinkRoute(namespace());
  }

  /** Resolves to the kernel's answers. An interrupted dump is requested again. */
  async request<T>(request: Request<T>): Promise<T[]> {
    for (let attempt = 1; attempt <= DUMP_ATTEMPTS; attempt++) {
      const exchange = await this.#submit(request);
      if (!exchange.interrupted) return exchange.results();
    }
    throw dumpInterrupted(request);
  }

  /** Rejects the requests that have not left. Resolves when the socket is closed. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { fail } of this.#queue.splice(0)) fail(closedError());
    await this.#running;
    this.#descriptor?.close();
    this.#descriptor = undefined;
  }

  #submit<T>(request: Request<T>): Promise<PendingRequest<T>> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.#descriptor ??= this.#open();
      const exchange = new PendingRequest(request, ++this.#sequence);
      this.#queue.push({ exchange, settle: () => resolve(exchange), fail: reject });
      this.#running ??= this.#run(this.#descriptor.fd());
    });
  }

  async #run(fd: number): Promise<void> {
    // Requests of one turn leave together.
    await Promise.resolve();
    while (this.#queue.length > 0) await converse(fd, this.#nextBatch());
    this.#running = undefined;
  }

  #nextBatch(): Pending[] {
    const queue = this.#queue;
    if (isDump(queue[0].exchange.request)) return queue.splice(0, 1);
    let size = 0;
    const end = queue.findIndex(({ exchange: { request, bytes } }, count) => {
      size += bytes.length;
      return isDump(request) || count === MAX_BATCH || (count > 0 && size > MAX_BATCH_BYTES);
    });
    return queue.splice(0, end < 0 ? queue.length : end);
  }
}

/** Settles every request of the batch. */
async function converse(fd: number, batch: readonly Pending[]): Promise<void> {
  const waiting = new Map(batch.map((pending) => [pending.exchange.sequence, pending]));
  try {
    await exchange(fd, batch, waiting);
  } catch (error) {
    for (const { fail } of waiting.values()) fail(error);
  }
}

async function exchange(fd: number, batch: readonly Pending[], waiting: Map<number, Pending>): Promise<void> {
  let toSend: Uint8Array = Buffer.concat(batch.map((pending) => pending.exchange.bytes));
  while (waiting.size > 0) {
    const answer = await native().exchangeNetlink(fd, toSend, TIMEOUT_MS);
    if (typeof answer === 'number') throw systemError(answer, 'rtnetlink');
    toSend = NO_BYTES;
    for (const datagram of answer) {
      for (const message of decodeMessages(datagram)) {
        const pending = waiting.get(message.sequence);
        pending?.exchange.take(message);
        if (pending?.exchange.done && waiting.delete(message.sequence)) pending.settle();
      }
    }
  }
}

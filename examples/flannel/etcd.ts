/**
 * etcd's JSON gateway (/v3/…, since etcd 3.4), as far as Flannel's schema needs it. Keys and values travel in base64.
 * The gateway writes 64-bit numbers as strings. They stay strings here, as a lease's number has more digits than a
 * JavaScript number holds.
 */

import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';

const TIMEOUT_MS = 5000;
// A host that vanishes ends no connection. TCP asks after a pause of this length whether it is still there.
const KEEP_ALIVE_MS = 10_000;
// Codes of gRPC (google.golang.org/grpc/codes): DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE.
const TRANSIENT = [4, 8, 14];
const UNAVAILABLE = 14;
// OUT_OF_RANGE: the revision is not there any more.
const COMPACTED = 11;

/** etcd refused a request, or no endpoint answered. */
export class EtcdError extends Error {
  /** A code of gRPC. */
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }

  /** The same request may succeed later, or at another endpoint. */
  get isTransient(): boolean {
    return TRANSIENT.includes(this.code);
  }
}

/** Where etcd is. The certificates are in PEM. */
export interface EtcdOptions {
  readonly endpoints: readonly string[];
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
}

/** A key and its value. */
export interface Entry {
  readonly key: string;
  readonly value: string;
  /** The revision of its last change. */
  readonly modRevision: string;
  /** The etcd lease that it ends with; '0': none. */
  readonly lease: string;
}

/** A key changed: it has a value, or it is gone. */
export type Change =
  | { readonly type: 'put'; readonly entry: Entry }
  | { readonly type: 'delete'; readonly key: string };

/** A condition of a transaction: the key does not exist, or nobody changed it since. */
export type Condition = 'absent' | { readonly modRevision: string };

interface JsonEntry {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision: string;
  readonly lease?: string;
}

/** The gateways of etcd have different names for the code of a method that streams. */
interface JsonError {
  readonly message?: string;
  readonly code?: number;
  readonly grpc_code?: number;
}

interface JsonWatchResponse {
  readonly error?: JsonError;
  readonly result?: {
    readonly canceled?: boolean;
    readonly cancel_reason?: string;
    readonly compact_revision?: string;
    readonly events?: readonly { readonly type?: 'DELETE'; readonly kv: JsonEntry }[];
  };
}

const encode = (value: string): string => Buffer.from(value).toString('base64');
const decode = (value = ''): string => Buffer.from(value, 'base64').toString();

/** The keys that begin with `prefix`, as etcd writes a range: up to the prefix whose last character is the next one. */
function range(prefix: string): { readonly key: string; readonly range_end: string } {
  const last = prefix.charCodeAt(prefix.length - 1);
  return { key: encode(prefix), range_end: encode(prefix.slice(0, -1) + String.fromCharCode(last + 1)) };
}

function toEntry({ key, value, mod_revision, lease = '0' }: JsonEntry): Entry {
  return { key: decode(key), value: decode(value), modRevision: mod_revision, lease };
}

export class Etcd {
  readonly #endpoints: readonly URL[];
  readonly #tls: Pick<EtcdOptions, 'ca' | 'cert' | 'key'>;
  /** The endpoint to use: the next one after a failure. */
  #current = 0;

  constructor({ endpoints, ...tls }: EtcdOptions) {
    if (endpoints.length === 0) throw new Error('There is no etcd endpoint: see --etcd');
    this.#endpoints = endpoints.map((endpoint) => new URL(endpoint));
    this.#tls = tls;
  }

  async get(key: string, signal?: AbortSignal): Promise<Entry | undefined> {
    const body = { key: encode(key) };
    const { kvs = [] } = await this.request<{ kvs?: readonly JsonEntry[] }>('kv/range', body, signal);
    return kvs.map(toEntry)[0];
  }

  /** Lists what begins with `prefix`, and the revision that this is the state of. */
  async list(
    prefix: string,
    signal?: AbortSignal,
  ): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }> {
    const { header, kvs = [] } = await this.request<{
      header: { revision: string };
      kvs?: readonly JsonEntry[];
    }>('kv/range', range(prefix), signal);
    return { entries: kvs.map(toEntry), revision: Number(header.revision) };
  }

  /**
   * Writes a value if the condition holds: compare-and-swap.
   * @returns whether it held
   */
  async putIf(
    condition: Condition,
    { key, value, lease }: Pick<Entry, 'key' | 'value' | 'lease'>,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const put = { request_put: { key: encode(key), value: encode(value), lease } };
    return this.#transaction(condition, key, put, signal);
  }

  /** Removes a key if the condition holds. */
  async deleteIf(condition: Condition, key: string, signal?: AbortSignal): Promise<boolean> {
    return this.#transaction(condition, key, { request_delete_range: { key: encode(key) } }, signal);
  }

  async #transaction(
    condition: Condition,
    key: string,
    operation: object,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const compare =
      condition === 'absent'
        ? { target: 'VERSION', version: '0' }
        : { target: 'MOD', mod_revision: condition.modRevision };
    const body = { compare: [{ key: encode(key), ...compare }], success: [operation] };
    const { succeeded = false } = await this.request<{ succeeded?: boolean }>('kv/txn', body, signal);
    return succeeded;
  }

  /** Makes a lease. What is written under it is deleted if nobody keeps it alive; etcd may grant more seconds. */
  async grant(
    seconds: number,
    signal?: AbortSignal,
  ): Promise<{ readonly id: string; readonly seconds: number }> {
    const granted = await this.request<{ ID: string; TTL: string }>('lease/grant', { TTL: seconds }, signal);
    return { id: granted.ID, seconds: Number(granted.TTL) };
  }

  /** Starts a lease's time again. @returns false if there is no such lease any more */
  async keepAlive(lease: string, signal?: AbortSignal): Promise<boolean> {
    const { result } = await this.request<{ result?: { TTL?: string } }>(
      'lease/keepalive',
      { ID: lease },
      signal,
    );
    return Number(result?.TTL ?? 0) > 0;
  }

  /** Ends a lease, and deletes what is written under it. */
  async revoke(lease: string, signal?: AbortSignal): Promise<void> {
    await this.request('lease/revoke', { ID: lease }, signal);
  }

  /**
   * Yields what happens to the keys that begin with `prefix`, from a revision on; each time the changes of one message.
   * It ends with an error only: `isTransient` if the connection is lost. The next watch asks the next endpoint.
   */
  async *watch(
    prefix: string,
    revision: number,
    signal?: AbortSignal,
  ): AsyncGenerator<readonly Change[], never> {
    const endpoint = this.#endpoint;
    const body = { create_request: { ...range(prefix), start_revision: revision } };
    try {
      const response = await this.#post(endpoint, 'watch', body, { signal, stays: true });
      for await (const line of lines(response)) {
        const message = JSON.parse(line) as JsonWatchResponse;
        if (message.error !== undefined) throw refused(endpoint, message);
        const changes = toChanges(message);
        if (changes.length > 0) yield changes;
      }
      throw unavailable(endpoint, 'it ended the watch');
    } catch (error) {
      if (error instanceof EtcdError || signal?.aborted) throw error;
      throw unavailable(endpoint, error);
    } finally {
      this.#current++;
    }
  }

  get #endpoint(): URL {
    return this.#endpoints[this.#current % this.#endpoints.length];
  }

  /** Calls a method of the gateway, such as `kv/range`, at one endpoint after the other. */
  async request<T>(method: string, body: object, signal?: AbortSignal): Promise<T> {
    let failure: unknown;
    for (let tried = 0; tried < this.#endpoints.length; tried++) {
      try {
        const endpoint = this.#endpoint;
        const answer = JSON.parse(await text(await this.#post(endpoint, method, body, { signal })));
        // A method that streams has sent its status before it fails.
        if (answer.error !== undefined) throw refused(endpoint, answer);
        return answer as T;
      } catch (error) {
        signal?.throwIfAborted();
        failure = error instanceof EtcdError ? error : unavailable(this.#endpoint, error);
        if (!(failure as EtcdError).isTransient) break;
        this.#current++;
      }
    }
    throw failure;
  }

  /** Resolves to the response's headers; `stays`: its body may take for ever. */
  async #post(
    endpoint: URL,
    method: string,
    body: object,
    { signal, stays = false }: { readonly signal?: AbortSignal; readonly stays?: boolean },
  ): Promise<IncomingMessage> {
    const request = (endpoint.protocol === 'https:' ? httpsRequest : httpRequest)(
      new URL(`/v3/${method}`, endpoint),
      {
        method: 'POST',
        agent: false,
        ...this.#tls,
        // A member without a leader hears of no changes. With this it refuses the watch.
        headers: { 'Grpc-Metadata-Hasleader': 'true' },
        signal,
      },
    );
    const late = setTimeout(() => request.destroy(new Error('it does not answer')), TIMEOUT_MS);
    request.once('close', () => clearTimeout(late));
    request.end(JSON.stringify(body)).on('socket', (socket) => socket.setKeepAlive(true, KEEP_ALIVE_MS));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    if (response.statusCode !== 200) throw await refusal(endpoint, response);
    if (stays) clearTimeout(late);
    return response;
  }
}

function unavailable(endpoint: URL, cause: unknown): EtcdError {
  const { message, code } =
    cause instanceof Error ? (cause as NodeJS.ErrnoException) : { message: `${cause}`, code: '' };
  return new EtcdError(`etcd at ${endpoint.origin}: ${message || code}`, UNAVAILABLE);
}

async function refusal(endpoint: URL, response: IncomingMessage): Promise<EtcdError> {
  const answer = await text(response);
  try {
    return refused(endpoint, JSON.parse(answer));
  } catch {
    return unavailable(endpoint, `HTTP status ${response.statusCode}, and no JSON`);
  }
}

/** The error is `error` if the method streams. Else it is the answer, whose `error` may be a text. */
function refused(endpoint: URL, answer: JsonError & { readonly error?: string | JsonError }): EtcdError {
  const { message, code, grpc_code = code } = typeof answer.error === 'object' ? answer.error : answer;
  return new EtcdError(
    `etcd at ${endpoint.origin}: ${message ?? JSON.stringify(answer)}`,
    grpc_code ?? UNAVAILABLE,
  );
}

async function* lines(response: IncomingMessage): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const complete = (rest + chunk).split('\n');
    rest = complete.pop() ?? '';
    yield* complete.filter((line) => line !== '');
  }
}

function toChanges({ result = {} }: JsonWatchResponse): readonly Change[] {
  const { canceled = false, cancel_reason, compact_revision, events = [] } = result;
  if (compact_revision !== undefined)
    throw new EtcdError(`etcd has compacted all before revision ${compact_revision}`, COMPACTED);
  if (canceled)
    throw new EtcdError(`etcd ended the watch: ${cancel_reason ?? 'no reason given'}`, UNAVAILABLE);
  return events.map(({ type, kv }) =>
    type === 'DELETE' ? { type: 'delete', key: decode(kv.key) } : { type: 'put', entry: toEntry(kv) },
  );
}

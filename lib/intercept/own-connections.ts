/** The connections of an interceptor itself, which must not come back to it. */

import type { Socket } from 'node:net';
import { codedError, requireObject } from '../arguments.js';
import { addressOffset, type Endpoint } from '../endpoint.js';
import { type NamespaceConnectOptions, NetworkNamespace } from '../net/index.js';
import type { RoutingOptions } from '../net/namespace/sockets.js';
import { interceptorClosed } from './connection-errors.js';
import type { FakeNames } from './names.js';
import type { Nat } from './nat.js';

/** Options of {@link Interceptor.connect}. */
export type InterceptorConnectOptions = NamespaceConnectOptions;

/** Opens connections in the process's own namespace; the NAT refuses their SYNs. */
export class OwnConnections {
  readonly #nat: Nat;
  readonly #bypass: RoutingOptions;
  readonly #names: FakeNames | undefined;
  #namespace: Promise<NetworkNamespace> | undefined;
  #closed = false;

  constructor(nat: Nat, bypass: RoutingOptions, names: FakeNames | undefined) {
    this.#nat = nat;
    this.#bypass = bypass;
    this.#names = names;
  }

  async connect(options: InterceptorConnectOptions): Promise<Socket> {
    requireObject('options', options);
    if (this.#closed) throw interceptorClosed();
    const { host } = options;
    this.#namespace ??= NetworkNamespace.current();
    const namespace = await this.#namespace;
    const asked = typeof host === 'string' && this.#names?.has(host);
    return namespace.connect({
      ...this.routed(options),
      checkRemote: (remote) => asked && refuseOwnHost(remote, host),
      onAttempt: (local, remote) => this.note(local, remote),
    });
  }

  /** Adds what keeps a connection out of the interceptor's device, where the options don't say otherwise. */
  routed<T extends RoutingOptions>(options: T): T {
    const { mark = this.#bypass.mark, device = this.#bypass.device } = options;
    return { ...options, mark, device };
  }

  /** Notes a connection before its SYN can come back. @returns forgets it */
  note(local: Endpoint, remote: Endpoint): () => void {
    const slot = this.#nat.addOwn(local, remote);
    return () => slot && this.#nat.removeOwn(slot);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await (await this.#namespace)?.close();
  }
}

/**
 * Throws if an address is one by which the machine reaches itself. A client chooses the names that it asks for, and they must
 * not lead it to services that only the machine's own programs may use.
 */
export function refuseOwnHost(remote: Endpoint, host: string): void {
  const { family, entry, address, port } = remote;
  const at = addressOffset(family, 0);
  const bytes = entry.subarray(at, at + (family === 4 ? 4 : 16));
  const own =
    family === 4
      ? bytes[0] === 127 || bytes[0] === 0
      : bytes[15] <= 1 && bytes.subarray(0, 15).every((byte) => byte === 0);
  if (!own) return;
  const code = 'EACCES';
  const message = `connect ${code} ${address}:${port}: the client's destination ${host} is this machine itself`;
  throw codedError(code, message, { syscall: 'connect', host });
}

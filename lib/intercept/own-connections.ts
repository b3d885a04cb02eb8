/** The connections of an interceptor itself, which must not come back to it. */

import type { Socket } from 'node:net';
import type { Endpoint } from '../endpoint.js';
import { type NamespaceConnectOptions, NetworkNamespace } from '../net/index.js';
import type { Nat } from './nat.js';

/** What keeps the interceptor's own connections out of its device. */
export interface Bypass {
  readonly mark?: number;
  readonly device?: string;
}

/** Options of {@link Interceptor.connect}. */
export type InterceptorConnectOptions = NamespaceConnectOptions;

/** Opens connections in the process's own namespace; the NAT refuses their SYNs. */
export class OwnConnections {
  readonly #nat: Nat;
  readonly bypass: Bypass;
  #namespace: Promise<NetworkNamespace> | undefined;

  constructor(nat: Nat, bypass: Bypass) {
    this.#nat = nat;
    this.bypass = bypass;
  }

  async connect(options: InterceptorConnectOptions): Promise<Socket> {
    this.#namespace ??= NetworkNamespace.current();
    const namespace = await this.#namespace;
    return namespace.connect({
      ...this.bypass,
      ...options,
      onAttempt: (local, remote) => this.note(local, remote),
    });
  }

  /** Notes a connection before its SYN can come back. @returns forgets it */
  note(local: Endpoint, remote: Endpoint): () => void {
    const slot = this.#nat.addOwn(local, remote);
    return () => slot && this.#nat.removeOwn(slot);
  }

  async close(): Promise<void> {
    await (await this.#namespace)?.close();
  }
}

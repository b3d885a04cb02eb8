/** What carries the containers' packets to the other hosts. */

import type { NetworkNamespace } from 'tuntap-native/net';
import type { NetworkConfig } from './config.ts';
import type { External } from './external.ts';
import type { Attributes, Lease } from './lease.ts';
import type { Network } from './network.ts';

/** One way to carry packets. What it made is gone once it is closed. */
export interface Backend {
  /** What the other hosts need to know: it becomes part of this host's lease. */
  readonly data?: Attributes['backendData'];
  /** What containers may send, in bytes. */
  readonly mtu: number;
  /** Begins, with the subnet that this host has. */
  start(subnet: Network): Promise<void>;
  /** A host has a subnet; `old` is the lease that this one replaces. If it rejects, that host is left out. */
  set(lease: Lease, old?: Lease): Promise<void>;
  /** What `remove()`, and `set()` for `old`, take away by: another lease with the same one must be set again. */
  peerOf?(lease: Lease): string;
  /** A host has its subnet no more. */
  remove(lease: Lease): Promise<void>;
  close(): Promise<void>;
}

export interface BackendOptions {
  readonly host: NetworkNamespace;
  readonly external: External;
  readonly config: NetworkConfig;
  /** The folder for what outlives the daemon, such as /run/flannel. */
  readonly run: string;
  /** Ends the daemon: somebody deleted the backend's link, for example. */
  readonly fail: (error: Error) => void;
}

export type OpenBackend = (options: BackendOptions) => Promise<Backend>;

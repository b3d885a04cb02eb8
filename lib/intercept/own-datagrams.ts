/** UDP sockets of the interceptor itself, whose datagrams must not come back to it: each would open another socket. */

import { Endpoint } from '../endpoint.js';
import type { ConnectionEnd } from './nat.js';

type End = Pick<ConnectionEnd, 'address' | 'port'>;

interface OwnSocket {
  /** Undefined: any. Deno does not tell the address that a socket got when it was connected. */
  readonly local: string | undefined;
  readonly remote: string;
  readonly returned: () => void;
}

/** The sockets, each of which has one destination. */
export class OwnDatagrams {
  /** By their local ports: most datagrams of clients come from others. */
  readonly #sockets = new Map<number, Set<OwnSocket>>();
  /** Datagrams that came back. */
  loops = 0;

  /**
   * Notes a socket before it sends.
   * @param returned is told of each of its datagrams that comes back
   * @returns forgets it
   */
  note(local: End, remote: End, returned: () => void): () => void {
    const { port } = local;
    const any = /^[0:.]+$/.test(local.address);
    const socket = { local: any ? undefined : textOf(local), remote: textOf(remote), returned };
    const sharing = this.#sockets.get(port) ?? new Set();
    this.#sockets.set(port, sharing.add(socket));
    return () => {
      sharing.delete(socket);
      if (sharing.size === 0 && this.#sockets.get(port) === sharing) this.#sockets.delete(port);
    };
  }

  /** Whether a datagram is one of theirs, which it counts and tells. */
  take(source: End, destination: End): boolean {
    const sharing = this.#sockets.get(source.port);
    if (sharing === undefined) return false;
    const [local, remote] = [textOf(source), textOf(destination)];
    for (const socket of sharing) {
      if ((socket.local ?? local) !== local || socket.remote !== remote) continue;
      this.loops++;
      socket.returned();
      return true;
    }
    return false;
  }
}

/** However an address was written. */
function textOf({ address, port }: End): string {
  return `${new Endpoint(address, port).address} ${port}`;
}

/** The server: answers its clients' handshakes, and follows them when their address changes. */

import type { Endpoint } from 'tuntap-native/tunnel';
import { ConfigError, readKeys, readServerConfig } from './config.ts';
import { INITIATION, initiationKeyId, readInitiation } from './handshake.ts';
import { Peer } from './peer.ts';
import type { Session } from './session.ts';
import { type Role, Vpn } from './vpn.ts';

// Initiations a second that name a key of ours, and as many at once: whatever is sent, no more work than that is done.
const INITIATIONS_PER_SECOND = 64;

class Server implements Role {
  readonly #vpn: Vpn;
  readonly #byKeyId: ReadonlyMap<bigint, Peer>;
  readonly #present = new Set<Peer>();
  #credit = INITIATIONS_PER_SECOND;
  #creditAt = performance.now();

  constructor(vpn: Vpn) {
    this.#vpn = vpn;
    this.#byKeyId = new Map(vpn.peers.map((peer) => [peer.keyId, peer]));
    if (this.#byKeyId.size < vpn.peers.length) throw new ConfigError('two clients have the same key');
  }

  tick(now: number): void {
    for (const peer of this.#present) {
      if (!this.#vpn.isSilent(peer, now)) continue;
      this.#present.delete(peer);
      this.#vpn.log(`${peer.name} is silent`);
    }
  }

  handshake(message: Buffer, from: Endpoint): void {
    const peer = message[0] === INITIATION ? this.#byKeyId.get(initiationKeyId(message)) : undefined;
    if (peer === undefined || !this.#afford()) return;
    const initiation = readInitiation(message, peer.psk, this.#vpn.config.cipher);
    if (initiation === undefined || initiation.timestamp <= peer.lastTimestamp) {
      peer.traffic.refused++;
      return;
    }
    peer.lastTimestamp = initiation.timestamp;
    const index = this.#vpn.sessions.newIndex();
    let response: ReturnType<typeof initiation.respond>;
    try {
      response = initiation.respond(index);
    } catch {
      // Its ephemeral key is a point of small order.
      peer.traffic.refused++;
      return;
    }
    peer.offer(this.#vpn.establish(peer, index, response.keys));
    this.#vpn.send(response.message, from);
  }

  authentic(session: Session, last: number): void {
    const { peer } = session;
    peer.receivedAt = performance.now();
    const endpoint = this.#vpn.received(last, peer.endpoint);
    if (endpoint !== peer.endpoint) {
      if (this.#present.has(peer))
        this.#vpn.log(`${peer.name} has moved from ${peer.endpoint} to ${endpoint}`);
      peer.endpoint = endpoint;
    }
    if (session === peer.next) {
      peer.use(session);
      this.#vpn.log(`session with ${peer.name} at ${endpoint}`);
    }
    this.#present.add(peer);
  }

  #afford(): boolean {
    const now = performance.now();
    const earned = ((now - this.#creditAt) / 1000) * INITIATIONS_PER_SECOND;
    this.#credit = Math.min(INITIATIONS_PER_SECOND, this.#credit + earned);
    this.#creditAt = now;
    if (this.#credit < 1) return false;
    this.#credit--;
    return true;
  }
}

/** Runs the server that a configuration file describes, until the signal aborts. */
export async function runServer(path: string, signal: AbortSignal): Promise<void> {
  const config = readServerConfig(path);
  const keys = readKeys(config.keys);
  const vpn = new Vpn(config);
  for (const [name, { allowed }] of Object.entries(config.clients)) {
    const psk = keys.get(name);
    if (psk === undefined) throw new ConfigError(`${config.keys}: no key for ${name}`);
    vpn.addPeer(new Peer(name, psk, vpn.sessions), allowed);
  }
  await vpn.run(new Server(vpn), config.listen, signal);
}

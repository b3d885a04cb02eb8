/** The client: begins the handshakes, and begins another one when a session gets old or the server falls silent. */

import { Endpoint } from 'tuntap-native/tunnel';
import { ConfigError, readClientConfig, readKeys } from './config.ts';
import { initiate, type PendingHandshake, RESPONSE, responseIndex } from './handshake.ts';
import { Peer } from './peer.ts';
import { type Role, Vpn } from './vpn.ts';

// An answer that has not come by then is asked for again, with a new key pair. Many clients that lost their server
// together do not ask together.
const RETRY_MS = 1000;
const JITTER_MS = 333;

class Client implements Role {
  readonly #vpn: Vpn;
  readonly #server: Peer;
  readonly #endpoint: Endpoint;
  #pending: PendingHandshake | undefined;
  #retryAt = Number.NEGATIVE_INFINITY;
  #lastTimestamp = 0;
  #wasSilent = false;

  constructor(vpn: Vpn, server: Peer, endpoint: Endpoint) {
    this.#vpn = vpn;
    this.#server = server;
    this.#endpoint = endpoint;
    server.endpoint = endpoint;
  }

  tick(now: number): void {
    const { current } = this.#server;
    const { rekeySeconds, rekeyPackets } = this.#vpn.config;
    const silent = this.#vpn.isSilent(this.#server, now);
    if (silent && current && !this.#wasSilent) this.#vpn.log('the server is silent');
    this.#wasSilent = silent;
    const old =
      current === undefined ||
      now - current.established > 1000 * rekeySeconds ||
      current.sending.counter > rekeyPackets;
    if ((old || silent) && now >= this.#retryAt) this.#initiate(now);
  }

  handshake(message: Buffer): void {
    const pending = this.#pending;
    if (message[0] !== RESPONSE || responseIndex(message) !== pending?.index) return;
    const keys = pending.complete(message);
    if (keys === undefined) {
      this.#server.traffic.refused++;
      return;
    }
    this.#pending = undefined;
    this.#retryAt = Number.NEGATIVE_INFINITY;
    this.#server.use(this.#vpn.establish(this.#server, pending.index, keys));
    this.#server.receivedAt = performance.now();
    this.#vpn.log(`session with the server at ${this.#endpoint}`);
    // The server seals nothing before it has seen that its keys arrived.
    this.#vpn.sendKeepalive(this.#server);
  }

  authentic(): void {
    this.#server.receivedAt = performance.now();
  }

  #initiate(now: number): void {
    this.#retryAt = now + RETRY_MS + Math.random() * JITTER_MS;
    // A clock may stand or be set back; within this process an initiation is always newer than the last.
    this.#lastTimestamp = Math.max(Date.now(), this.#lastTimestamp + 1);
    const index = this.#vpn.sessions.newIndex();
    const { psk } = this.#server;
    this.#pending = initiate(psk, this.#vpn.config.cipher, index, BigInt(this.#lastTimestamp));
    this.#vpn.send(this.#pending.message, this.#endpoint);
  }
}

/** Runs the client that a configuration file describes, until the signal aborts. */
export async function runClient(path: string, signal: AbortSignal): Promise<void> {
  const config = readClientConfig(path);
  const psk = readKeys(config.keys).get(config.name);
  if (psk === undefined) throw new ConfigError(`${config.keys}: no key for ${config.name}`);
  const vpn = new Vpn(config);
  const server = new Peer('server', psk, vpn.sessions);
  vpn.addPeer(server, config.allowed);
  const any = new Endpoint(config.server.family === 4 ? '0.0.0.0' : '::', 0);
  await vpn.run(new Client(vpn, server, config.server), any, signal, config.server);
}

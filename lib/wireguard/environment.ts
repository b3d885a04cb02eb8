/** What the protocol takes from outside: randomness, the time of day, and its limits. */

import { randomBytes } from './crypto.js';

/** The protocol's times, in milliseconds, and numbers. Tests shorten them; a device that talks to others must not. */
export interface Limits {
  /** From this age on, the initiator of a keypair makes another when it sends. */
  readonly rekeyAfterTime: number;
  /** From this age on, a keypair neither sends nor receives. Three times this long unused, all keys are wiped. */
  readonly rejectAfterTime: number;
  /** After this many packets, either side makes another keypair when it sends. */
  readonly rekeyAfterMessages: number;
  /** This many packets a keypair sends and receives, no more. */
  readonly rejectAfterMessages: number;
  /** How long an initiation waits for its response, and the least time from one initiation or response to the next initiation. */
  readonly rekeyTimeout: number;
  /** Random time up to this much is added to waiting, so that two peers don't stay in step. */
  readonly jitter: number;
  /** After this many initiations without a response, a peer gives up. */
  readonly handshakeAttempts: number;
  /** How long received data may stay without an answer. */
  readonly keepaliveTimeout: number;
  /** The least time from one initiation of a peer to the next one that is answered. */
  readonly initiationInterval: number;
  /** How old a cookie, or the secret that cookies are made of, gets. */
  readonly cookieAge: number;
  /** How much earlier a cookie is no longer used, since it took time to arrive. */
  readonly cookieLatency: number;
  /** With this many handshake messages waiting, the device is under load. */
  readonly loadThreshold: number;
  /** How long it stays under load afterwards. */
  readonly loadTime: number;
  /** How many packets of a peer wait for a keypair. */
  readonly stagedPackets: number;
}

export const LIMITS: Limits = {
  rekeyAfterTime: 120_000,
  rejectAfterTime: 180_000,
  // The protocol says 2^60 and 2^64 - 2^13 - 1. A Number is exact up to 2^53, and no keypair gets there in its 180 s.
  rekeyAfterMessages: Number.MAX_SAFE_INTEGER,
  rejectAfterMessages: Number.MAX_SAFE_INTEGER,
  rekeyTimeout: 5_000,
  jitter: 333,
  handshakeAttempts: 20,
  keepaliveTimeout: 10_000,
  initiationInterval: 20,
  cookieAge: 120_000,
  cookieLatency: 5_000,
  loadThreshold: 32,
  loadTime: 1_000,
  stagedPackets: 128,
};

/** Where the protocol gets what is different each time. Tests make it predictable. */
export interface Environment {
  /** Bytes that nobody can guess. */
  readonly randomBytes: (size: number) => Buffer;
  /** A number from 0 to below 1, for jitter. */
  readonly random: () => number;
  /** Milliseconds since the Unix epoch. The clock may jump. */
  readonly wallClock: () => number;
  readonly limits: Limits;
}

export const ENVIRONMENT: Environment = {
  randomBytes,
  random: Math.random,
  wallClock: Date.now,
  limits: LIMITS,
};

/**
 * The two MACs of handshake messages. mac1 shows that the sender knows whom it talks to; without it there is no
 * answer at all. mac2 shows, with a cookie that only its own address gets, that the sender is where it says it is.
 */

import { blake2s, open, seal, secretBuffer, timingSafeEqual } from './crypto.js';
import type { Environment } from './environment.js';
import { COOKIE_REPLY, COOKIE_REPLY_LENGTH, INITIATION, MAC_LENGTH, MessageType } from './messages.js';

const NO_KEY = new Uint8Array(0);
const NONCE_LENGTH = 24;

/** Where a datagram came from. */
export interface Source {
  /** 4 or 16 bytes in network order. */
  readonly address: Uint8Array;
  readonly port: number;
}

/** The keys that follow from the public key of whom a message is for. */
function messageKeys(publicKey: Uint8Array): { readonly mac1: Buffer; readonly cookie: Buffer } {
  const mac1 = Buffer.alloc(32);
  const cookie = Buffer.alloc(32);
  blake2s(mac1, NO_KEY, Buffer.from('mac1----'), publicKey);
  blake2s(cookie, NO_KEY, Buffer.from('cookie--'), publicKey);
  return { mac1, cookie };
}

/** The MAC that a message with both MACs has at `offset`, over all that is before it. */
function macAt(message: Uint8Array, offset: number, key: Uint8Array): Buffer {
  const mac = Buffer.alloc(MAC_LENGTH);
  blake2s(mac, key, message.subarray(0, offset));
  return mac;
}

function hasMac(message: Uint8Array, offset: number, key: Uint8Array): boolean {
  return timingSafeEqual(macAt(message, offset, key), message.subarray(offset, offset + MAC_LENGTH));
}

function mac1Offset(message: Uint8Array): number {
  return message.length - 2 * MAC_LENGTH;
}

function mac2Offset(message: Uint8Array): number {
  return message.length - MAC_LENGTH;
}

/** The receiver's side: checks both MACs of initiations and responses, and hands out cookies. */
export class CookieChecker {
  readonly #keys: ReturnType<typeof messageKeys>;
  readonly #environment: Environment;
  readonly #secret = secretBuffer();
  #secretUntil = Number.NEGATIVE_INFINITY;

  /** @param publicKey this device's */
  constructor(publicKey: Uint8Array, environment: Environment) {
    this.#keys = messageKeys(publicKey);
    this.#environment = environment;
  }

  /** @param message an initiation or a response, of the right length */
  hasMac1(message: Uint8Array): boolean {
    return hasMac(message, mac1Offset(message), this.#keys.mac1);
  }

  /** Whether the message's sender has the cookie that this device gave to that address and port. */
  hasMac2(message: Uint8Array, source: Source, now: number): boolean {
    // No secret, no cookie.
    if (now >= this.#secretUntil) return false;
    return hasMac(message, mac2Offset(message), this.#cookie(source));
  }

  /** The cookie reply to an initiation or a response whose mac1 is right. */
  reply(message: Uint8Array, source: Source, now: number): Buffer {
    if (now >= this.#secretUntil) {
      this.#secret.set(this.#environment.randomBytes(this.#secret.length));
      this.#secretUntil = now + this.#environment.limits.cookieAge;
    }
    const nonce = this.#environment.randomBytes(NONCE_LENGTH);
    const mac1 = message.subarray(mac1Offset(message), mac2Offset(message));
    const reply = Buffer.alloc(COOKIE_REPLY_LENGTH);
    reply[0] = MessageType.cookieReply;
    // An initiation and a response have their sender's index in one place.
    reply.set(message.subarray(INITIATION.sender, INITIATION.sender + 4), COOKIE_REPLY.receiver);
    reply.set(nonce, COOKIE_REPLY.nonce);
    reply.set(seal(this.#keys.cookie, nonce, this.#cookie(source), mac1), COOKIE_REPLY.cookie);
    return reply;
  }

  #cookie({ address, port }: Source): Buffer {
    const cookie = Buffer.alloc(MAC_LENGTH);
    blake2s(cookie, this.#secret, address, Uint8Array.of(port >> 8, port & 0xff));
    return cookie;
  }
}

/** The sender's side: puts both MACs on the messages for one peer, and keeps the cookie that the peer gave. */
export class CookieStore {
  readonly #keys: ReturnType<typeof messageKeys>;
  readonly #environment: Environment;
  readonly #cookie = secretBuffer(MAC_LENGTH);
  #cookieUntil = Number.NEGATIVE_INFINITY;
  #lastMac1: Buffer | undefined;

  /** @param publicKey the peer's */
  constructor(publicKey: Uint8Array, environment: Environment) {
    this.#keys = messageKeys(publicKey);
    this.#environment = environment;
  }

  /** Writes mac1, and mac2 if there is a cookie, at the end of an initiation or a response. */
  addMacs(message: Buffer, now: number): void {
    const offset = mac1Offset(message);
    this.#lastMac1 = macAt(message, offset, this.#keys.mac1);
    message.set(this.#lastMac1, offset);
    if (now < this.#cookieUntil) {
      message.set(macAt(message, mac2Offset(message), this.#cookie), mac2Offset(message));
    }
  }

  /**
   * Takes a cookie reply in.
   * @returns whether it answers the last message that was sent; the next message then has a mac2
   */
  accept(reply: Uint8Array, now: number): boolean {
    if (!this.#lastMac1) return false;
    const nonce = reply.subarray(COOKIE_REPLY.nonce, COOKIE_REPLY.nonce + NONCE_LENGTH);
    const cookie = open(this.#keys.cookie, nonce, reply.subarray(COOKIE_REPLY.cookie), this.#lastMac1);
    if (!cookie) return false;
    const { cookieAge, cookieLatency } = this.#environment.limits;
    this.#cookie.set(cookie);
    cookie.fill(0);
    this.#cookieUntil = now + cookieAge - cookieLatency;
    // One message is answered once, so that nobody replays an old cookie.
    this.#lastMac1 = undefined;
    return true;
  }

  /** Forgets the cookie. */
  wipe(): void {
    this.#cookie.fill(0);
    this.#cookieUntil = Number.NEGATIVE_INFINITY;
    this.#lastMac1 = undefined;
  }
}
